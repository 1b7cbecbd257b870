"""Settings that the agent cannot read, and what their authors meant."""

from __future__ import annotations

import json

import pytest

from ecsauth.engine_auth.codec import EngineAuth, decode
from ecsauth.engine_auth.env_file import full_value, read_engine_auth
from ecsauth.engine_auth.resolve import resolve
from ecsauth.engine_auth.salvage import read_present
from tests.builders import DATA, b64

_VECTORS = {
    item["name"]: item["ecs_config"]
    for item in json.loads((DATA / "agent-view.json").read_text())["vectors"]
}
_HUB = "index.docker.io/v1/"
_MEANT = {
    "dockercfg-hub": {_HUB: "my_name"},
    "data-single-quoted": {_HUB: "my_name"},
    "type-upper": {_HUB: "my_name"},
    "pretty-printed": {_HUB: "my_name"},
    "outer-auths-kept": {_HUB: "my_name"},
    "outer-auths-docker": {_HUB: "my_name"},
    "dockercfg:key docker.io": {_HUB: "u"},
    "dockercfg:key https://index.docker.io/v2/": {_HUB: "u"},
    "dockercfg:key GHCR.IO": {"ghcr.io": "u"},
    "dockercfg:unpadded": {"quay.io": "u"},
    "dockercfg:entry string": {"ghcr.io": "u"},
    "dockercfg:auth number": {"ghcr.io": "u"},
    "dockercfg:one bad of two": {"ghcr.io": "u"},
    "dockercfg:no colon": {},
    "dockercfg:latin1 bytes": {},
    "docker:newline in password": {"quay.io": "u"},
    "data-empty-object": {},
    "data-missing": {},
    "trailing-comma": {_HUB: "my_name"},
}


@pytest.mark.parametrize(("name", "lenient"), _MEANT.items())
def test_present_logins_are_those_that_the_author_meant(name: str, lenient: dict[str, str]) -> None:
    data = _VECTORS[name].encode()
    present = read_present(read_engine_auth(data), full_value(data))
    assert {item.match: item.username for item in present.credentials} == lenient


@pytest.mark.parametrize("name", ["data-single-quoted", "pretty-printed", "outer-auths-kept"])
def test_recovery_gives_a_warning(name: str) -> None:
    data = _VECTORS[name].encode()
    present = read_present(read_engine_auth(data), full_value(data))
    assert any("repaired logins" in line and "docker.io" in line for line in present.warnings)


def test_good_settings_give_no_warning() -> None:
    present = read_present(EngineAuth("dockercfg", json.dumps({"q.io": {"auth": b64("u:p")}})))
    assert [item.username for item in present.credentials] == ["u"]
    assert present.warnings == ()


@pytest.mark.parametrize(
    ("auth_type", "auth_data"),
    [
        ("docker", '{"q.io":'),
        ("docker", "hunter2"),
        ('dockercfg ECS_ENGINE_AUTH_DATA={"q.io":{"auth":"x"}}', ""),
        ('{"q.io":{"auth":"x"}}', "dockercfg"),
    ],
)
def test_unrecoverable_value_is_reported_as_lost(auth_type: str, auth_data: str) -> None:
    present = read_present(EngineAuth(auth_type, auth_data))
    assert present.credentials == ()
    assert present.lost


@pytest.mark.parametrize(
    ("auth_type", "auth_data"),
    [("", ""), ("docker", ""), ("docker", "{}"), ("Docker", "''"), ("dockercfg", '{"q.io":{}}')],
)
def test_settings_without_a_login_lose_nothing(auth_type: str, auth_data: str) -> None:
    assert read_present(EngineAuth(auth_type, auth_data)).lost == ""


_PLAIN = '{"ghcr.io":{"auth":"dTpw"}}'


@pytest.mark.parametrize(
    "data",
    [
        f"'{_PLAIN}'",
        f'"{_PLAIN}"',
        json.dumps(_PLAIN),
        json.dumps(_PLAIN)[1:-1],
        '{"ghcr.io":{"auth":"dTpw",},}',
        '{"ghcr.io":{"Auth":"dTpw"},"credsStore":"x"}',
        '{"auths":{"ghcr.io":{"auth":"dTpw"}},"credsStore":"x"}',
    ],
)
@pytest.mark.parametrize("auth_type", ["dockercfg", "docker", "'docker'", "DOCKERCFG", "basic", ""])
def test_mangled_data_are_recovered(auth_type: str, data: str) -> None:
    present = read_present(EngineAuth(auth_type, data))
    assert [(item.match, item.login[:2]) for item in present.credentials] == [
        ("ghcr.io", ("u", "p"))
    ]
    assert present.lost == ""


def test_comma_in_a_password_is_not_removed() -> None:
    data = '{"q.io":{"username":"u","password":"a,}b",}}'
    (item,) = read_present(EngineAuth("docker", data)).credentials
    assert item.secret == "a,}b"


def test_names_of_fields_are_recovered_in_any_case() -> None:
    data = '{"q.io":{"Username":"u","Password":"p"}}'
    (item,) = read_present(EngineAuth('"docker"', data)).credentials
    assert item.login[:2] == ("u", "p")


@pytest.mark.parametrize("tail", ["/", "/v1/", "/v2", "/v2/"])
def test_key_with_a_path_that_the_agent_matches_is_kept(tail: str) -> None:
    data = {"q.io": {"auth": b64("a:1")}, f"https://q.io{tail}": {"auth": b64("b:2")}}
    current = EngineAuth("dockercfg", json.dumps(data))
    present = read_present(current).credentials
    image = f"q.io{tail}/app"
    before = resolve(decode(current).credentials, image).credential
    after = resolve(present, image).credential
    assert before is not None
    assert after is not None
    assert before.username == after.username == "b"


def test_entry_without_login_keeps_its_images_anonymous() -> None:
    data = '{"q.io":{"username":"u","password":"p"},"q.io/public":{}}'
    present = read_present(EngineAuth("docker", data)).credentials
    found = resolve(present, "q.io/public/app").credential
    assert found is not None
    assert not any(found.login)


def test_entry_in_the_form_of_the_other_format_is_recovered() -> None:
    data = json.dumps({"q.io": {"auth": b64("u:hunter2")}})
    present = read_present(EngineAuth("docker", data))
    assert [item.login for item in present.credentials] == [("u", "hunter2", "", "")]
    assert "hunter2" not in str(present)


def test_alias_beside_the_real_key_is_dropped() -> None:
    data = {"docker.io": {"auth": b64("a:1")}, "https://index.docker.io/v1/": {"auth": b64("b:2")}}
    for entries in data, dict(reversed(data.items())):
        present = read_present(EngineAuth("dockercfg", json.dumps(entries)))
        assert [item.username for item in present.credentials] == ["b"]


def test_session_entries_are_dropped() -> None:
    data = {"https://index.docker.io/v1/access-token": {"auth": b64("a:1")}}
    assert read_present(EngineAuth("dockercfg", json.dumps(data))).credentials == ()
