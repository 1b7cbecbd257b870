"""Entry point of the process; a ready answer loads only the modules that it needs."""

from __future__ import annotations

import _signal  # the C part of `signal`, which loads faster
import os
import sys
from typing import NoReturn

from ecsauth.token_cache.answers import hit


def main() -> NoReturn:
    """Run the action that the arguments name, and exit."""
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Ctrl-C ends it at once, without a traceback
    data: list[bytes] = []
    if sys.argv[1:] == ["get"]:
        data.append(_read())
        answer = hit(data[0], os.environ)
        if answer is not None:
            _print(answer)
    # A hit does not need this import.
    from ecsauth.helper.program import run

    sys.exit(run(sys.argv[1:], lambda: data[0] if data else _read()))


def _print(answer: bytes) -> NoReturn:
    """Print the answer and end the process at once; there is nothing to clean up."""
    try:
        while answer:
            answer = answer[os.write(1, answer) :]
    except OSError:
        os._exit(1)  # the reader is gone
    os._exit(0)


def _read() -> bytes:
    """Return standard input, at most 1 MiB; callers send less."""
    try:
        return sys.stdin.buffer.read(1 << 20) if sys.stdin is not None else b""
    except OSError:
        return b""
