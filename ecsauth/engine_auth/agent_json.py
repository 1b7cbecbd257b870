"""The agent's JSON file (``/etc/ecs/ecs.config.json``): ``EngineAuthType``, ``EngineAuthData``.

Here the data are an object, not text, and no line or environment limit applies. Go matches the
names case-insensitively (aws/amazon-ecs-agent ``agent/config/config.go``, ``fileConfig``).
"""

from __future__ import annotations

from typing import Any

from ecsauth.credentials.json_text import (
    JSONTextError,
    Pairs,
    dumps_ascii,
    dumps_spelled,
    loads,
    loads_pairs,
    loads_spelled,
    plain,
)
from ecsauth.engine_auth.codec import EngineAuth
from ecsauth.errors import TargetError

TYPE_NAME = "EngineAuthType"
DATA_NAME = "EngineAuthData"

_NAME = "the agent's JSON file"
_LOGIN_FILE_MEMBERS = {"auths", "credsStore", "credHelpers"}
_HINT = "repair it by hand first"


def read_engine_auth(data: bytes) -> EngineAuth:
    """Return the two settings in the file; empty strings where unset.

    Raises:
        TargetError: the file is not a JSON object, so the agent ignores all of it.

    """
    document = _parse(data, loads_pairs)
    auth_type, auth_data = "", ""
    for name, value in document:
        if name.casefold() == TYPE_NAME.casefold() and isinstance(value, str):
            auth_type = value
        elif name.casefold() == DATA_NAME.casefold() and value is not None:
            auth_data = dumps_ascii(plain(value))
    return EngineAuth(auth_type, auth_data)


def is_untidy(data: bytes) -> bool:
    """Return whether one of the settings occurs more than once."""
    names = [name.casefold() for name, _ in _parse(data, loads_pairs)]
    return any(names.count(name.casefold()) > 1 for name in (TYPE_NAME, DATA_NAME))


def write_engine_auth(data: bytes, engine_auth: EngineAuth) -> bytes:
    """Return the file with the two settings replaced; other members keep their order.

    Raises:
        TargetError: as `read_engine_auth`.

    """
    ours = {TYPE_NAME.casefold(), DATA_NAME.casefold()}
    members = {
        name: plain(value)
        for name, value in _parse(data, loads_spelled)
        if name.casefold() not in ours
    }
    members[TYPE_NAME] = engine_auth.auth_type
    members[DATA_NAME] = loads(engine_auth.auth_data)
    return dumps(members)


def dumps(members: dict[str, Any]) -> bytes:
    """Write the file's text, indented because people edit it too."""
    return (dumps_spelled(members, indent=4) + "\n").encode("ascii")


def _parse(data: bytes, parse: Any) -> Pairs:
    if not data.strip():
        return Pairs()
    try:
        document = parse(data.decode("utf-8", "surrogateescape"))
    except JSONTextError as error:
        raise TargetError(f"{_NAME} is {error}", _HINT, reference="agent-json-broken") from None
    if not isinstance(document, Pairs):
        raise TargetError(f"{_NAME} is not a JSON object", _HINT, reference="agent-json-broken")
    if {name for name, _ in document} & _LOGIN_FILE_MEMBERS:
        raise TargetError(
            "the target is a docker login file, not the agent's JSON file",
            "the agent's JSON file is usually /etc/ecs/ecs.config.json",
            reference="target-is-login-file",
        )
    return document
