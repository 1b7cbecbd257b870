"""The token cache: one token for each principal and region, and ready answers for its hosts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ecsauth.helper.answers import (
    FOLDER,
    SEALED_FILE,
    SEALED_FOLDER,
    answer_key,
    answer_name,
)
from ecsauth.helper.folder import Folder, UnsafeError

_TOKEN = ".token"  # noqa: S105 - ends of file names
_FAILURE = ".failure"
_CORRUPT = ".corrupt"
_LOCKS = 256
_MAX_TOKENS = 64
_MAX_ANSWERS = 512
_MAX_FAILURE_AGE = 3600.0


@dataclass(frozen=True)
class CachedToken:
    """A token as it is cached. Times are Unix seconds."""

    username: str
    password: str = field(repr=False)
    requested_at: int
    expires_at: int
    host: str = ""
    """Of the caller's own registry, as AWS named it; empty for ECR Public."""

    def is_fresh(self, now: float, ahead: float = 0.0) -> bool:
        """Return whether less than half of its life has passed, seen `ahead` seconds from now.

        One that was asked for in the future means that the clock was turned back: not fresh.
        """
        return self.requested_at <= now and now + ahead < self.renew_at

    def is_expired(self, now: float) -> bool:
        """Return whether it is past its time; at the instant, it is."""
        return now >= self.expires_at

    @property
    def renew_at(self) -> int:
        """When half of its life has passed."""
        return (self.requested_at + self.expires_at) // 2


@dataclass(frozen=True)
class Failure:
    """Why a token could not be had, as it is told to those who waited for it."""

    message: str
    hint: str
    at: float


class Cache(Protocol):
    """Where tokens are kept between calls. Nothing here fails: what is lost is fetched again."""

    def get(self, name: str, now: float) -> CachedToken | None:
        """Return a token that has not expired; None if there is none."""

    def put(self, name: str, token: CachedToken, now: float) -> None:
        """Keep a token."""

    def answer(self, host: str, token: CachedToken, reply: bytes) -> None:
        """Keep the ready answer for a host, one line."""

    def hosts(self, now: float) -> list[str]:
        """Return the hosts that were answered with a token which has not expired."""

    def drop(self, name: str, hosts: Iterator[str]) -> None:
        """Forget a token and the ready answers for hosts."""

    def lock(self, name: str) -> int | None:
        """Return a descriptor to lock who asks for a token; None if there cannot be one."""

    def failed(self, name: str, since: float) -> Failure | None:
        """Return the failure of somebody who asked after `since`."""

    def put_failure(self, name: str, failure: Failure) -> None:
        """Tell those who wait."""


class NoCache:
    """No cache: nothing is kept."""

    def get(self, name: str, now: float) -> None:
        """Return None."""

    def put(self, name: str, token: CachedToken, now: float) -> None:
        """Keep nothing."""

    def answer(self, host: str, token: CachedToken, reply: bytes) -> None:
        """Keep nothing."""

    def hosts(self, now: float) -> list[str]:  # noqa: ARG002
        """Return none."""
        return []

    def drop(self, name: str, hosts: Iterator[str]) -> None:
        """Forget nothing."""

    def lock(self, name: str) -> None:
        """Return None."""

    def failed(self, name: str, since: float) -> None:
        """Return None."""

    def put_failure(self, name: str, failure: Failure) -> None:
        """Tell nobody."""


