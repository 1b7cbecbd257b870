"""Credentials ⇄ ECS_ENGINE_AUTH_TYPE and ECS_ENGINE_AUTH_DATA, as the agent reads them.

`decode` and `resolve` are a port of the agent's loader that names what the agent skips silently.
Sources: the agent's ``agent/dockerclient/dockerauth/dockerauth.go`` and, for the limits, Linux
(``MAX_ARG_STRLEN`` is 131,072 bytes with the final NUL) and docker's ``opts/file.go``
(``bufio.Scanner``: 64 KiB a line).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.json_text import (
    JSONTextError,
    Pairs,
    dumps_ascii,
    go_string,
    go_trim,
    loads_pairs,
)
from ecsauth.credentials.registry import (
    AuthKey,
    is_printable_key,
    strip_scheme,
)
from ecsauth.errors import EncodeError

AUTH_TYPE_KEY = "ECS_ENGINE_AUTH_TYPE"
AUTH_DATA_KEY = "ECS_ENGINE_AUTH_DATA"

MAX_AUTH_DATA_BYTES = 131_071 - len(AUTH_DATA_KEY) - 1
"""The longest ECS_ENGINE_AUTH_DATA that fits into a process's environment: 131,050 bytes."""

MAX_ENV_FILE_LINE_BYTES = 65_535
"""The longest line that ``docker run --env-file`` reads; ecs-init has no such limit."""

DOCKERCFG = "dockercfg"
DOCKER = "docker"
AUTO = "auto"

_DOCKER_FIELDS = {
    "username": "username",
    "password": "secret",
    "identitytoken": "identity_token",
    "registrytoken": "registry_token",
    "email": "email",
}
_IGNORED_DOCKER_FIELDS = frozenset({"auth", "serveraddress"})
_GO_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


@dataclass(frozen=True)
class EngineAuth:
    """The two settings."""

    auth_type: str
    auth_data: str = field(repr=False)

    @property
    def is_set(self) -> bool:
        """True if either setting has a value."""
        return bool(self.auth_type or self.auth_data)


UNSET = EngineAuth("", "")
"""Neither setting has a value."""


@dataclass(frozen=True)
class AgentView:
    """How the agent reads the two settings.

    Attributes:
        credentials: one per key that the agent keeps, in the order of the JSON text.
        fault: why the agent has no credentials at all; empty if it can read the value.
        skipped: key → why the agent skips this entry.

    """

    credentials: tuple[Credential, ...] = ()
    fault: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict)


def choose_format(credentials: Iterable[Credential], current: str = "") -> str:
    """Return the format for ``auto``: `dockercfg`, or `docker` if an entry needs it.

    A target already in `docker` format (`current`) keeps it, so that runs do not undo each
    other's choice.
    """
    if current == DOCKER or any(item.needs_docker_format for item in credentials):
        return DOCKER
    return DOCKERCFG


def encode(credentials: Sequence[Credential], auth_type: str) -> EngineAuth:
    """Write `credentials` as the two settings: one line, ASCII, no spaces.

    Raises:
        EncodeError: `dockercfg` cannot carry one of them.

    """
    entry = _dockercfg_entry if auth_type == DOCKERCFG else _docker_entry
    data = {item.auth_key.text: entry(item) for item in credentials}
    return EngineAuth(auth_type, dumps_ascii(data))


def decode(engine_auth: EngineAuth) -> AgentView:
    """Read the two settings as the agent does when it starts. Never raises."""
    auth_type = go_trim(engine_auth.auth_type)
    if not auth_type:
        return AgentView(fault=f"{AUTH_TYPE_KEY} is not set") if engine_auth.is_set else AgentView()
    if auth_type not in (DOCKERCFG, DOCKER):
        return AgentView(fault=f"{AUTH_TYPE_KEY} is neither dockercfg nor docker (in lower case)")
    try:
        document = loads_pairs(engine_auth.auth_data)
    except JSONTextError as error:
        missing = not engine_auth.auth_data
        return AgentView(fault=f"{AUTH_DATA_KEY} is {'not set' if missing else error}")
    if document is None:
        return AgentView()
    if not isinstance(document, Pairs):
        return AgentView(fault=f"{AUTH_DATA_KEY} is not an object")
    read = _read_dockercfg if auth_type == DOCKERCFG else _read_docker
    credentials: dict[str, Credential] = {}
    skipped: dict[str, str] = {}
    for key, entry in document:
        if entry is not None and not isinstance(entry, Pairs):
            return AgentView(fault=f"the value of {shown_key(key)} is not an object")
        fields, fault, reason = read(entry or Pairs())
        if fault:
            return AgentView(fault=f"in the entry of {shown_key(key)}, {fault}")
        credentials.pop(go_string(key), None)
        skipped.pop(go_string(key), None)
        if reason:
            skipped[go_string(key)] = reason
        else:
            credentials[go_string(key)] = _credential(key, fields)
    return AgentView(credentials=tuple(credentials.values()), skipped=skipped)


