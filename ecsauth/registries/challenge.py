"""Parse ``WWW-Authenticate``: how a registry asks for a login (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_MAX_HEADER = 4096
_MAX_HEADERS = 10
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's term, not a secret
_PARAMETER = re.compile(rf'\s*,?\s*({_TOKEN})\s*=\s*("(?:[^"\\]|\\.)*"|{_TOKEN})')
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?=\s|,|$)")


@dataclass(frozen=True)
class Challenge:
    """One way to log in that a server offers.

    Attributes:
        scheme: in lower case: ``basic``, ``bearer``, …
        parameters: name in lower case → value, unquoted.

    """

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Parse the challenges of all ``WWW-Authenticate`` headers; skip malformed ones."""
    return [item for header in list(headers)[:_MAX_HEADERS] for item in _parse(header)]


def _parse(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    header = " ".join(header[:_MAX_HEADER].split())  # long runs of blanks cost quadratic time
    while scheme := _SCHEME.match(header, position):
        position = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            parameters[parameter[1].lower()] = _unquoted(parameter[2])
            position = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
