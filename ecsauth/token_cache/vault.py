"""Logins for ECR: from the cache while a token is fresh, else from AWS in one shared call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Protocol

from ecsauth.errors import ClockError, EcsauthError, SourceError
from ecsauth.host.atomic_file import close_quietly, read_regular
from ecsauth.host.machine import boot_id
from ecsauth.token_cache.answers import INTRICATE, account_of
from ecsauth.token_cache.cache import Cache, CachedToken, Failure, NoCache
from ecsauth.token_cache.flight import fly, try_lock
from ecsauth.token_cache.principal import principal_of, token_name
from ecsauth.token_cache.sdk_files import SdkFile, SdkFiles, read_sdk_files
from ecsauth.token_cache.server import Login, Server, login_reply, parse_server_url

_MAX_SECRET = 65536
_PUBLIC_REGION = "us-east-1"
_NO_FILES = SdkFiles(SdkFile("", b"", None), SdkFile("", b"", None))
_SEE_LOG = "see the log of the process that made the request"
_PAUSE_SECONDS = 60.0
"""After a failed request, how long an unexpired token is returned without asking AWS again."""


class Asker(Protocol):
    """Requests a token from AWS."""

    def __call__(self, server: Server, /, *, is_hurried: bool) -> CachedToken:
        """Return a token for a registry, or raise SourceError.

        Args:
            server: the registry.
            is_hurried: make one short attempt, because a usable token is cached.

        """


@dataclass(frozen=True)
class Outside:
    """What the vault needs from its environment.

    Attributes:
        environment: environment variables.
        home: the home directory; empty if there is none.
        log: takes a level and a text.
        clock: Unix seconds.

    """

    environment: Mapping[str, str]
    home: str
    log: Callable[[str, str], None]
    clock: Callable[[], float] = time.time


class EcrVault:
    """Returns logins from the cache or from AWS.

    Args:
        open_cache: opens the cache when it is needed.
        ask: requests tokens from AWS.
        outside: environment, log and clock.

    """

    def __init__(self, open_cache: Callable[[], Cache], ask: Asker, outside: Outside) -> None:
        self._open_cache = open_cache
        self._opened: Cache | None = None
        self._ask = ask
        self._outside = outside
        self._loaded: list[SdkFiles | None] = []

    @property
    def _cache(self) -> Cache:
        if self._opened is None:
            self._opened = self._open_cache() if self._files is not None else NoCache()
        return self._opened

    @property
    def _files(self) -> SdkFiles | None:
        """The SDK's files as first read; None if one cannot be read."""
        if not self._loaded:
            self._loaded.append(self._read_files())
        return self._loaded[0]

    def login(self, server: Server) -> Login:
        """Return the login for a registry.

        Raises:
            SourceError: there is none; the reason is logged too.

        """
        token, _ = self.fetch(server)
        return Login(token.username, token.password)

    def fetch(
        self, server: Server, ahead: float = 0.0, *, is_lenient: bool = True
    ) -> tuple[CachedToken, bool]:
        """Return a token, and whether it is new.

        Args:
            server: the registry.
            ahead: renew a token that will not be fresh in this many seconds.
            is_lenient: if AWS fails, return a cached token that has not expired.

        Raises:
            SourceError: there is no token, or AWS failed and `is_lenient` is False; the reason
                is logged too.

        """
        begun = self._outside.clock()
        name = self._name(server, fips=server.fips)
        cached = self._cache.get(name, begun)
        if cached is not None and cached.is_fresh(begun, ahead):
            self._keep_answer(server, cached)
            return cached, False
        try:
            if cached is not None and is_lenient:
                token = self._renew(server, name, cached)
            else:
                token = fly(
                    self._cache.lock(name),
                    lambda: self._peek(name, begun, ahead),
                    lambda: self._lead(server, name),
                )
        except SourceError as error:
            now = self._outside.clock()
            if cached is not None and cached.is_expired(now):
                cached = None
            if cached is not None and _is_known_to_have_expired(cached, error):
                self._cache.drop(name, [server.host])
                cached = None
            if cached is None:
                self._outside.log("error", f"no login: {error}")
                raise
            until = f"valid until {_utc(cached.expires_at)}"
            self._outside.log("warning", f"using the cached token, {until}: {error}")
            if not is_lenient:
                raise
            return cached, False
        self._keep_answer(server, token)
        return token, token != cached

    def _renew(self, server: Server, name: str, cached: CachedToken) -> CachedToken:
        """Return a new token; the cached one if another process renews it or has just failed to."""
        now = self._outside.clock()
        if self._cache.failed(name, now - _PAUSE_SECONDS, now) is not None:
            return cached
        lock = self._cache.lock(name)
        if lock is None:
            return self._lead(server, name, is_hurried=True)
        try:
            if not try_lock(lock):
                return cached
            return self._peek(name, now, 0.0) or self._lead(server, name, is_hurried=True)
        finally:
            close_quietly(lock)

    def is_due(self, server: Server, ahead: float) -> bool:
        """Return whether `warm` would call AWS."""
        now = self._outside.clock()
        name = self._name(server, fips=server.fips)
        token = self._cache.get(name, now)
        return token is None or not token.is_fresh(now, ahead)

    def warm(self, server: Server, ahead: float) -> tuple[list[str], bool]:
        """Renew a token that will not be fresh in `ahead` seconds, and the answers made from it.

        Returns:
            The hosts known to use the token, and whether it is new.

        Raises:
            SourceError: AWS failed; a cached token is kept.

        """
        token, is_new = self.fetch(server, ahead, is_lenient=False)
        own = parse_server_url(server.host or token.host)
        if own is None or (own.registry and server.registry and not _same_region(own, server)):
            raise SourceError(
                "AWS returned a host that is not an ECR registry of this region",
                "check for a proxy or a wrong AWS_ENDPOINT_URL",
                subject=_shown(server),
                reference="aws-unexpected-answer",
            )
        if not self._names(own) & self._names(server):  # the account has its own principal
            return self.warm(own, ahead)
        served = {own, *self._served_like(server)}
        for one in served:
            self._keep_answer(one, token)
        return sorted(one.host for one in served), is_new

    @property
    def has_cache(self) -> bool:
        """Return whether there is a cache."""
        return not isinstance(self._cache, NoCache)

    def forget(self, server: Server) -> None:
        """Remove the token for a registry, and the answers made from it."""
        hosts = {server.host, *(one.host for one in self._served_like(server))}
        for name in self._names(server):
            self._cache.drop(name, hosts)

    def hosts(self) -> list[str]:
        """Return the hosts for which this principal has a cached token."""
        return sorted(server.host for server in self._servers())

    def _servers(self) -> list[Server]:
        found = self._cache.hosts(self._outside.clock())
        servers = [server for host in found if (server := parse_server_url(host))]
        return [one for one in servers if found[one.host] in self._names(one)]

    def _served_like(self, server: Server) -> list[Server]:
        """Return the cached registries that use the same token."""
        names = self._names(server)
        return [one for one in self._servers() if self._names(one) & names]

    def _peek(self, name: str, begun: float, ahead: float) -> CachedToken | None:
        now = self._outside.clock()
        token = self._cache.get(name, now)
        if token is not None and token.is_fresh(now, ahead):
            return token
        failure = self._cache.failed(name, begun, now)
        if failure is not None:
            raise SourceError(failure.message, failure.hint, reference="ecr-token-failed")
        return None

    def _lead(self, server: Server, name: str, *, is_hurried: bool = False) -> CachedToken:
        failure = Failure(f"{_shown(server)}: the request to AWS failed", _SEE_LOG, 0)
        try:
            token = self._ask(server, is_hurried=is_hurried)
        except Exception as error:
            if isinstance(error, SourceError):
                failure = Failure(error.message, error.hint, 0)
            self._cache.put_failure(name, replace(failure, at=self._outside.clock()))
            raise
        if self._read_files() != self._files:  # the token may be of either principal: do not cache
            self._opened = NoCache()
            return token
        self._cache.put(name, token, self._outside.clock())
        due = f"renewal due {_utc(token.renew_at)}"
        self._outside.log("info", f"{_shown(server)}: a new token, {due}")
        return token

    def _keep_answer(self, server: Server, token: CachedToken) -> None:
        now = self._outside.clock()
        files = self._files
        if not server.host or files is None or not files.is_settled(now):
            return
        if token.is_fresh(now):
            reply = login_reply(server.host, Login(token.username, token.password))
            name = self._name(server, fips=server.fips)
            self._cache.answer(server.host, name, token, reply.encode("ascii"), files)

    def _names(self, server: Server) -> set[str]:
        return {self._name(server, fips=fips) for fips in (False, True)}

    def _name(self, server: Server, *, fips: bool) -> str:
        outside = self._outside
        principal = principal_of(
            account_of(server.host),
            outside.environment,
            outside.home,
            self._files or _NO_FILES,
            boot=boot_id(),
            secrets=self._secrets(),
        )
        if server.registry is None:
            return token_name(principal, "ecr-public", _PUBLIC_REGION, fips=False)
        return token_name(principal, "ecr", server.registry.region, fips=fips)

    def _read_files(self) -> SdkFiles | None:
        return read_sdk_files(self._outside.environment, self._outside.home)

    def _secrets(self) -> bytes:
        """Return the content of the credential files named by `INTRICATE` variables."""
        found = b""
        for name in INTRICATE:
            path = self._outside.environment.get(name, "")
            if path and not name.endswith("_TOKEN"):
                try:
                    found += read_regular(Path(path), _MAX_SECRET)
                except (OSError, EcsauthError, ValueError):
                    found += b"?"
        return found


def _is_known_to_have_expired(token: CachedToken, error: SourceError) -> bool:
    """Return whether the token has expired by AWS's clock, from which the local clock differs."""
    if not isinstance(error, ClockError) or error.true_time is None:
        return False
    return token.is_expired(error.true_time)


def _same_region(one: Server, other: Server) -> bool:
    return bool(one.registry and other.registry and one.registry.region == other.registry.region)


def _shown(server: Server) -> str:
    region = server.registry.region if server.registry else _PUBLIC_REGION
    return server.host or f"ecr:{region}"


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
