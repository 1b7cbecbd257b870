"""Ready answers of the cache: all that a hit needs, without slow imports.

A ready answer is a file ``HOST@PROFILE`` of three lines: the key, which holds everything that
decides which login is right; the JSON for the caller; when the token was requested, when it
expires, and its name. The file's modification time is when the token is due for renewal. Beside it
are empty files that hold nothing but a modification time:

* ``+at``: one minute before the renewal time;
* ``+config`` and ``+credentials``: the modification times of the AWS SDK's two files when they
  were read; there is none for a file that did not exist.

The launcher (module `launcher`) applies the same rules to the same files, in ``sh``. A file that
fails any of these checks is not a hit, and the package answers instead:

* the folders and the file belong to this user, are not symlinks and are not writable by others;
* all have the sticky bit, a seal that ``sh`` can test and that ``chmod 777`` and copying remove;
* the file's time is later than that of ``+at``, which is in the future: a write by another user
  sets the time to the present, and only the owner can set another (utimensat(2));
* the folder's time is in the past; otherwise the clock was turned back;
* the SDK's files have exactly the recorded times, or are absent as recorded.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping

from ecsauth.aws.deciding import PRINCIPAL
from ecsauth.host.machine import boot_id

INTRICATE = (
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CREDENTIAL_FILE",
    "BOTO_CONFIG",
)
"""Variables that select a login by a secret or a file's content; with them, nothing is a hit."""

CACHE_FOLDER = "ecsauth-cache"
ANSWERS_FOLDER = "answers"
SEALED_FOLDER = stat.S_ISVTX | 0o700
SEALED_FILE = stat.S_ISVTX | 0o600
AT, CONFIG, CREDENTIALS = "+at", "+config", "+credentials"
MARGIN_SECONDS = 60
_MAX_BYTES = 65536
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
_PROFILE = _HOST | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_")


def cache_directory(environment: Mapping[str, str], home: str) -> str:
    """Return the cache directory: AWS_ECR_CACHE_DIR, else ``~/.ecr``; empty if neither exists.

    Args:
        environment: environment variables.
        home: the home directory; empty if there is none.

    """
    named = environment.get("AWS_ECR_CACHE_DIR", "")
    if named == "~" or named.startswith("~/"):
        return home + named[1:] if home else ""
    return named or (f"{home}/.ecr" if home else "")


def is_disabled(environment: Mapping[str, str]) -> bool:
    """Return whether caching is disabled."""
    return bool(environment.get("AWS_ECR_DISABLE_CACHE"))


def config_files(environment: Mapping[str, str], home: str) -> tuple[str, str]:
    """Return the paths of the AWS SDK's config and credentials files, not expanded."""
    return (
        environment.get("AWS_CONFIG_FILE") or f"{home}/.aws/config",
        environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials",
    )


def is_plain(environment: Mapping[str, str], home: str) -> bool:
    """Return whether these variables allow a ready answer at all."""
    paths = (home, *config_files(environment, home))
    return all(path.startswith("/") and "$" not in path for path in paths) and not any(
        environment.get(name) for name in INTRICATE
    )


def account_of(host: str) -> str:
    """Return the AWS account in an ECR host name; empty for ECR Public."""
    account = host.partition(".")[0]
    return account if account.isdigit() else ""


def answer_name(host: str, environment: Mapping[str, str]) -> str:
    """Return the file name of the answer for a host; empty if it cannot have one."""
    account = account_of(host)
    profile = account and environment.get(f"AWS_PROFILE_{account}", "")
    profile = profile or environment.get("AWS_PROFILE", "")
    is_name = set(host) <= _HOST and set(profile) <= _PROFILE
    return f"{host}@{profile}" if is_name and len(host) + len(profile) < 200 else ""


def answer_key(host: str, environment: Mapping[str, str], home: str) -> str:
    """Return the first line of a ready answer: everything that decides which login is right.

    On one machine, AWS gives the same login to all environments with the same key. A value with a
    line break results in a key that matches no file.
    """
    account = account_of(host)
    parts = ["2", boot_id(), host, home]
    parts += [
        environment.get(f"{name}_{account}", "") if account else ""
        for name in ("AWS_PROFILE", "AWS_ROLE_ARN")
    ]
    parts += [environment.get(name, "") for name in PRINCIPAL]
    return "|".join(parts)


def hit(url: bytes, environment: Mapping[str, str]) -> bytes | None:
    """Return the ready answer to a ``get`` request; None if any check fails.

    Args:
        url: standard input of the request.
        environment: environment variables.

    """
    home = environment.get("HOME", "")
    if is_disabled(environment) or environment.get("ECSAUTH_DEBUG"):
        return None
    try:
        host = url.decode("ascii").strip(" \t\r\n")
        directory = cache_directory(environment, home)
        name = answer_name(host, environment)
        if not host or not name or not directory.startswith("/") or not is_plain(environment, home):
            return None
        lines = _read(directory, name, config_files(environment, home))
        if lines[0] != answer_key(host, environment, home).encode():
            return None
        return lines[1] + b"\n"
    except (OSError, ValueError, IndexError):
        return None


def _read(directory: str, name: str, configs: tuple[str, str]) -> list[bytes]:
    """Return the lines of a ready answer.

    Raises:
        OSError: it does not exist or cannot be read.
        ValueError: a check failed.

    """
    now = time.time()
    _check(os.stat(directory), stat.S_ISDIR)  # noqa: PTH116 - pathlib takes 5 ms
    cache = os.lstat(f"{directory}/{CACHE_FOLDER}")
    path = f"{directory}/{CACHE_FOLDER}/{ANSWERS_FOLDER}"
    folder = os.lstat(path)
    _check(cache, stat.S_ISDIR)
    _check(folder, stat.S_ISDIR)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(f"{path}/{name}", flags)
    try:
        status = os.fstat(descriptor)
        _check(status, stat.S_ISREG)
        if not cache.st_mode & folder.st_mode & status.st_mode & stat.S_ISVTX:
            raise ValueError("sticky bit missing")
        before = _mtime(f"{path}/{name}{AT}")
        if before is None or not folder.st_mtime < now < before / 1e9 < status.st_mtime:
            raise ValueError("renewal is due, or the clock was turned back")
        for named, kept in zip(configs, (CONFIG, CREDENTIALS)):
            if _mtime(named) != _mtime(f"{path}/{name}{kept}"):
                raise ValueError("the AWS configuration has changed")
        return os.read(descriptor, _MAX_BYTES).split(b"\n")
    finally:
        os.close(descriptor)


def _check(status: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    if (
        not is_kind(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise ValueError("wrong type, owner or mode")


def _mtime(path: str) -> int | None:
    """Return the modification time in ns; None if the file cannot be found."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - pathlib takes 5 ms
    except OSError:
        return None
