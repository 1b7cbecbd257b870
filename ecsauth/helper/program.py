"""The program, where no ready answer will do: wires the parts and says what went wrong."""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from ecsauth.errors import fault_place
from ecsauth.helper.answers import cache_directory, is_disabled
from ecsauth.helper.cache import Cache, CachedToken, NoCache, open_cache
from ecsauth.helper.log import Log, redacted
from ecsauth.helper.protocol import NOT_FOUND, PROGRAM, Reply, Server, serve
from ecsauth.helper.vault import EcrVault, Outside

if TYPE_CHECKING:
    from ecsauth.sources.ecr import EcrTokens


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


def make_vault(
    environment: Mapping[str, str],
    log: Callable[[str, str], None],
    tokens: EcrTokens | None = None,
) -> EcrVault:
    """Return the vault of this user; nothing is opened or asked yet.

    Args:
        environment: variables.
        log: takes a level and a text.
        tokens: asks AWS, if somebody in this process does already.

    """
    outside = Outside(environment, home_of(environment), log)

    def opened() -> Cache:
        directory = "" if is_disabled(environment) else cache_directory(environment, outside.home)
        cache, why_not = open_cache(directory, environment, outside.home)
        if isinstance(cache, NoCache) and why_not:
            log("warning", why_not)
        return cache

    return EcrVault(opened, _LazyAsker(environment, tokens), outside)


def home_of(environment: Mapping[str, str]) -> str:
    """Return the home directory: HOME, else what the user database says; empty if neither does."""
    home = environment.get("HOME", "")
    if home:
        return home
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def cache_path(environment: Mapping[str, str]) -> Path | None:
    """Return where this user's cache and log are; None for nowhere."""
    directory = cache_directory(environment, home_of(environment))
    return Path(directory) if directory else None


class _LazyAsker:
    """Loads what talks to AWS when it is needed."""

    def __init__(self, environment: Mapping[str, str], tokens: EcrTokens | None) -> None:
        self._environment = environment
        self._tokens = tokens

    def __call__(self, server: Server, *, is_hurried: bool) -> CachedToken:
        """Return a token; raise SourceError if there is none."""
        from ecsauth.helper.ask import AwsAsker

        return AwsAsker(self._environment, self._tokens)(server, is_hurried=is_hurried)


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
