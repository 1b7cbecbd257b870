"""Text as Go programs and jq read it: white space, invalid characters, JSON.

The standard decoder accepts what Go's ``encoding/json`` refuses (NaN), refuses what Go accepts
(integers of more than 4,300 digits) and puts the document into its exceptions. This module
closes these gaps. Its errors never contain document text.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable

_GO_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_SURROGATE = re.compile("[\ud800-\udfff]")

_NUMBER_MARK = "\0ecsauth number "
_SPELLED_NUMBER = re.compile(r'"\\u0000ecsauth number ([-+.0-9eE]+)"')
_LARGEST = 1.7976931348623157e308


class JSONTextError(ValueError):
    """Text that is not JSON.

    Attributes:
        line, column: position, from 1; 0 if unknown.
        reason: what was expected there; never the text itself.

    """

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        self.reason = reason
        self.line = line
        self.column = column
        where = f" (line {line}, column {column})" if line else ""
        super().__init__(f"not JSON: {reason}{where}")


class Pairs(list[tuple[str, Any]]):
    """A JSON object as its (name, value) pairs, in order, duplicates kept."""


def go_trim(text: str) -> str:
    """Trim what ``strings.TrimSpace`` trims; `str.strip` also takes U+001C to U+001F."""
    return text.strip(_GO_SPACE)


def go_string(text: str) -> str:
    """Replace what Go's JSON cannot hold (lone surrogates, non-UTF-8 bytes) with U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def loads(text: str) -> Any:
    """Parse JSON text; the last of duplicate names wins, as in Go, jq and docker.

    Raises:
        JSONTextError: not JSON, or nested too deeply to read.

    """
    return _loads(text, None)


def loads_pairs(text: str) -> Any:
    """Parse JSON text with every object as `Pairs`.

    Raises:
        JSONTextError: as `loads`.

    """
    return _loads(text, Pairs)


def loads_spelled(text: str) -> Any:
    """Parse JSON text as `loads_pairs`, keeping the spelling of numbers for `dumps_spelled`.

    Raises:
        JSONTextError: as `loads`.

    """
    return _loads(text, Pairs, number=lambda digits: f"{_NUMBER_MARK}{digits}")


def dumps_spelled(value: Any, indent: int | str) -> str:
    """Write a value of `loads_spelled`: ASCII, indented, numbers in their original spelling."""
    text = json.dumps(value, ensure_ascii=True, indent=indent, allow_nan=False)
    return _SPELLED_NUMBER.sub(r"\1", text)


def plain(value: Any) -> Any:
    """Return a value with every `Pairs` turned into a dict; the last of duplicate names wins."""
    if isinstance(value, Pairs):
        return {name: plain(item) for name, item in value}
    return [plain(item) for item in value] if isinstance(value, list) else value


def loads_lenient(text: str) -> Any:
    r"""Parse JSON text that a person or a shell has mangled; None if it cannot be recovered.

    Tried in turn: as it is; without the quotes around it; as a JSON string that holds JSON; with
    ``\"`` for quotes. Each also without commas before a closing bracket.
    """
    bare = go_trim(text)
    unquoted = bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] in "'\"" else bare
    for candidate in (bare, unquoted, unquoted.replace('\\"', '"')):
        for attempt in (candidate, _without_trailing_commas(candidate)):
            try:
                value = loads(attempt)
            except JSONTextError:
                continue
            return loads_lenient(value) if isinstance(value, str) and "{" in value else value
    return None


def _without_trailing_commas(text: str) -> str:
    """Remove commas before a closing bracket, outside strings, in linear time."""
    kept: list[str] = []
    in_string = escaped = False
    comma = -1
    for char in text:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string, comma = True, -1
        elif char == ",":
            comma = len(kept)
        elif char in "}]" and comma >= 0:
            kept[comma], comma = "", -1
        elif char not in " \t\r\n":
            comma = -1
        kept.append(char)
    return "".join(kept)


def object_end(text: str) -> int:
    """Return the end of the JSON object that `text` starts with; 0 if it starts with none."""
    if not text.startswith("{"):
        return 0
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except (ValueError, RecursionError):
        return 0


def dumps_ascii(value: Any) -> str:
    """Write JSON on one line, ASCII only, without spaces."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def dumps_jq(value: Any) -> str:
    """Write JSON as ``jq -c`` does: one line, UTF-8 kept, DEL escaped, no final newline.

    Identical to jq 1.6 for strings, booleans, null, integers below 2**53, objects and arrays; a
    login file holds nothing else.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return go_string(text).replace("\x7f", "\\u007f")


def _loads(
    text: str,
    hook: Callable[[list[tuple[str, Any]]], Any] | None,
    number: Callable[[str], Any] | None = None,
) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=hook,
            parse_constant=_refuse_constant,
            parse_int=number or _parse_int,
            parse_float=number or _parse_float,
        )
    except json.JSONDecodeError as error:
        # `from None`: the exception contains the whole document, secrets included.
        raise JSONTextError(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise JSONTextError("nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise JSONTextError(f"{name} is not a JSON number")


def _parse_int(digits: str) -> int | float:
    # Python 3.11 and later refuse to convert very long digit strings.
    return int(digits) if len(digits) < 300 else _parse_float(digits)


def _parse_float(digits: str) -> float:
    """Read a number; one too large for a double becomes the largest, as in jq."""
    return max(-_LARGEST, min(_LARGEST, float(digits)))
