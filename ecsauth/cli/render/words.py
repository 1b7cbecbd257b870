"""Times, numbers and columns as text."""

from __future__ import annotations

import time
from collections.abc import Sequence


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 login``, ``2 logins``, ``2 registries``."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def moment(seconds: float | None) -> str:
    """Return a time (Unix seconds) in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds or 0))


def span(seconds: float) -> str:
    """Return a number of seconds in hours and minutes."""
    hours, minutes = divmod(int(abs(seconds)) // 60, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def expiry(left: float) -> str:
    """Return when a login expires; `left` is the number of seconds until then."""
    return f"expires in {span(left)}" if left > 0 else "expired"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line per row, cells aligned in columns; the last column is not padded."""
    widths = [max(map(len, cells)) for cells in zip(*rows)] if rows else []
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