def difference(intended: Sequence[Credential], view: AgentView) -> str:
    """Return how the agent's view differs from the intended credentials; empty if it does not.

    The text names registries, never a secret.
    """
    if view.fault:
        return view.fault
    want = {item.match: item.login for item in intended}
    have = {item.match: item.login for item in view.credentials}
    wrong = [key for key in {**want, **have} if want.get(key) != have.get(key)]
    if len(have) != len(view.credentials):
        return "two keys differ only in their scheme"
    return f"the agent would read a different login for {', '.join(wrong)}" if wrong else ""


def is_same_logins(one: EngineAuth, other: EngineAuth) -> bool:
    """Return whether both settings make the agent send the same logins to the same registries."""
    first, second = (
        {item.match: item.login for item in decode(settings).credentials}
        for settings in (one, other)
    )
    return first == second


def redact(engine_auth: EngineAuth) -> EngineAuth:
    """Return the settings for display: every value hidden except user names and emails."""
    is_type = go_trim(engine_auth.auth_type).strip("'\"").lower() in (DOCKERCFG, DOCKER)
    auth_type = engine_auth.auth_type if is_type else _hidden(engine_auth.auth_type)
    try:
        document = loads_pairs(engine_auth.auth_data)
    except JSONTextError:
        document = None
    if not isinstance(document, Pairs):
        return EngineAuth(auth_type, _hidden(engine_auth.auth_data))
    shown = {shown_key(key): _redact_entry(entry) for key, entry in document}
    return EngineAuth(auth_type, dumps_ascii(shown))


def _hidden(text: str) -> str:
    return f"<{len(text)} characters>" if text else ""


def shown_key(key: str) -> str:
    """Return a key in a printable form; one that may hold a secret is hidden."""
    return key if is_printable_key(key) else f"<a key of {len(key)} characters>"


def _redact_entry(entry: Any) -> Any:
    if not isinstance(entry, Pairs):
        return "***"
    plain = ("username", "email")
    return {
        name: value if name in plain and isinstance(value, str) else "***" for name, value in entry
    }


def _dockercfg_entry(item: Credential) -> dict[str, str]:
    if item.identity_token or item.registry_token:
        raise EncodeError(
            "dockercfg cannot carry its token",
            "use --format docker",
            subject=item.registry,
            reference="format-cannot-carry",
        )
    if ":" in item.username:
        raise EncodeError(
            "dockercfg cannot carry a user name with a colon",
            "use --format docker",
            subject=item.registry,
            reference="format-cannot-carry",
        )
    auth = base64.b64encode(f"{item.username}:{item.secret}".encode()).decode("ascii")
    return {"auth": auth, **({"email": item.email} if item.email else {})}


def _docker_entry(item: Credential) -> dict[str, str]:
    values = {name: getattr(item, attribute) for name, attribute in _DOCKER_FIELDS.items()}
    return {name: value for name, value in values.items() if value}


def _read_dockercfg(entry: Pairs) -> tuple[dict[str, str], str, str]:
    """Return (Credential fields, fault that costs all entries, reason to skip this one)."""
    auth = email = ""
    for name, value in entry:
        if name.casefold() == "auth" and value is not None:
            if not isinstance(value, str):
                return {}, "auth is not a string", ""
            auth = value
        elif name == "email" and isinstance(value, str):
            email = go_string(value)
    compact = auth.replace("\r", "").replace("\n", "")
    if not _GO_BASE64.fullmatch(compact):
        return {}, "", "auth is not base64 with padding"
    decoded = base64.b64decode(compact).decode("utf-8", "surrogateescape")
    username, colon, secret = decoded.partition(":")
    if not colon:
        return {}, "", "auth has no colon" if auth else "it has no auth"
    fields = {"username": go_string(username), "secret": go_string(secret), "email": email}
    return fields, "", ""


def _read_docker(entry: Pairs) -> tuple[dict[str, str], str, str]:
    """Return the same as `_read_dockercfg`; in this format no entry is ever skipped."""
    fields: dict[str, str] = {}
    for name, value in entry:
        folded = name.casefold()
        if value is None or folded not in (*_DOCKER_FIELDS, *_IGNORED_DOCKER_FIELDS):
            continue
        if not isinstance(value, str):
            return {}, f"{folded} is not a string", ""
        if folded in _DOCKER_FIELDS:
            fields[_DOCKER_FIELDS[folded]] = go_string(value)
    return fields, "", ""


def _credential(key: str, fields: Mapping[str, str]) -> Credential:
    """Build a credential with the key exactly as the agent compares it."""
    text = go_string(key)
    return Credential(
        auth_key=AuthKey(text=text, match=strip_scheme(text)),
        username=fields.get("username", ""),
        secret=fields.get("secret", ""),
        identity_token=fields.get("identity_token", ""),
        registry_token=fields.get("registry_token", ""),
        email=fields.get("email", ""),
    )
