"""Where the process begins: a ready answer costs no import that it does not need."""

from __future__ import annotations

import _signal  # signal, without what it takes to load it
import os
import sys
from typing import NoReturn

from ecsauth.token_cache.answers import hit


def main() -> NoReturn:
    """Do what the arguments of the process say, and exit."""
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Ctrl-C ends it at once, without a traceback
    data: list[bytes] = []
    if sys.argv[1:] == ["get"]:
        data.append(_read())
        answer = hit(data[0], os.environ)
        if answer is not None:
            _print(answer)
    # A hit does without.
    from ecsauth.helper.program import run

    sys.exit(run(sys.argv[1:], lambda: data[0] if data else _read()))


def _print(answer: bytes) -> NoReturn:
    """Print it and end the process at once: there is nothing to clean up."""
    try:
        while answer:
            answer = answer[os.write(1, answer) :]
    except OSError:
        os._exit(1)  # nobody reads it
    os._exit(0)


def _read() -> bytes:
    """Return standard input; no caller sends more than a megabyte."""
    try:
        return sys.stdin.buffer.read(1 << 20) if sys.stdin is not None else b""
    except OSError:
        return b""
