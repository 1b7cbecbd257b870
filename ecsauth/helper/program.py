"""The program without a ready answer: connects the parts and reports what went wrong."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Callable

from ecsauth.errors import fault_place
from ecsauth.helper.protocol import Reply, serve
from ecsauth.token_cache.log import Log, redacted
from ecsauth.token_cache.open import cache_path, make_vault
from ecsauth.token_cache.server import NOT_FOUND, PROGRAM


def run(arguments: Sequence[str], read: Callable[[], bytes]) -> int:
    """Run one action and return the exit code.

    Args:
        arguments: command-line arguments, without the program's name.
        read: reads all of standard input.

    """
    sys.unraisablehook = lambda _: None  # no tracebacks from finalizers
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    os.umask(0o077)  # a stricter one could block access to our own files
    environment = dict(os.environ)
    say = _Reporter(environment)
    try:
        reply = serve(
            arguments,
            read,
            make_vault(environment, say),
            ignores_storage=environment.get("AWS_ECR_IGNORE_CREDS_STORAGE", "").lower() == "true",
            is_strict=bool(environment.get("ECSAUTH_STRICT")),
        )
    except Exception as error:  # a traceback may hold a secret, and docker would show it
        with contextlib.suppress(Exception):  # e.g. out of memory
            say("error", f"unexpected: {fault_place(error)}; this is a bug in ecsauth: report it")
        reply = Reply(NOT_FOUND, 1)
    return _print(reply)


class _Reporter:
    """Writes messages to the log, and to standard error if it is a terminal or for debugging."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._log = Log(cache_path(environment))
        self._is_debugging = bool(environment.get("ECSAUTH_DEBUG"))

    def __call__(self, level: str, text: str) -> None:
        """Report one message."""
        self._log(level, text)
        if sys.stderr is None or not (self._is_debugging or (level != "info" and _is_terminal())):
            return
        with contextlib.suppress(OSError, ValueError):  # the answer matters more
            os.write(2, f"{PROGRAM}: {level}: {redacted(text)}\n".encode("ascii"))


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:
        return False


def _print(reply: Reply) -> int:
    data = f"{reply.text}\n".encode() if reply.text else b""
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        return 1  # the reader is gone
    return reply.code
