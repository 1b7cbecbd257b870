"""The program, where no ready answer will do: wires the parts and says what went wrong."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Callable

from ecsauth.errors import fault_place
from ecsauth.helper.protocol import Reply, serve
from ecsauth.token_cache.log import Log, redacted
from ecsauth.token_cache.open import cache_path, make_vault
from ecsauth.token_cache.server import NOT_FOUND, PROGRAM

if TYPE_CHECKING:
    pass


def run(arguments: Sequence[str], read: Callable[[], bytes]) -> int:
    """Do one action of this process and return its exit code.

    Args:
        arguments: of the program, without its name.
        read: reads standard input to its end.

    """
    sys.unraisablehook = lambda _: None  # a traceback of Python's own, on closing what is done
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    os.umask(0o077)  # one that takes our own bits away would lock us out of what we make
    environment = dict(os.environ)
    say = _Reasons(environment)
    try:
        reply = serve(
            arguments,
            read,
            make_vault(environment, say),
            ignores_storage=environment.get("AWS_ECR_IGNORE_CREDS_STORAGE", "").lower() == "true",
            is_strict=bool(environment.get("ECSAUTH_STRICT")),
        )
    except Exception as error:  # a traceback may show a secret, and docker would show it
        with contextlib.suppress(Exception):  # there may be no memory even for that
            say("error", f"unexpected: {fault_place(error)}; this is a fault of ecsauth: report it")
        reply = Reply(NOT_FOUND, 1)
    return _print(reply)


class _Reasons:
    """Takes what went wrong: to the log, and to standard error where somebody sees it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._log = Log(cache_path(environment))
        self._is_debugging = bool(environment.get("ECSAUTH_DEBUG"))

    def __call__(self, level: str, text: str) -> None:
        """Say it."""
        self._log(level, text)
        if sys.stderr is None or not (self._is_debugging or (level != "info" and _is_watched())):
            return
        with contextlib.suppress(OSError, ValueError):  # nobody reads it: the answer counts
            os.write(2, f"{PROGRAM}: {level}: {redacted(text)}\n".encode("ascii"))


def _is_watched() -> bool:
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
        return 1  # nobody reads it
    return reply.code
