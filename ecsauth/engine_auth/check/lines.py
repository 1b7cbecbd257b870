"""Check the lines of ``ecs.config`` as its three readers see them.

Sources: ecs-init's ``getEnvVars``, docker's reader of ``run --env-file``, systemd's
``src/basic/env-file.c`` (``EnvironmentFile=``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

from ecsauth.engine_auth.check.finding import Finding, error, warning
from ecsauth.engine_auth.codec import AUTH_DATA_KEY, AUTH_TYPE_KEY, MAX_ENV_FILE_LINE_BYTES
from ecsauth.engine_auth.env_file import Line

AUTH_KEYS = (AUTH_TYPE_KEY, AUTH_DATA_KEY)
BOM = "\ufeff"

_ALMOST = re.compile(
    rf"\s*{BOM}?\s*(?P<export>export\s+)?(?P<name>{AUTH_TYPE_KEY}|{AUTH_DATA_KEY})\s*=\s*(?P<value>.*)",
    re.DOTALL,
)
_WRONG_VARIABLE = "ecs-init sets a variable of another name, old secret included"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_QUOTED = re.compile(r"(?P<quote>['\"]).*(?P=quote)", re.DOTALL)


def check_lines(lines: list[Line]) -> Iterator[Finding]:
    """Yield findings on the lines themselves, whatever the settings' values."""
    is_set = {line.name for line in lines}
    for number, line in enumerate(lines, 1):
        yield from _check_line(number, line, is_set)
    yield from _duplicates(lines)
    yield from _carriage_returns(lines)


def intended(line: Line) -> tuple[str, str] | None:
    """Return (name, value) of one of our settings that a line fails to set; else None."""
    if line.name in AUTH_KEYS:
        return None
    found = _ALMOST.fullmatch(line.text.strip())
    return (found["name"], found["value"].strip()) if found else None


def _check_line(number: int, line: Line, is_set: Set[str]) -> Iterator[Finding]:
    text = line.text.rstrip("\r")
    bare = text.strip()
    yield from _bytes_of(number, line)
    if not bare.strip(BOM):
        if bare:
            yield _bom_alone(number)
        return
    lenient = intended(line)
    if lenient is not None:
        yield _not_set(number, bare, lenient[0], is_set)
        return
    if bare.lstrip(BOM).startswith("#"):
        yield from _comment(number, bare)
        return
    name, equals, value = bare.partition("=")
    if not equals:
        yield warning(
            "no-equals",
            "a line without '='",
            "ecs-init ignores it; docker run --env-file passes the caller's variable of that name",
            "remove it, or write NAME=VALUE",
            number,
        )
        return
    yield from _name_of(number, name)
    if name not in AUTH_KEYS:
        yield from _value_of(number, name, value)
    if text.endswith("\\"):
        yield warning(
            "trailing-backslash",
            f"{_shown(name)} ends in a backslash",
            "systemd joins the next line to it",
            "remove the backslash",
            number,
        )


def _bom_alone(number: int) -> Finding:
    return warning(
        "bom",
        "a byte order mark",
        "a shell that sources the file fails on it",
        "save the file as UTF-8 without BOM",
        number,
        fixable=number == 1,
    )


def _bytes_of(number: int, line: Line) -> Iterator[Finding]:
    size = len(line.text.encode("utf-8", "surrogateescape"))
    if size > MAX_ENV_FILE_LINE_BYTES:
        yield warning(
            "line-too-long",
            f"the line is {size:,} bytes",
            f"docker run --env-file refuses lines over {MAX_ENV_FILE_LINE_BYTES:,} bytes",
            "use ecs.config.json for an agent started with docker run",
            number,
        )
    if any("\udc80" <= char <= "\udcff" for char in line.text):
        yield warning(
            "not-utf8",
            "the line is not UTF-8",
            "docker run --env-file refuses the whole file",
            "save it as UTF-8",
            number,
        )
    if "\0" in line.text:
        yield error(
            "nul",
            "the line contains a NUL character",
            "environment variables cannot hold it: the agent does not start",
            "remove it",
            number,
        )


