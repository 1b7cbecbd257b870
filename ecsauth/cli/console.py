"""What people read: every line made printable, results on stdout, all else on stderr."""

from __future__ import annotations

import contextlib
import sys
import unicodedata
from collections.abc import Iterable
from typing import BinaryIO, TextIO

from ecsauth.errors import EcsauthError, TargetError

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """Escape what could move a terminal's cursor, hide text or turn its direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(char) if unicodedata.category(char) in _UNPRINTABLE else char for char in text
    )


def say(kind: str, text: str) -> None:
    """Print one line to stderr; `kind` is ``error``, ``warning``, ``note`` or ``next``."""
    if sys.stderr is not None:
        _write_line(sys.stderr, f"ecsauth: {kind}: {text}")


def say_error(error: EcsauthError) -> None:
    """Print an error and what to do about it, on one line."""
    say("error", str(error))


def result_stream() -> BinaryIO:
    """Return stdout for bytes.

    Raises:
        TargetError: the caller closed it.

    """
    if sys.stdout is None:
        raise TargetError("standard output is closed")
    return sys.stdout.buffer


def print_lines(lines: Iterable[str], stream: TextIO) -> None:
    """Print the lines of a result for people."""
    for line in lines:
        _write_line(stream, line)


def _write_line(stream: TextIO, line: str) -> None:
    data = f"{printable(line)}\n".encode(stream.encoding or "utf-8", "backslashreplace")
    stream.flush()
    with contextlib.suppress(BrokenPipeError):
        stream.buffer.write(data)
        stream.buffer.flush()


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")