class FileCache:
    """The cache in a folder of our own.

    Args:
        directory: as AWS_ECR_CACHE_DIR names it.
        environment: variables, for the keys of ready answers.
        home: the home directory.

    Raises:
        UnsafeError: others may write it.
        OSError: it cannot be made.

    """

    def __init__(self, directory: Path, environment: Mapping[str, str], home: str) -> None:
        self._environment = environment
        self._home = home
        Folder(directory, is_linkable=True).close()
        self._tokens = Folder((directory / FOLDER).parent)
        self._answers = Folder(directory / FOLDER, SEALED_FOLDER)

    def get(self, name: str, now: float) -> CachedToken | None:
        """Return a token that has not expired; one that makes no sense is set aside."""
        try:
            data = self._tokens.read(name + _TOKEN)
        except OSError:
            return None
        if data is None:
            return None
        token = _parse_token(data)
        if token is None:
            with contextlib.suppress(OSError):
                self._tokens.rename(name + _TOKEN, name + _CORRUPT)
            return None
        return None if token.is_expired(now) else token

    def put(self, name: str, token: CachedToken, now: float) -> None:
        """Keep a token; expired ones go, and the oldest if there are too many."""
        data = json.dumps(asdict(token)).encode("ascii")
        with contextlib.suppress(OSError):
            self._prune(now)
        with contextlib.suppress(OSError):
            self._tokens.write(name + _TOKEN, data)
            self._tokens.remove(name + _FAILURE)

    def answer(self, host: str, token: CachedToken, reply: bytes) -> None:
        """Keep the ready answer for a host, sealed."""
        name = answer_name(host, self._environment)
        key = answer_key(host, self._environment, self._home)
        if not name or not key.isascii() or not key.isprintable():
            return
        times = f"{token.requested_at} {token.expires_at}".encode()
        data = b"\n".join([key.encode(), reply, times, b""])
        with contextlib.suppress(OSError):
            self._answers.write(name, data, SEALED_FILE, token.renew_at)

    def hosts(self, now: float) -> list[str]:
        """Return the hosts that this principal was answered with a token not yet expired."""
        found = []
        for name, answer in self._all_answers(now):
            host = name.partition("@")[0]
            key = answer_key(host, self._environment, self._home)
            if answer.key == key and answer.expires_at > now:
                found.append(host)
        return sorted(found)

    def drop(self, name: str, hosts: Iterator[str]) -> None:
        """Forget a token and the ready answers for hosts."""
        self._tokens.remove(name + _TOKEN)
        for host in hosts:
            self._answers.remove(answer_name(host, self._environment))

    def lock(self, name: str) -> int | None:
        """Return a descriptor of one of a bounded number of lock files; None without one."""
        try:
            return self._tokens.open_append(f".lock-{int(name[:8], 16) % _LOCKS:02x}")
        except OSError:
            return None

    def failed(self, name: str, since: float) -> Failure | None:
        """Return the failure of somebody who asked after `since`."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            data = self._tokens.read(name + _FAILURE)
            if data is not None:
                found = json.loads(data)
                failure = Failure(str(found["message"]), str(found["hint"]), float(found["at"]))
                return failure if failure.at >= since else None
        return None

    def put_failure(self, name: str, failure: Failure) -> None:
        """Tell those who wait."""
        with contextlib.suppress(OSError):
            self._tokens.write(name + _FAILURE, json.dumps(asdict(failure)).encode("ascii"))

    def _all_answers(self, now: float) -> Iterator[tuple[str, _Answer]]:
        try:
            names = [name for name, _ in self._answers.files(now)]
        except OSError:
            return
        for name in names:
            with contextlib.suppress(OSError, ValueError, IndexError):
                lines = (self._answers.read(name) or b"").split(b"\n")
                times = lines[2].split()
                yield name, _Answer(lines[0].decode(), int(times[0]), int(times[1]))

    def _prune(self, now: float) -> None:
        """Drop what has expired or makes no sense, and the oldest beyond the bounds."""
        kept = []
        for name, moment in list(self._tokens.files(now)):
            stem, dot, _ = name.rpartition(".")
            if name.endswith(_TOKEN):
                if self.get(stem, now) is None:
                    self._tokens.remove(name)
                else:
                    kept.append((moment, name))
            elif dot and stem and not stem.startswith(".") and moment < now - _MAX_FAILURE_AGE:
                self._tokens.remove(name)  # a failure, or what was set aside
        for _, name in sorted(kept)[: -_MAX_TOKENS + 1]:
            self._tokens.remove(name)
        current = dict(self._all_answers(now))
        for name, _ in list(self._answers.files(now)):
            if name not in current or current[name].expires_at <= now:
                self._answers.remove(name)
        by_age = sorted(current, key=lambda name: current[name].requested_at)
        for name in by_age[: -_MAX_ANSWERS + 1]:
            self._answers.remove(name)


@dataclass(frozen=True)
class _Answer:
    key: str
    requested_at: int
    expires_at: int


def open_cache(directory: str, environment: Mapping[str, str], home: str) -> tuple[Cache, str]:
    """Return the cache, and why there is none if it is not to be had.

    Args:
        directory: where; empty for none.
        environment: variables.
        home: the home directory.

    """
    if not directory:
        return NoCache(), ""
    try:
        return FileCache(Path(directory).absolute(), environment, home), ""
    except UnsafeError as error:
        return NoCache(), f"the cache is not used: {error}"
    except OSError as error:
        return NoCache(), f"the cache is not used: {directory}: {error.strerror}"


def _parse_token(data: bytes) -> CachedToken | None:
    try:
        found: Any = json.loads(data)
        token = CachedToken(
            found["username"],
            found["password"],
            found["requested_at"],
            found["expires_at"],
            str(found.get("host", "")),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts, times = (token.username, token.password), (token.requested_at, token.expires_at)
    is_sound = all(isinstance(item, str) and item for item in texts)
    is_sound = is_sound and all(type(item) is int and 0 < item < 2**40 for item in times)
    return token if is_sound and token.requested_at < token.expires_at else None
