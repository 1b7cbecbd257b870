"""The credentials in the formats of other programs: printed, and read back to verify them.

Sources: docker/cli ``cli/config/configfile`` (``auth`` and ``identitytoken``), Bottlerocket's
``settings.container-registry.credentials`` (https://bottlerocket.dev, API settings; the fields are
containerd's and those of ``.docker/config.json``), and the "Amazon ECS Container Agent
configuration" page (on Windows, machine environment variables).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.registry import DOCKER_HUB_AUTH_KEY, parse_auth_key
from ecsauth.engine_auth.codec import (
    AUTH_DATA_KEY,
    AUTH_TYPE_KEY,
    DOCKER,
    UNSET,
    EngineAuth,
    decode,
    encode,
)
from ecsauth.engine_auth.layouts import Layout
from ecsauth.errors import EncodeError

MAX_WINDOWS_VARIABLE = 32_767
"""The longest environment variable on Windows, in characters (SetEnvironmentVariable, Win32)."""

_DOCKER_HUB = "docker.io"
_TABLE = "[[settings.container-registry.credentials]]"
_POWERSHELL = re.compile(
    r"\[Environment\]::SetEnvironmentVariable\('(\w+)', '((?:[^']|'')*)', 'Machine'\)"
)
_TOML = re.compile(r'([a-z]+) = "((?:[^"\\]|\\.)*)"')
_FIELDS = {
    "username": "username",
    "password": "secret",
    "identitytoken": "identity_token",
}


def _write_docker_config(_: bytes, engine_auth: EngineAuth) -> bytes:
    auths = {item.auth_key.text: _entry(item) for item in decode(engine_auth).credentials}
    return (json.dumps({"auths": auths}, indent="\t") + "\n").encode("ascii")


def _read_docker_config(text: bytes) -> EngineAuth:
    found = []
    for key, entry in json.loads(text)["auths"].items():
        username, _, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
        found.append(
            Credential(
                parse_auth_key(key),
                username,
                password,
                entry.get("identitytoken", ""),
                entry.get("registrytoken", ""),
                entry.get("email", ""),
            )
        )
    return encode(found, DOCKER)


def _entry(item: Credential) -> dict[str, str]:
    if ":" in item.username:
        raise EncodeError(
            "a docker login file cannot carry a user name with a colon",
            subject=item.registry,
            reference="format-cannot-carry",
        )
    auth = base64.b64encode(f"{item.username}:{item.secret}".encode()).decode("ascii")
    entry = {
        "auth": auth if item.username or item.secret else "",
        "identitytoken": item.identity_token,
        "registrytoken": item.registry_token,
        "email": item.email,
    }
    return {name: value for name, value in entry.items() if value}


def _write_bottlerocket(_: bytes, engine_auth: EngineAuth) -> bytes:
    return "\n".join(
        line for item in decode(engine_auth).credentials for line in _table(item)
    ).encode("ascii")


def _table(item: Credential) -> Iterator[str]:
    if item.registry_token:
        raise EncodeError(
            "Bottlerocket settings cannot carry a registry token",
            subject=item.registry,
            reference="format-cannot-carry",
        )
    yield _TABLE
    key = _DOCKER_HUB if item.auth_key.is_docker_hub else item.match
    yield f"registry = {_toml(key)}"
    for name, attribute in _FIELDS.items():
        if value := getattr(item, attribute):
            yield f"{name} = {_toml(value)}"
    yield ""


def _read_bottlerocket(text: bytes) -> EngineAuth:
    found = []
    for table in text.decode("ascii").split(_TABLE)[1:]:
        values = {name: _untoml(value) for name, value in _TOML.findall(table)}
        registry = values.pop("registry")
        key = parse_auth_key(DOCKER_HUB_AUTH_KEY if registry == _DOCKER_HUB else registry)
        username, password, token = (values.get(name, "") for name in _FIELDS)
        found.append(Credential(key, username, password, token))
    return encode(found, DOCKER)


def _toml(text: str) -> str:
    """Return a TOML basic string, ASCII (https://toml.io/en/v1.0.0#string)."""
    return '"' + "".join(_toml_char(char) for char in text) + '"'


def _toml_char(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isascii() and char.isprintable():
        return char
    return f"\\U{ord(char):08X}"


def _untoml(text: str) -> str:
    return re.sub(
        r"\\(U[0-9A-F]{8}|.)",
        lambda found: chr(int(found[1][1:], 16)) if len(found[1]) > 1 else found[1],
        text,
    )


def _write_powershell(_: bytes, engine_auth: EngineAuth) -> bytes:
    settings = {AUTH_TYPE_KEY: engine_auth.auth_type, AUTH_DATA_KEY: engine_auth.auth_data}
    lines = [
        f"[Environment]::SetEnvironmentVariable('{name}', '{_quoted(value)}', 'Machine')"
        for name, value in settings.items()
    ]
    return "\n".join([*lines, "Restart-Service AmazonECS", ""]).encode("ascii")


def _quoted(text: str) -> str:
    return text.replace("'", "''")  # the text is ASCII: PowerShell accepts typographic quotes too


def _read_powershell(text: bytes) -> EngineAuth:
    found = dict(_POWERSHELL.findall(text.decode("ascii")))
    return EngineAuth(*(found[name].replace("''", "'") for name in (AUTH_TYPE_KEY, AUTH_DATA_KEY)))


def _powershell_warning(engine_auth: EngineAuth) -> str:
    size = len(engine_auth.auth_data)
    if size <= MAX_WINDOWS_VARIABLE:
        return ""
    return (
        f"{AUTH_DATA_KEY} has {size:,} characters, but a Windows variable holds at most"
        f" {MAX_WINDOWS_VARIABLE:,}: name fewer registries"
    )


def _layout(**functions: Any) -> Layout:
    def read(text: bytes) -> EngineAuth:
        found: EngineAuth = functions["read"](text) if text else UNSET
        return found

    return Layout(
        lenient=lambda text: read(text).auth_data,
        is_untidy=lambda _: False,
        **{"warning": lambda _: "", **functions, "read": read},
    )


DOCKER_CONFIG = _layout(read=_read_docker_config, write=_write_docker_config, is_for_agent=False)
"""A docker login file, for docker, podman (``auth.json``) or a Kubernetes imagePullSecret."""

BOTTLEROCKET = _layout(read=_read_bottlerocket, write=_write_bottlerocket)
"""TOML for Bottlerocket's API and user data."""

POWERSHELL = _layout(read=_read_powershell, write=_write_powershell, warning=_powershell_warning)
"""Commands that set the agent's machine environment variables on Windows."""
