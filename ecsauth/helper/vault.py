"""Logins for ECR: from the cache while a token is fresh, else from AWS, asked once by all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable

from ecsauth.errors import EcsauthError, SourceError
from ecsauth.files import read_regular
from ecsauth.helper.answers import account_of, config_files
from ecsauth.helper.cache import Cache, CachedToken, Failure
from ecsauth.helper.flight import fly
from ecsauth.helper.principal import principal_of, token_name
from ecsauth.helper.protocol import Login, Server, login_reply, parse_server_url

_MAX_CONFIG = 1024 * 1024
_PUBLIC_REGION = "us-east-1"


Asker = Callable[[Server], CachedToken]
"""Asks AWS for a token that serves a registry; raises SourceError if there is none."""


@dataclass(frozen=True)
class Outside:
    """What the vault needs from outside.

    Attributes:
        environment: variables.
        home: the home directory; empty if there is none.
        log: takes a level and a text.
        clock: Unix seconds.

    """

    environment: Mapping[str, str]
    home: str
    log: Callable[[str, str], None]
    clock: Callable[[], float] = time.time


class EcrVault:
    """The vault of the helper.

    Args:
        open_cache: opens the cache, when it is needed.
        ask: asks AWS.
        outside: the rest.

    """

    def __init__(self, open_cache: Callable[[], Cache], ask: Asker, outside: Outside) -> None:
        self._open_cache = open_cache
        self._opened: Cache | None = None
        self._ask = ask
        self._outside = outside
        self._config: tuple[bytes, bytes] | None = None

    @property
    def _cache(self) -> Cache:
        if self._opened is None:
            self._opened = self._open_cache()
        return self._opened

    def login(self, server: Server) -> Login:
        """Return the login for a registry.

        Raises:
            SourceError: there is none; the reason is in the log too.

        """
        token, _ = self.fetch(server)
        return Login(token.username, token.password)

    def fetch(
        self, server: Server, ahead: float = 0.0, *, is_lenient: bool = True
    ) -> tuple[CachedToken, bool]:
        """Return a token, and whether it is new.

        Args:
            server: the registry.
            ahead: a token that will not be fresh in so many seconds is renewed now.
            is_lenient: if AWS fails, a token that has not expired will do.

        Raises:
            SourceError: there is none; the reason is in the log too.

        """
        begun = self._outside.clock()
        name = self._name(server, fips=server.registry is not None and server.registry.fips)
        held = self._cache.get(name, begun)
        if held is not None and held.is_fresh(begun, ahead):
            self._keep_answer(server, held)
            return held, False
        try:
            token = fly(
                self._cache.lock(name),
                lambda: self._look(name, begun, ahead),
                lambda: self._lead(server, name),
            )
        except SourceError as error:
            if held is None:
                self._outside.log("error", f"no login: {error}")
                raise
            self._outside.log("warning", f"the cached token goes on: {error}")
            if not is_lenient:
                raise
            return held, False
        self._keep_answer(server, token)
        return token, True

    def is_due(self, server: Server, ahead: float) -> bool:
        """Return whether `warm` would ask AWS."""
        now = self._outside.clock()
        name = self._name(server, fips=server.registry is not None and server.registry.fips)
        token = self._cache.get(name, now)
        return token is None or not token.is_fresh(now, ahead)

    def warm(self, server: Server, ahead: float) -> tuple[list[str], bool]:
        """Renew a token that will not be fresh for long, and the answers that are made of it.

        Returns:
            The hosts that it serves, as far as they are known, and whether it is new.

        Raises:
            SourceError: AWS failed; a token that is cached stays.

        """
        token, is_new = self.fetch(server, ahead, is_lenient=False)
        names = self._names(server)
        others = [found for host in self.hosts() if (found := parse_server_url(host))]
        own = parse_server_url(server.host or token.host)
        served = [own] if own else []
        served += [other for other in others if other != own and self._names(other) & names]
        for one in served:
            self._keep_answer(one, token)
        return sorted(one.host for one in served), is_new

    def forget(self, server: Server) -> None:
        """Drop the token that serves a registry, and the answers that were made of it."""
        names = self._names(server)
        others = [parse_server_url(host) for host in self.hosts()]
        hosts = {other.host for other in others if other and self._names(other) & names}
        for name in names:
            self._cache.drop(name, iter({server.host, *hosts}))

    def hosts(self) -> list[str]:
        """Return the hosts whose tokens are cached for this principal."""
        return self._cache.hosts(self._outside.clock())

    def _look(self, name: str, begun: float, ahead: float) -> CachedToken | None:
        now = self._outside.clock()
        token = self._cache.get(name, now)
        if token is not None and token.is_fresh(now, ahead):
            return token
        failure = self._cache.failed(name, begun)
        if failure is not None:
            raise SourceError(failure.message, failure.hint)
        return None

    def _lead(self, server: Server, name: str) -> CachedToken:
        failure = Failure(
            f"{_shown(server)}: asking AWS failed", "see the other lines of the log", 0
        )
        try:
            token = self._ask(server)
        except Exception as error:
            if isinstance(error, SourceError):
                failure = Failure(error.message, error.hint, 0)
            self._cache.put_failure(name, replace(failure, at=self._outside.clock()))
            raise
        self._cache.put(name, token, self._outside.clock())
        renewed = f"to be renewed {_utc(token.renew_at)}"
        self._outside.log("info", f"{_shown(server)}: a new token, {renewed}")
        return token

    def _keep_answer(self, server: Server, token: CachedToken) -> None:
        if server.host and token.is_fresh(self._outside.clock()):
            reply = login_reply(server.host, Login(token.username, token.password))
            self._cache.answer(server.host, token, reply.encode("ascii"))

    def _names(self, server: Server) -> set[str]:
        return {self._name(server, fips=fips) for fips in (False, True)}

    def _name(self, server: Server, *, fips: bool) -> str:
        outside = self._outside
        if self._config is None:
            first, second = config_files(outside.environment, outside.home)
            self._config = _content(first), _content(second)
        account = account_of(server.host)
        principal = principal_of(account, outside.environment, outside.home, *self._config)
        if server.registry is None:
            return token_name(principal, "ecr-public", _PUBLIC_REGION, fips=False)
        return token_name(principal, "ecr", server.registry.region, fips=fips)


def _content(path: str) -> bytes:
    try:
        return read_regular(Path(path), _MAX_CONFIG)
    except (OSError, EcsauthError, ValueError):
        return b""


def _shown(server: Server) -> str:
    region = server.registry.region if server.registry else _PUBLIC_REGION
    return server.host or f"ecr:{region}"


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
