"""The text of ``ecs.config``: read as ecs-init does, two settings changed, every other byte kept.

ecs-init trims each line, splits it at the first ``=`` and lets the last of several win. It ignores
a line without ``=`` and knows no comments or quotes (aws/amazon-ecs-agent
``ecs-init/docker/docker.go``, ``getEnvVars``). systemd and ``docker run --env-file`` parse the
file by other rules, but read what this module writes alike: one line, no quotes around it, no
final backslash. One exception: systemd drops a backslash within the JSON, which base64 never has
(the ``docker`` format and emails may). The agent gets its settings from the other two readers, and
``check`` warns about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ecsauth.credentials.json_text import go_trim, object_end
from ecsauth.engine_auth.codec import (
    AUTH_DATA_KEY,
    AUTH_TYPE_KEY,
    DOCKER,
    MAX_AUTH_DATA_BYTES,
    MAX_ENV_FILE_LINE_BYTES,
    EngineAuth,
)
from ecsauth.errors import EncodeError, TargetError

_AUTH_KEYS = (AUTH_TYPE_KEY, AUTH_DATA_KEY)
_QUOTES = "'\""


@dataclass(frozen=True)
class Line:
    """One line of the file.

    Attributes:
        text: without the line end; includes a CR.
        end: LF, or empty for a last line without one.

    """

    text: str = field(repr=False)
    end: str = "\n"

    @property
    def name(self) -> str:
        """The variable that ecs-init sets from this line; empty if none."""
        name, equals, _ = go_trim(self.text).partition("=")
        return name if equals else ""

    @property
    def value(self) -> str:
        """The value that ecs-init gives it."""
        return go_trim(self.text).partition("=")[2]


def parse_lines(data: bytes) -> list[Line]:
    """Split the file at LF as ecs-init does; non-UTF-8 bytes survive as surrogates."""
    text = data.decode("utf-8", "surrogateescape")
    parts = text.split("\n")
    lines = [Line(part) for part in parts[:-1]]
    return [*lines, Line(parts[-1], "")] if parts[-1] else lines


def read(data: bytes) -> dict[str, str]:
    """Return the variables that ecs-init sets in the agent's environment."""
    return {line.name: line.value for line in parse_lines(data) if line.name}


def read_engine_auth(data: bytes) -> EngineAuth:
    """Return the two settings as the agent gets them; empty strings where unset."""
    variables = read(data)
    return EngineAuth(variables.get(AUTH_TYPE_KEY, ""), variables.get(AUTH_DATA_KEY, ""))


def write_engine_auth(data: bytes, engine_auth: EngineAuth) -> bytes:
    """Return the file with the two settings replaced.

    Repeated lines of a setting become one, where the last of them was. A missing setting goes
    next to the other one, or to the end. A JSON value spread over several lines is replaced as a
    whole. The new lines always end in a newline, so that a later ``echo … >>`` cannot run into
    them, and use the file's line ends.

    Raises:
        EncodeError: the value is longer than a process's environment allows.
        TargetError: the text is UTF-16 or JSON, not an env file.

    """
    check_size(engine_auth)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") and b"\0" in data:
        raise TargetError(
            "the target is UTF-16 text, which ecs-init cannot read",
            "save it as UTF-8",
            reference="target-encoding",
        )
    if data.lstrip().startswith(b"{") and object_end(data.decode("utf-8", "replace").lstrip()):
        raise TargetError(
            "the target is a JSON file, not an env file",
            "the env file is usually /etc/ecs/ecs.config",
            reference="target-is-json",
        )
    lines = parse_lines(data)
    return_char = "\r" if _is_crlf(lines) else ""
    values = {AUTH_TYPE_KEY: engine_auth.auth_type, AUTH_DATA_KEY: engine_auth.auth_data}
    new = {key: Line(f"{key}={value}{return_char}") for key, value in values.items()}
    places = {key: _last(lines, key) for key in _AUTH_KEYS}
    dropped = {index for key in _AUTH_KEYS for index in _spans(lines, key)}
    out: list[Line] = []
    for index, line in enumerate(lines):
        if index == places[AUTH_TYPE_KEY]:
            out.append(new.pop(AUTH_TYPE_KEY))
            if places[AUTH_DATA_KEY] is None:
                out.append(new.pop(AUTH_DATA_KEY))
        elif index == places[AUTH_DATA_KEY]:
            if places[AUTH_TYPE_KEY] is None:
                out.append(new.pop(AUTH_TYPE_KEY))
            out.append(new.pop(AUTH_DATA_KEY))
        elif index not in dropped:
            out.append(line)
    if new:
        out = [*_with_last_line_ended(out, return_char), *new.values()]
    return "".join(line.text + line.end for line in out).encode("utf-8", "surrogateescape")


