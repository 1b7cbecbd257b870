"""Check the two settings as the agent reads them: what it loses silently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ecsauth.credentials.json_text import JSONTextError, go_trim, loads
from ecsauth.engine_auth.check.entries import ALL_LOST, QUOTED, check_entries
from ecsauth.engine_auth.check.finding import Finding, error, warning
from ecsauth.engine_auth.codec import (
    AUTH_DATA_KEY,
    AUTH_TYPE_KEY,
    DOCKER,
    DOCKERCFG,
    MAX_AUTH_DATA_BYTES,
    EngineAuth,
)
from ecsauth.engine_auth.salvage import lenient_entries, read_present

_REPLACE = "recreate it: ecsauth migrate --replace"


def check_settings(
    settings: EngineAuth, lenient_data: str, type_line: int, data_line: int, now: float
) -> Iterator[Finding]:
    """Yield findings on the settings as the agent gets them.

    Args:
        settings: as the agent gets them.
        lenient_data: the data as its author meant it, joined if spread over lines.
        type_line: the line of ECS_ENGINE_AUTH_TYPE; 0 if there is none.
        data_line: the line of ECS_ENGINE_AUTH_DATA; 0 if there is none.
        now: Unix seconds.

    """
    if not settings.is_set:
        return
    present = read_present(settings, lenient_data)
    can_fix = bool(present.credentials) and not present.dropped
    for finding in _check(settings, lenient_data, type_line, data_line, now):
        yield finding if can_fix else replace(finding, fixable=False)


def _check(
    settings: EngineAuth, lenient_data: str, type_line: int, data_line: int, now: float
) -> Iterator[Finding]:
    recoverable = bool(lenient_entries(lenient_data))
    yield from _check_type(settings, type_line, recoverable)
    if not settings.auth_data:
        if settings.auth_type:
            yield error(
                "data-missing",
                f"{AUTH_DATA_KEY} is not set",
                ALL_LOST,
                "set it: ecsauth migrate",
                type_line,
            )
        return
    yield from _check_text(settings, lenient_data, data_line, recoverable)
    yield from _check_size(settings, data_line)
    yield from check_entries(settings, lenient_data, data_line, now)


def _check_type(settings: EngineAuth, line: int, recoverable: bool) -> Iterator[Finding]:
    auth_type = go_trim(settings.auth_type)
    plain = auth_type.strip("'\"")
    if auth_type in (DOCKERCFG, DOCKER):
        return
    if not auth_type:
        yield error(
            "type-missing",
            f"{AUTH_TYPE_KEY} is not set",
            ALL_LOST,
            "set it to dockercfg or docker",
            line,
            fixable=recoverable,
        )
    elif plain != auth_type and plain in (DOCKERCFG, DOCKER):
        yield error(
            "type-quoted",
            f"{AUTH_TYPE_KEY} is in quotes",
            ALL_LOST,
            "remove the quotes",
            line,
            fixable=recoverable,
        )
    elif plain.lower() in (DOCKERCFG, DOCKER):
        yield error(
            "type-case",
            f"{AUTH_TYPE_KEY} is not in lower case",
            ALL_LOST,
            f"write {plain.lower()}",
            line,
            fixable=recoverable,
        )
    else:
        yield error(
            "type-unknown",
            f"{AUTH_TYPE_KEY} is neither dockercfg nor docker",
            ALL_LOST,
            "write dockercfg or docker",
            line,
            fixable=recoverable,
        )


def _check_text(
    settings: EngineAuth, lenient_data: str, line: int, recoverable: bool
) -> Iterator[Finding]:
    data = go_trim(settings.auth_data)
    if QUOTED.fullmatch(data):
        yield error(
            "data-quoted",
            f"{AUTH_DATA_KEY} is in quotes",
            ALL_LOST,
            "remove the quotes",
            line,
            fixable=recoverable,
        )
    elif recoverable and lenient_data != settings.auth_data:
        yield error(
            "data-spread",
            f"{AUTH_DATA_KEY} is spread over several lines",
            ALL_LOST,
            "put the JSON on one line (jq -c does)",
            line,
            fixable=True,
        )
    else:
        try:
            loads(settings.auth_data)
        except JSONTextError as fault:
            yield error(
                "data-not-json",
                f"{AUTH_DATA_KEY} is {fault}",
                ALL_LOST,
                "recreate it: ecsauth migrate" if recoverable else _REPLACE,
                line,
                fixable=recoverable,
            )
        else:
            yield from _check_shape(settings.auth_data, line, recoverable)
    if "\\" in settings.auth_data:
        yield warning(
            "backslash",
            f"{AUTH_DATA_KEY} contains a backslash",
            "ecs-init and docker keep it; systemd's EnvironmentFile drops it",
            "use the dockercfg format, which needs none",
            line,
        )


def _check_shape(auth_data: str, line: int, recoverable: bool) -> Iterator[Finding]:
    if recoverable:
        return
    if isinstance(loads(auth_data), dict):
        yield warning(
            "data-empty",
            f"{AUTH_DATA_KEY} holds no registries",
            "the agent pulls anonymously",
            "add logins: ecsauth migrate",
            line,
        )
    else:
        yield error(
            "data-no-object",
            f"{AUTH_DATA_KEY} is JSON, but not an object",
            ALL_LOST,
            _REPLACE,
            line,
        )


def _check_size(settings: EngineAuth, line: int) -> Iterator[Finding]:
    size = len(settings.auth_data.encode("utf-8", "surrogateescape"))
    if line and size > MAX_AUTH_DATA_BYTES:
        yield error(
            "data-too-long",
            f"{AUTH_DATA_KEY} is {size:,} bytes",
            f"a variable holds {MAX_AUTH_DATA_BYTES:,} at most: the agent's container cannot start",
            "use ecs.config.json, which has no limit, or the docker format",
            line,
        )
