"""The token cache: one token per principal and region, and ready answers for its hosts."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ecsauth.token_cache.answers import (
    ANSWERS_FOLDER,
    AT,
    CACHE_FOLDER,
    CONFIG,
    CREDENTIALS,
    MARGIN_SECONDS,
    SEALED_FILE,
    SEALED_FOLDER,
    answer_key,
    answer_name,
    is_plain,
)
from ecsauth.token_cache.folder import UnsafeError, open_folder
from ecsauth.token_cache.sdk_files import SdkFiles

_TOKEN = ".token"  # noqa: S105 - suffixes of file names
_FAILURE = ".failure"
_CORRUPT = ".corrupt"
_OURS = re.compile(r"[0-9a-f]{40}\.(token|failure|corrupt)")
_ANSWER = re.compile(r"[a-z0-9.-]+@[A-Za-z0-9._-]*")
_STAMPS = (AT, CONFIG, CREDENTIALS)
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
    """The host of the caller's own registry, from AWS's response; empty for ECR Public."""

    def is_fresh(self, now: float, ahead: float = 0.0) -> bool:
        """Return whether less than half of its life will have passed in `ahead` seconds.

        A token requested in the future is not fresh: the clock was turned back.
        """
        return self.requested_at <= now and now + ahead < self.renew_at

    def is_expired(self, now: float) -> bool:
        """Return whether it has expired; at `expires_at` exactly, it has."""
        return now >= self.expires_at

    @property
    def renew_at(self) -> int:
        """When half of its life has passed (Unix seconds)."""
        return (self.requested_at + self.expires_at) // 2


@dataclass(frozen=True)
class Failure:
    """Why a request for a token failed, for the processes that waited for it."""

    message: str
    hint: str
    at: float


class Cache(Protocol):
    """Keeps tokens between calls. No method raises: a token that is lost is requested again."""

    def get(self, name: str, now: float) -> CachedToken | None:
        """Return a token that has not expired; None if there is none."""

    def put(self, name: str, token: CachedToken, now: float) -> None:
        """Store a token."""

    def answer(
        self, host: str, name: str, token: CachedToken, reply: bytes, files: SdkFiles
    ) -> None:
        """Store the ready answer for a host.

        Args:
            host: the registry's host.
            name: the token's name.
            token: the token for this host.
            reply: JSON, one line.
            files: the SDK's files with which the token was requested.

        """

    def hosts(self, now: float) -> dict[str, str]:
        """Return host → token name, for tokens that have not expired."""

    def drop(self, name: str, hosts: Iterable[str]) -> None:
        """Remove a token and the ready answers for these hosts."""

    def lock(self, name: str) -> int | None:
        """Return a descriptor of the lock file for a token; None if it cannot be opened."""

    def failed(self, name: str, since: float, now: float) -> Failure | None:
        """Return the failure of a request that ended between `since` and `now`."""

    def put_failure(self, name: str, failure: Failure) -> None:
        """Store a failure for the processes that wait."""


class NoCache:
    """No cache: stores nothing."""

    def get(self, name: str, now: float) -> None:
        """Return None."""

    def put(self, name: str, token: CachedToken, now: float) -> None:
        """Do nothing."""

    def answer(
        self, host: str, name: str, token: CachedToken, reply: bytes, files: SdkFiles
    ) -> None:
        """Do nothing."""

    def hosts(self, now: float) -> dict[str, str]:  # noqa: ARG002
        """Return no hosts."""
        return {}

    def drop(self, name: str, hosts: Iterable[str]) -> None:
        """Do nothing."""

    def lock(self, name: str) -> None:
        """Return None."""

    def failed(self, name: str, since: float, now: float) -> None:
        """Return None."""

    def put_failure(self, name: str, failure: Failure) -> None:
        """Do nothing."""


class FileCache:
    """The cache in a private folder of this user.

    Args:
        directory: the cache directory; the cache is a folder in it.
        environment: environment variables, for the keys of ready answers.
        home: the home directory.

    Raises:
        UnsafeError: the folder belongs to another user or is writable by others.
        OSError: the folder cannot be created.

    """

    def __init__(self, directory: Path, environment: Mapping[str, str], home: str) -> None:
        self._environment = environment
        self._home = home
        base = open_folder(directory)
        try:
            self._tokens = base.child(CACHE_FOLDER, SEALED_FOLDER, is_sealed=True)
            self._answers = self._tokens.child(ANSWERS_FOLDER, SEALED_FOLDER, is_sealed=True)
        finally:
            base.close()

    def get(self, name: str, now: float) -> CachedToken | None:
        """Return a token that has not expired; rename a file that cannot be parsed."""
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
        """Store a token; remove expired ones, and the oldest above the limit."""
        data = json.dumps(asdict(token)).encode("ascii")
        with contextlib.suppress(OSError):
            self._prune(now)
        with contextlib.suppress(OSError):
            self._tokens.write(name + _TOKEN, data)
            self._tokens.remove(name + _FAILURE)

    def answer(
        self, host: str, name: str, token: CachedToken, reply: bytes, files: SdkFiles
    ) -> None:
        """Store the ready answer for a host, sealed."""
        file = answer_name(host, self._environment)
        key = answer_key(host, self._environment, self._home)
        is_fit = key.isascii() and key.isprintable() and is_plain(self._environment, self._home)
        if not file or not is_fit:
            return
        rest = f"{token.requested_at} {token.expires_at} {name}"
        data = b"\n".join([key.encode(), reply, rest.encode(), b""])
        until = token.renew_at * 10**9
        stamps = {
            AT: until - MARGIN_SECONDS * 10**9,
            CONFIG: files.config.mtime,
            CREDENTIALS: files.credentials.mtime,
        }
        with contextlib.suppress(OSError):
            self._answers.remove(file)  # never an old answer with new stamps
            for stamp, moment in stamps.items():
                if moment is None:
                    self._answers.remove(file + stamp)
                else:
                    self._answers.write(file + stamp, b"", SEALED_FILE, moment)
            self._answers.write(file, data, SEALED_FILE, until)

    def hosts(self, now: float) -> dict[str, str]:
        """Return host → token name, for tokens that have not expired."""
        found = {}
        for name, answer in self._all_answers(now):
            host = name.partition("@")[0]
            key = answer_key(host, self._environment, self._home)
            if answer.key == key and answer.expires_at > now:
                found[host] = answer.token_name
        return found

    def drop(self, name: str, hosts: Iterable[str]) -> None:
        """Remove a token and the ready answers for these hosts."""
        self._tokens.remove(name + _TOKEN)
        for host in hosts:
            self._remove_answer(answer_name(host, self._environment))

    def lock(self, name: str) -> int | None:
        """Return a descriptor of one of `_LOCKS` lock files; None if it cannot be opened."""
        try:
            return self._tokens.open_append(f".lock-{int(name[:8], 16) % _LOCKS:02x}")
        except OSError:
            return None

    def failed(self, name: str, since: float, now: float) -> Failure | None:
        """Return the failure of a request that ended between `since` and `now`."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            data = self._tokens.read(name + _FAILURE)
            if data is not None:
                found = json.loads(data)
                failure = Failure(str(found["message"]), str(found["hint"]), float(found["at"]))
                return failure if since <= failure.at <= now else None
        return None

    def put_failure(self, name: str, failure: Failure) -> None:
        """Store a failure for the processes that wait."""
        with contextlib.suppress(OSError):
            self._tokens.write(name + _FAILURE, json.dumps(asdict(failure)).encode("ascii"))

    def _all_answers(self, now: float) -> Iterator[tuple[str, _Answer]]:
        try:
            names = [name for name, _ in self._answers.files(now) if _ANSWER.fullmatch(name)]
        except OSError:
            return
        for name in names:
            with contextlib.suppress(OSError, ValueError, IndexError):
                lines = (self._answers.read(name) or b"").split(b"\n")
                rest = lines[2].decode().split()
                yield name, _Answer(lines[0].decode(), int(rest[0]), int(rest[1]), rest[2])

    def _prune(self, now: float) -> None:
        """Remove what has expired or cannot be parsed, and the oldest above the limits."""
        kept = []
        for name, moment in list(self._tokens.files(now)):
            if not _OURS.fullmatch(name):
                continue
            if name.endswith(_TOKEN):
                if self.get(name.partition(".")[0], now) is None:
                    self._tokens.remove(name)
                else:
                    kept.append((moment, name))
            elif not now - _MAX_FAILURE_AGE <= moment <= now:
                self._tokens.remove(name)  # an old failure or a corrupt file
        for _, name in sorted(kept)[: -_MAX_TOKENS + 1]:
            self._tokens.remove(name)
        current = dict(self._all_answers(now))
        for name, _ in list(self._answers.files(now)):
            if _ANSWER.fullmatch(name) and name not in current:
                self._remove_answer(name)
        by_age = sorted(current, key=lambda name: current[name].requested_at)
        for name in by_age:
            if current[name].expires_at <= now:
                self._remove_answer(name)
        for name in by_age[: -_MAX_ANSWERS + 1]:
            self._remove_answer(name)

    def _remove_answer(self, name: str) -> None:
        self._answers.remove(name)
        for stamp in _STAMPS:
            self._answers.remove(name + stamp)


@dataclass(frozen=True)
class _Answer:
    key: str
    requested_at: int
    expires_at: int
    token_name: str


def open_cache(directory: str, environment: Mapping[str, str], home: str) -> tuple[Cache, str]:
    """Return the cache, and a warning if it cannot be used (then the cache is `NoCache`).

    Args:
        directory: the cache directory; empty for no cache.
        environment: environment variables.
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
