"""Console output: printable lines only; results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, TextIO

import click

from ecsauth.errors import EcsauthError, TargetError, UsageError
from ecsauth.host.streams import write_stream

_PRIORITIES = {"error": 3, "warning": 4, "next": 5, "note": 6}
_log = {"format": "text"}
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """Escape characters that could move the cursor, hide text or reverse its direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(char) if unicodedata.category(char) in _UNPRINTABLE else char for char in text
    )


def set_log_format(name: str) -> None:
    """Set the format of stderr: ``text``, or ``json`` with one object per line."""
    _log["format"] = name


def is_json_log() -> bool:
    """Return whether stderr carries JSON."""
    return _log["format"] == "json"


def say(kind: str, text: str, hint: str = "", reference: str = "") -> None:
    """Print one line to stderr; `kind` is ``error``, ``warning``, ``note`` or ``next``."""
    if sys.stderr is None:
        return
    if is_json_log():
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event = {"time": moment, "level": kind, "message": text, "hint": hint}
        event["reference"] = reference
        line = json.dumps({name: value for name, value in event.items() if value})
    else:
        line = f"ecsauth: {kind}: {text}{f'; {hint}' if hint else ''}"
    with contextlib.suppress(OSError):
        _write_line(sys.stderr, f"{_priority(kind)}{line}")


def say_error(error: EcsauthError) -> None:
    """Print an error and its hint on one line."""
    say("error", error.message, error.hint, error.reference)


def result_stream() -> BinaryIO:
    """Return stdout as a byte stream.

    Raises:
        TargetError: it is closed.

    """
    if sys.stdout is None:
        raise TargetError("standard output is closed", reference="stdout-closed")
    return sys.stdout.buffer


def say_all(kind: str, lines: Sequence[str]) -> None:
    """Print the lines that are not empty to stderr, as one kind."""
    for line in lines:
        if line:
            say(kind, line)


def stdin_stream() -> BinaryIO:
    """Return stdin as a byte stream; an empty one if stdin is closed."""
    return sys.stdin.buffer if sys.stdin is not None else io.BytesIO()


def print_lines(lines: Iterable[str], stream: TextIO | None) -> None:
    """Print the lines of a summary; failing to print it is only a warning."""
    if stream is None:
        return
    try:
        for line in lines:
            _write_line(stream, line)
    except OSError as error:
        if stream is not sys.stderr:
            say("warning", f"the summary could not be printed: {error.strerror}")


def print_result(lines: Iterable[str]) -> None:
    """Print the lines of a result to stdout."""
    print_lines(lines, sys.stdout)


def show_help(context: click.Context) -> int:
    """Print the help of a group called without a command; return the exit code."""
    if context.invoked_subcommand is None:
        print_lines(context.get_help().splitlines(), sys.stderr)
    return UsageError.exit_code


def print_json(document: dict[str, Any]) -> None:
    """Print a JSON result in ASCII, so that it cannot control a terminal."""
    write_stream(result_stream(), f"{json.dumps(document, indent=2)}\n".encode("ascii"))


def settle_streams() -> None:
    """Redirect unwritable streams, so that Python does not retry the write at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _priority(kind: str) -> str:
    """Return the prefix that tells journald the severity of a line (sd-daemon(3)).

    Empty unless stderr is the journal's own stream, which systemd names in JOURNAL_STREAM.
    """
    stream = os.environ.get("JOURNAL_STREAM", "")
    if not stream or sys.stderr is None:
        return ""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return ""
    if stream != f"{status.st_dev}:{status.st_ino}":
        return ""
    return f"<{_PRIORITIES.get(kind, 6)}>"


def _write_line(stream: TextIO, line: str) -> None:
    data = f"{printable(line)}\n".encode(stream.encoding or "utf-8", "backslashreplace")
    stream.flush()
    rest = memoryview(data)
    while rest:
        rest = rest[stream.buffer.write(rest) or 0 :]
    stream.buffer.flush()


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")
