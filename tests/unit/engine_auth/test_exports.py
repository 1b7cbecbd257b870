"""convert --output for other programs: the printed text reads back as the same logins."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.engine_auth.codec import DOCKER, EngineAuth, decode, encode
from ecsauth.engine_auth.exports import BOTTLEROCKET, DOCKER_CONFIG, POWERSHELL
from ecsauth.engine_auth.layouts import Layout
from ecsauth.errors import EncodeError
from tests.builders import HUB, b64, credential
from tests.conftest import Result

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ODD = "p\"a\\s's$w`é\u2019\U0001f600"
TEXT = st.text(
    st.characters(blacklist_categories=("Cc", "Cs"), blacklist_characters="\u2028\u2029\ufffd"),
    max_size=20,
)


def settings(*credentials: Credential) -> EngineAuth:
    return encode(credentials, DOCKER)


def parse_toml(text: bytes) -> list[dict[str, Any]]:
    document: dict[str, Any] = tomllib.loads(text.decode())
    found: list[dict[str, Any]] = document["settings"]["container-registry"]["credentials"]
    return found


def test_docker_config_is_what_docker_login_writes() -> None:
    text = DOCKER_CONFIG.write(
        b"", settings(credential("q.io", "u", ODD, email="e@x"), credential(HUB, "me", "p"))
    )
    assert json.loads(text) == {
        "auths": {
            "q.io": {"auth": b64(f"u:{ODD}"), "email": "e@x"},
            HUB: {"auth": b64("me:p")},
        }
    }
    token = Credential(parse_auth_key("a.io"), "id", identity_token="t")
    written = json.loads(DOCKER_CONFIG.write(b"", settings(token)))
    assert written == {"auths": {"a.io": {"auth": b64("id:"), "identitytoken": "t"}}}


def test_bottlerocket_settings_are_toml() -> None:
    token = Credential(parse_auth_key("a.io"), "id", identity_token="t")
    text = BOTTLEROCKET.write(
        b"", settings(credential(HUB, "me", ODD), credential("q.io:5000"), token)
    )
    assert parse_toml(text) == [
        {"registry": "docker.io", "username": "me", "password": ODD},
        {"registry": "q.io:5000", "username": "u", "password": "p"},
        {"registry": "a.io", "username": "id", "identitytoken": "t"},
    ]


def test_powershell_quotes_are_escaped() -> None:
    text = POWERSHELL.write(b"", settings(credential("q.io", "u", ODD))).decode("ascii")
    first, second, third, end = text.split("\n")
    begin = "[Environment]::SetEnvironmentVariable("
    assert first == f"{begin}'ECS_ENGINE_AUTH_TYPE', 'docker', 'Machine')"
    found = re.fullmatch(rf"{re.escape(begin)}'(\w+)', '(.*)', 'Machine'\)", second)
    assert found
    assert "'" not in found[2].replace("''", "")
    data = found[2].replace("''", "'")
    assert decode(EngineAuth("docker", data)).credentials[0].secret == ODD
    assert (third, end) == ("Restart-Service AmazonECS", "")


def test_variable_too_long_for_windows_is_warned_of() -> None:
    fits = EngineAuth("docker", "x" * 32_767)
    assert POWERSHELL.warning(fits) == ""
    assert "32,768 characters" in POWERSHELL.warning(EngineAuth("docker", "x" * 32_768))


@pytest.mark.parametrize("layout", [DOCKER_CONFIG, BOTTLEROCKET, POWERSHELL])
@given(username=TEXT, secret=TEXT)
def test_everything_reads_back(layout: Layout, username: str, secret: str) -> None:
    username = username.replace(":", "") or "u"
    lenient = (credential("q.io", username, secret), credential(HUB, "a", "b"))
    text = layout.write(b"", settings(*lenient))
    assert text.isascii()
    view = decode(layout.read(text))
    assert [item.login for item in view.credentials] == [item.login for item in lenient]
    assert layout.read(b"") == EngineAuth("", "")


def test_login_that_a_format_cannot_carry_is_refused() -> None:
    with pytest.raises(EncodeError, match="colon"):
        DOCKER_CONFIG.write(b"", settings(credential("q.io", "a:b")))
    token = Credential(parse_auth_key("q.io"), registry_token="t")
    assert "registrytoken" in DOCKER_CONFIG.write(b"", settings(token)).decode()
    with pytest.raises(EncodeError, match="registry token") as caught:
        BOTTLEROCKET.write(b"", settings(token))
    assert caught.value.reference == "format-cannot-carry"


@pytest.mark.parametrize("output", ["docker-config", "bottlerocket", "powershell"])
def test_convert_prints_the_text_and_how_to_apply_it(
    ecsauth: Callable[..., Result], login_file: Callable[..., Any], output: str
) -> None:
    path = login_file({"q.io": {"auth": b64("u:p")}})
    result = ecsauth("convert", path, "--output", output)
    assert result.code == 0
    assert "ecsauth: next: " in result.err
    assert "q.io" in result.out
    quiet = ecsauth("convert", path, "--output", output, "--quiet")
    assert (quiet.out, quiet.err) == (result.out, "")
    assert ecsauth("convert", path, "--output", output, "--raw").code == 2


def test_docker_config_output_is_a_valid_source(
    ecsauth: Callable[..., Result], login_file: Callable[..., Any], tmp_path: Any
) -> None:
    path = login_file({HUB: {"auth": b64("u:p")}, "a.io": {"identitytoken": "t"}})
    first = ecsauth("convert", path)
    (tmp_path / "again.json").write_text(ecsauth("convert", path, "--output=docker-config").out)
    assert ecsauth("convert", tmp_path / "again.json").out == first.out


def test_secret_of_an_imagepullsecret_is_base64_of_the_file() -> None:
    text = DOCKER_CONFIG.write(b"", settings(credential("q.io")))
    secret = {"data": {".dockerconfigjson": base64.b64encode(text).decode()}}
    auths = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
    assert auths == {"q.io": {"auth": b64("u:p")}}
