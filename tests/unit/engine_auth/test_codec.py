"""Encoding, and the port of the agent's loader at its edges."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.registry import AuthKey
from ecsauth.engine_auth.codec import (
    MAX_AUTH_DATA_BYTES,
    AgentView,
    EngineAuth,
    choose_format,
    decode,
    difference,
    encode,
    redact,
)
from ecsauth.engine_auth.layouts import AGENT_JSON, ENV_FILE
from ecsauth.engine_auth.resolve import missing_host_keys, resolve
from ecsauth.errors import EncodeError
from tests.builders import b64, credential


def dockercfg(**entries: object) -> EngineAuth:
    return EngineAuth("dockercfg", json.dumps(entries))


def names(view: AgentView) -> dict[str, tuple[str, str, str, str]]:
    return {item.match: item.login for item in view.credentials}


_TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
_USER = _TEXT.filter(lambda text: ":" not in text)
_CREDENTIALS = st.dictionaries(
    st.from_regex(r"[a-z0-9]{1,8}\.[a-z]{2,3}(:[0-9]{1,5})?(/[a-z]{1,4})?", fullmatch=True),
    st.tuples(_USER, _TEXT, _TEXT),
    max_size=6,
)


@given(_CREDENTIALS)
def test_dockercfg_reads_back_exactly(entries: dict[str, tuple[str, str, str]]) -> None:
    items = [credential(key, *pair[:2], email=pair[2]) for key, pair in entries.items()]
    view = decode(encode(items, "dockercfg"))
    assert not view.fault
    assert difference(items, view) == ""
    assert [item.email for item in view.credentials] == [item.email for item in items]


@given(_CREDENTIALS, _TEXT)
def test_docker_reads_back_exactly(entries: dict[str, tuple[str, str, str]], token: str) -> None:
    items = [
        credential(key, *pair[:2], identity_token=token, registry_token=pair[2])
        for key, pair in entries.items()
    ]
    settings = encode(items, "docker")
    assert difference(items, decode(settings)) == ""
    assert settings.auth_data.isascii()
    assert "\n" not in settings.auth_data


@given(_CREDENTIALS, _TEXT, st.binary(max_size=80), st.booleans())
def test_file_text_reads_back_exactly(
    entries: dict[str, tuple[str, str, str]], token: str, before: bytes, as_docker: bool
) -> None:
    assume(not before.lstrip().startswith((b"{", b"\xff\xfe", b"\xfe\xff")))
    items = [
        credential(key, *pair[:2], identity_token=token if as_docker else "")
        for key, pair in entries.items()
    ]
    settings = encode(items, "docker" if as_docker else "dockercfg")
    for layout, text in ((ENV_FILE, before), (AGENT_JSON, b'{"Cluster": "x"}')):
        written = layout.write(text, settings)
        assert difference(items, decode(layout.read(written))) == ""
        assert layout.write(written, settings) == written


def test_encoded_data_is_ascii_on_one_line_without_blanks() -> None:
    settings = encode([credential("quay.io", "ü", "p", email="é@x")], "dockercfg")
    assert settings.auth_data == '{"quay.io":{"auth":"w7w6cA==","email":"\\u00e9@x"}}'


@pytest.mark.parametrize(
    "item",
    [
        credential("quay.io", identity_token="t"),
        credential("quay.io", registry_token="t"),
        credential("quay.io", "a:b"),
    ],
)
def test_login_that_dockercfg_cannot_carry_is_refused_and_auto_takes_docker(
    item: Credential,
) -> None:
    with pytest.raises(EncodeError) as caught:
        encode([item], "dockercfg")
    assert caught.value.reference == "format-cannot-carry"
    assert choose_format([item]) == "docker"
    assert difference([item], decode(encode([item], "docker"))) == ""


def test_auto_is_dockercfg_unless_the_target_is_docker_already() -> None:
    assert choose_format([credential("quay.io")]) == "dockercfg"
    assert choose_format([credential("quay.io")], "docker") == "docker"
    assert choose_format([credential("quay.io")], "dockercfg") == "dockercfg"


@pytest.mark.parametrize(
    ("auth_type", "auth_data", "words"),
    [
        ("", '{"quay.io":{}}', "TYPE is not set"),
        ("Docker", "{}", "lower case"),
        ("'docker'", "{}", "lower case"),
        ("docker", "", "DATA is not set"),
        ("docker", "[]", "not an object"),
        ("docker", '"x"', "not an object"),
        ("docker", "{", "not JSON"),
        ("docker", "{} x", "not JSON"),
        ("docker", '{"a":{"username":"x\ny"}}', "not JSON"),
        ("docker", '{"quay.io":{"username":5}}', "'?quay.io'?, username is not a string"),
        ("docker", '{"quay.io":{"AUTH":5}}', "auth is not a string"),
        ("docker", '{"quay.io":{"ServerAddress":{}}}', "serveraddress is not a string"),
        ("docker", '{"quay.io":5,"quay.io":{"username":"u"}}', "not an object"),
        ("dockercfg", '{"quay.io":{"auth":true}}', "auth is not a string"),
        ("dockercfg", '{"credsStore":"x","quay.io":{"auth":"dTpw"}}', "credsStore"),
    ],
)
def test_one_fault_loses_all_credentials(auth_type: str, auth_data: str, words: str) -> None:
    view = decode(EngineAuth(auth_type, auth_data))
    assert view.credentials == ()
    assert words.strip("'?") in view.fault or all(
        part in view.fault for part in words.replace("'?", "").split(", ")
    )


@pytest.mark.parametrize(
    ("auth_type", "auth_data"),
    [("docker", "null"), ("docker", "{}"), ("dockercfg", " {}\r\n"), ("", "")],
)
def test_empty_settings_are_not_a_fault(auth_type: str, auth_data: str) -> None:
    assert decode(EngineAuth(auth_type, auth_data)) == AgentView()


def test_blanks_around_the_type_are_trimmed() -> None:
    assert names(decode(EngineAuth(" dockercfg\t", '{"q.io":{"auth":"dTpw"}}')))


@pytest.mark.parametrize(
    ("auth", "login"),
    [
        ("dTpw", ("u", "p")),
        ("dTpwcA==", ("u", "pp")),
        ("dTpw\r\ncA==\n", ("u", "pp")),
        ("dTpwcB==", ("u", "pp")),
        ("dTpwcA", None),
        ("dTpwcA=", None),
        ("dTpwcA===", None),
        ("dTpw cA==", None),
        ("dTp_", None),
        ("dTp\u00e9", None),
        ("", None),
    ],
)
def test_base64_as_go_reads_it(auth: str, login: tuple[str, str] | None) -> None:
    view = decode(dockercfg(**{"q.io": {"auth": auth}}))
    assert names(view) == ({} if login is None else {"q.io": (*login, "", "")})
    assert bool(view.skipped) is (login is None)


def test_field_names_are_case_insensitive_and_null_is_ignored() -> None:
    data = '{"q.io":{"UserName":"u","PASSWORD":"p","IdentityToken":null,"x":{"y":[]}}}'
    assert names(decode(EngineAuth("docker", data))) == {"q.io": ("u", "p", "", "")}
    assert names(decode(dockercfg(**{"q.io": {"Auth": "dTpw"}}))) == {"q.io": ("u", "p", "", "")}


def test_last_of_two_equal_keys_replaces_the_first_entirely() -> None:
    data = '{"q.io":{"username":"a","password":"b"},"q.io":{"username":"c"}}'
    assert names(decode(EngineAuth("docker", data))) == {"q.io": ("c", "", "", "")}


def test_invalid_unicode_becomes_the_replacement_character() -> None:
    data = '{"q.io":{"username":"\\ud800","password":"\udcff"}}'
    assert names(decode(EngineAuth("docker", data))) == {"q.io": ("\ufffd", "\ufffd", "", "")}


def test_deep_nesting_and_long_numbers_do_not_raise() -> None:
    assert "deeply" in decode(EngineAuth("docker", "[" * 200_000)).fault
    view = decode(EngineAuth("docker", '{"q.io":{"username":"u","n":' + "9" * 10_000 + "}}"))
    assert names(view) == {"q.io": ("u", "", "", "")}


@given(st.text(), st.text())
def test_decode_never_raises(auth_type: str, auth_data: str) -> None:
    assert isinstance(decode(EngineAuth(auth_type, auth_data)), AgentView)
    assert isinstance(decode(EngineAuth("docker", auth_data)), AgentView)
    assert isinstance(decode(EngineAuth("dockercfg", auth_data)), AgentView)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["auth", "username", "Password", "q.io"]), inner, max_size=3
            )
        ),
    )
)
def test_decode_and_redact_never_raise_on_json(value: object) -> None:
    for auth_type in "docker", "dockercfg":
        settings = EngineAuth(auth_type, json.dumps(value))
        assert isinstance(decode(settings), AgentView)
        assert isinstance(redact(settings), EngineAuth)


def test_longer_key_wins_only_as_prefix_of_the_image() -> None:
    items = [credential("ghcr.io", "host"), credential("ghcr.io/org/team", "team")]
    for image, user in (
        ("ghcr.io/org/team/app:1", "team"),
        ("ghcr.io/org/teams", "team"),
        ("ghcr.io/org/app", "host"),
        ("ghcr.io/org/tea", "host"),
    ):
        found = resolve(items, image)
        assert found.credential is not None
        assert (found.credential.username, found.ambiguous) == (user, False)


def test_only_namespaced_keys_are_ambiguous() -> None:
    items = [credential("ghcr.io/aa", "a"), credential("ghcr.io/bbb", "b")]
    outside = resolve(items, "ghcr.io/cc/app")
    assert outside.ambiguous
    assert {item.username for item in outside.candidates} == {"a", "b"}
    # /aa is a prefix but the shorter key: starting from the longer one, it does not replace it
    assert resolve(items, "ghcr.io/aa/app").ambiguous
    # /bbb replaces whatever the map gave first
    found = resolve(items, "ghcr.io/bbb/app")
    assert (found.credential, found.ambiguous) == (items[1], False)


def test_equal_logins_under_namespaced_keys_are_not_ambiguous() -> None:
    items = [credential("ghcr.io/aa"), credential("ghcr.io/bbb")]
    assert not resolve(items, "ghcr.io/cc/app").ambiguous


def test_two_schemes_of_one_host_are_ambiguous() -> None:
    data = json.dumps({"https://q.io": {"auth": b64("a:1")}, "q.io": {"auth": b64("b:2")}})
    found = resolve(decode(EngineAuth("dockercfg", data)).credentials, "q.io/app")
    assert found.ambiguous
    assert len(found.candidates) == 2


def test_image_of_another_registry_gets_nothing() -> None:
    items = [credential("ghcr.io")]
    assert resolve(items, "quay.io/app").credential is None
    assert resolve(items, "nginx").credential is None
    assert resolve(items, "ghcr.io/app").credential is items[0]


def test_missing_host_keys() -> None:
    alone = [credential("ghcr.io/aa"), credential("https://index.docker.io/v1/")]
    assert missing_host_keys(alone) == ("ghcr.io",)
    assert missing_host_keys([*alone, credential("https://ghcr.io")]) == ()


def test_difference_names_registries_never_secrets() -> None:
    lenient = [credential("q.io", "u", "hunter2")]
    assert difference(lenient, decode(encode(lenient, "docker"))) == ""
    other = [credential("q.io", "u", "hunter3")]
    words = difference(lenient, decode(encode(other, "docker")))
    assert "q.io" in words
    assert "hunter" not in words
    assert difference(lenient, AgentView())
    assert difference([], decode(encode(lenient, "docker")))
    assert difference(lenient, AgentView(fault="broken")) == "broken"


def test_difference_sees_two_keys_that_collide() -> None:
    same = {"auth": b64("u:p")}
    view = decode(dockercfg(**{"https://q.io": same, "q.io": same}))
    assert "scheme" in difference([credential("q.io")], view)


def test_redact_hides_all_but_user_and_email() -> None:
    entry = {"username": "u", "password": "hunter2", "auth": "x", "email": "e", "odd": {"a": "s"}}
    shown = redact(EngineAuth("docker", json.dumps({"q.io": entry, "https://a:s3@b": "s"})))
    assert json.loads(shown.auth_data) == {
        "q.io": {"username": "u", "password": "***", "auth": "***", "email": "e", "odd": "***"},
        "<a key of 14 characters>": "***",
    }
    assert redact(EngineAuth("docker", "hunter2 {")).auth_data == "<9 characters>"
    assert redact(EngineAuth("docker hunter2", "")).auth_type == "<14 characters>"
    assert redact(EngineAuth("'Docker'", "")).auth_type == "'Docker'"


def test_limit_equals_that_of_a_linux_environment_variable() -> None:
    assert MAX_AUTH_DATA_BYTES == 131_050
    assert len("ECS_ENGINE_AUTH_DATA=") + MAX_AUTH_DATA_BYTES + 1 == 32 * 4096


def test_repr_never_shows_a_secret() -> None:
    item = Credential(AuthKey("q.io", "q.io"), "u", "hunter2", "hunter3", "hunter4")
    settings = encode([item], "docker")
    assert "hunter" not in f"{item!r}{settings!r}{decode(settings)!r}"