def _not_set(number: int, bare: str, name: str, is_set: Set[str]) -> Finding:
    if bare.startswith(BOM):
        code, what = "bom", f"a byte order mark before {name}"
    elif bare.split(None, 1)[0].lstrip(BOM) == "export":
        code, what = "export", f"'export' before {name}"
    else:
        code, what = "blanks", f"blanks between {name} and '='"
    if name in is_set:
        return warning(
            code,
            f"{what}; another line sets it",
            _WRONG_VARIABLE,
            "remove the line",
            number,
        )
    return error(
        code,
        what,
        f"ecs-init sets a variable of another name, not {name}",
        f"write {name}=VALUE at the start of the line",
        number,
        fixable=True,
    )


def _comment(number: int, bare: str) -> Iterator[Finding]:
    for key in AUTH_KEYS:
        if bare.lstrip("# \t").startswith(f"{key}=") and bare.partition("=")[2].strip():
            yield warning(
                "comment",
                f"{key} in a comment",
                "ecs-init has no comments: it sets a variable of that name, old secret included",
                "remove the line",
                number,
            )


def _name_of(number: int, name: str) -> Iterator[Finding]:
    if name.startswith(BOM):
        yield warning(
            "bom",
            f"a byte order mark before {_shown(name.lstrip(BOM))}",
            "ecs-init sets a variable of another name",
            "save the file as UTF-8 without BOM",
            number,
            fixable=number == 1,
        )
    elif name.startswith("export "):
        yield warning(
            "export",
            f"'export' before {_shown(name[7:].strip())}",
            "ecs-init sets a variable of another name; docker run --env-file refuses the file",
            "remove 'export'",
            number,
        )
    elif name != name.strip() or not _NAME.fullmatch(name):
        yield warning(
            "odd-name",
            "the text before '=' is not a variable name",
            "ecs-init sets a variable that nothing reads; docker may refuse the file",
            "write NAME=VALUE",
            number,
        )


def _value_of(number: int, name: str, value: str) -> Iterator[Finding]:
    if _QUOTED.fullmatch(value.strip()):
        yield warning(
            "quoted",
            f"the value of {_shown(name)} is in quotes",
            "ecs-init and docker keep the quotes in the value, systemd removes them",
            "remove the quotes",
            number,
        )
    elif " #" in value and not value.lstrip().startswith(("{", "[")):
        yield warning(
            "inline-comment",
            f"' #' in the value of {_shown(name)}",
            "no reader treats the rest as a comment: it is part of the value",
            "put comments on lines of their own, without '='",
            number,
        )


def _carriage_returns(lines: list[Line]) -> Iterator[Finding]:
    numbers = [number for number, line in enumerate(lines, 1) if line.text.endswith("\r")]
    if numbers:
        yield warning(
            "crlf",
            f"{len(numbers)} lines end in CR LF",
            "ecs-init and docker cope; a shell that sources the file does not",
            "save it with Unix line endings",
            numbers[0],
        )


def _shown(name: str) -> str:
    """Return a variable's name for printing; an invalid name may be a secret and is not shown."""
    return name if _NAME.fullmatch(name) else "a variable with an invalid name"


def _duplicates(lines: list[Line]) -> Iterator[Finding]:
    numbers: dict[str, list[int]] = {}
    for number, line in enumerate(lines, 1):
        if line.name and not line.name.startswith("#"):
            numbers.setdefault(line.name, []).append(number)
    for name, places in numbers.items():
        if len(places) > 1:
            yield warning(
                "duplicate",
                f"{_shown(name)} is set on lines {', '.join(map(str, places))}",
                "only the last one counts",
                "remove the others",
                places[-1],
                fixable=name in AUTH_KEYS,
            )
