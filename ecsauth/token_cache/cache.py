"""The token cache: one token for each principal and region, and ready answers for its hosts."""

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

_TOKEN = ".token"  # noqa: S105 - ends of file names
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

    def answer(
        self, host: str, name: str, token: CachedToken, reply: bytes, files: SdkFiles
    ) -> None:
        """Keep the ready answer for a host.

        Args:
            host: of the registry.
            name: of the token.
            token: that serves it.
            reply: JSON, one line.
            files: the SDK's, with which the token was asked for.

        """

    def hosts(self, now: float) -> dict[str, str]:
        """Return host → name of its token, for those that have not expired."""

    def drop(self, name: str, hosts: Iterable[str]) -> None:
        """Forget a token and the ready answers for hosts."""

    def lock(self, name: str) -> int | None:
        """Return a descriptor to lock who asks for a token; None if there cannot be one."""

    def failed(self, name: str, since: float, now: float) -> Failure | None:
        """Return the failure of somebody who asked between `since` and now."""

    def put_failure(self, name: str, failure: Failure) -> None:
        """Tell those who wait."""


class NoCache:
    """No cache: nothing is kept."""

    def get(self, name: str, now: float) -> None:
        """Return None."""

    def put(self, name: str, token: CachedToken, now: float) -> None:
        """Keep nothing."""

    def answer(
        self, host: str, name: str, token: CachedToken, reply: bytes, files: SdkFiles
    ) -> None:
        """Keep nothing."""

    def hosts(self, now: float) -> dict[str, str]:  # noqa: ARG002
        """Return none."""
        return {}

    def drop(self, name: str, hosts: Iterable[str]) -> None:
        """Forget nothing."""

    def lock(self, name: str) -> None:
        """Return None."""

    def failed(self, name: str, since: float, now: float) -> None:
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
        base = open_folder(directory)
        try:
            self._tokens = base.child(CACHE_FOLDER, SEALED_FOLDER, is_sealed=True)
            self._answers = self._tokens.child(ANSWERS_FOLDER, SEALED_FOLDER, is_sealed=True)
        finally:
            base.close()

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

    def answer(
        self, host: str, name: str, token: CachedToken, reply: bytes, files: SdkFiles
    ) -> None:
        """Keep the ready answer for a host, sealed."""
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
            self._answers.remove(file)  # no half of the old with a half of the new
            for stamp, moment in stamps.items():
                if moment is None:
                    self._answers.remove(file + stamp)
                else:
                    self._answers.write(file + stamp, b"", SEALED_FILE, moment)
            self._answers.write(file, data, SEALED_FILE, until)

    def hosts(self, now: float) -> dict[str, str]:
        """Return host → name of its token, for those that have not expired."""
        found = {}
        for name, answer in self._all_answers(now):
            host = name.partition("@")[0]
            key = answer_key(host, self._environment, self._home)
            if answer.key == key and answer.expires_at > now:
                found[host] = answer.token_name
        return found

    def drop(self, name: str, hosts: Iterable[str]) -> None:
        """Forget a token and the ready answers for hosts."""
        self._tokens.remove(name + _TOKEN)
        for host in hosts:
            self._remove_answer(answer_name(host, self._environment))

    def lock(self, name: str) -> int | None:
        """Return a descriptor of one of a bounded number of lock files; None without one."""
        try:
            return self._tokens.open_append(f".lock-{int(name[:8], 16) % _LOCKS:02x}")
        except OSError:
            return None

    def failed(self, name: str, since: float, now: float) -> Failure | None:
        """Return the failure of somebody who asked between `since` and now."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            data = self._tokens.read(name + _FAILURE)
            if data is not None:
                found = json.loads(data)
                failure = Failure(str(found["message"]), str(found["hint"]), float(found["at"]))
                return failure if since <= failure.at <= now else None
        return None

    def put_failure(self, name: str, failure: Failure) -> None:
        """Tell those who wait."""
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
        """Drop what has expired or makes no sense, and the oldest beyond the bounds."""
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
                self._tokens.remove(name)  # a failure, or what was set aside
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