def is_untidy(data: bytes) -> bool:
    """Return whether a setting is repeated or spread over lines, so old secrets may remain."""
    lines = parse_lines(data)
    return any(len(list(_spans(lines, key))) > 1 for key in _AUTH_KEYS)


def full_value(data: bytes) -> str:
    """Return ECS_ENGINE_AUTH_DATA as its author meant it: joined if it spans several lines."""
    lines = parse_lines(data)
    last = _last(lines, AUTH_DATA_KEY)
    return "" if last is None else _joined(lines, last)[0]


def spread_lines(data: bytes) -> set[int]:
    """Return the numbers (from 1) of lines that continue an ECS_ENGINE_AUTH_DATA value."""
    lines = parse_lines(data)
    places = [index for index, line in enumerate(lines) if line.name == AUTH_DATA_KEY]
    return {number + 1 for index in places for number in _joined(lines, index)[1]}


def check_size(engine_auth: EngineAuth) -> None:
    """Refuse a value that does not fit into a process's environment.

    Raises:
        EncodeError: names the size, the limit and two ways out.

    """
    size = len(engine_auth.auth_data.encode("utf-8", "surrogateescape"))
    if size > MAX_AUTH_DATA_BYTES:
        is_docker = engine_auth.auth_type == DOCKER
        shorter = "" if is_docker else "--format docker, which is shorter, or "
        raise EncodeError(
            f"{AUTH_DATA_KEY} would be {size:,} bytes; a variable holds {MAX_AUTH_DATA_BYTES:,}",
            f"use {shorter}the agent's JSON file, which has no limit"
            " (--to /etc/ecs/ecs.config.json, --output agent-json)",
            reference="auth-data-too-long",
        )


def size_warning(engine_auth: EngineAuth) -> str:
    """Return a warning if the line is too long for ``docker run --env-file``; else empty."""
    size = len(f"{AUTH_DATA_KEY}={engine_auth.auth_data}".encode("utf-8", "surrogateescape"))
    if size <= MAX_ENV_FILE_LINE_BYTES:
        return ""
    return (
        f"the {AUTH_DATA_KEY} line is {size:,} bytes: ecs-init reads it, but docker run --env-file"
        f" refuses lines over {MAX_ENV_FILE_LINE_BYTES:,}; an agent started by hand needs the JSON"
        " file (/etc/ecs/ecs.config.json) instead"
    )


def data_warning(engine_auth: EngineAuth) -> str:
    """Return a warning if the bare value is too long for a variable; else empty."""
    try:
        check_size(engine_auth)
    except EncodeError as error:
        return error.message
    return ""


def _last(lines: list[Line], key: str) -> int | None:
    indexes = [index for index, line in enumerate(lines) if line.name == key]
    return indexes[-1] if indexes else None


def _spans(lines: list[Line], key: str) -> Iterable[int]:
    """Yield the indexes of all lines of a setting, continuation lines included."""
    for index, line in enumerate(lines):
        if line.name == key:
            yield index
            if key == AUTH_DATA_KEY:
                yield from _joined(lines, index)[1]


def _joined(lines: list[Line], index: int) -> tuple[str, range]:
    """Return a value and the indexes of the lines after `index` that continue its JSON."""
    value = lines[index].value
    stop = _next_auth_line(lines, index + 1)
    # A backslash at the end of a line is a shell continuation, never JSON.
    rest = [go_trim(line.text).rstrip("\\") for line in lines[index + 1 : stop]]
    first = value.lstrip(_QUOTES).rstrip("\\")
    text = "\n".join([first, *rest] if first else rest)
    end = object_end(text)
    more = text.count("\n", 0, end) + (not first)
    if not end or not more or text[end:].partition("\n")[0].strip(_QUOTES):
        return value, range(0)
    return text[:end], range(index + 1, index + 1 + more)


def _next_auth_line(lines: list[Line], start: int) -> int:
    names = (index for index in range(start, len(lines)) if lines[index].name in _AUTH_KEYS)
    return next(names, len(lines))


def _is_crlf(lines: list[Line]) -> bool:
    ended = [line for line in lines if line.end]
    return bool(ended) and all(line.text.endswith("\r") for line in ended)


def _with_last_line_ended(lines: list[Line], return_char: str) -> list[Line]:
    """End the last line, and keep systemd from joining the next to a final backslash."""
    if not lines:
        return lines
    last = lines[-1] if lines[-1].end else Line(lines[-1].text + return_char)
    guard = [Line(return_char)] if last.text.rstrip("\r").endswith("\\") else []
    return [*lines[:-1], last, *guard]


def merged(settings: EngineAuth, instance: EngineAuth) -> EngineAuth:
    """Return what ecs-init uses: ``/etc/ecs/ecs.config`` overrides ``/var/lib/ecs/ecs.config``."""
    return EngineAuth(
        settings.auth_type or instance.auth_type, settings.auth_data or instance.auth_data
    )
