"""Ready answers of the cache: what a hit needs, and nothing that costs time to import.

A ready answer is a file ``HOST@PROFILE`` of three lines: the key, which spells out everything that
decides which login is right; the JSON for the caller; when the token was asked for and when it
expires. Its modification time is the instant from which a fresh token is wanted. Beside it stand
empty files that carry nothing but a modification time:

* ``+at``, a minute before that instant;
* ``+config`` and ``+credentials``, the AWS SDK's two files as they were when they were read; none
  for one that was not there.

The launcher (`launcher` beside this) reads the same files by the same rules, in ``sh``. What is
not beyond doubt is no hit, and then the package decides:

* the folders and the file are our own and no symlinks, and nobody else may write them;
* all carry the sticky bit, which ``chmod 777`` and copies lose: the seal that ``sh`` can see;
* the file's time is later than that of ``+at``, which lies in the future: a write by somebody else
  sets a time to the present, and nobody but the owner can set it otherwise (utimensat(2));
* the folder's time lies in the past, else the clock was turned back;
* the SDK's files have the very times that are kept, or are both absent.
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
"""Variables that decide too, by a secret or by a file's content: with them nothing is ready."""

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
    """Return the cache directory: AWS_ECR_CACHE_DIR, else ``~/.ecr``; empty for none.

    Args:
        environment: variables.
        home: the home directory; empty if there is none.

    """
    named = environment.get("AWS_ECR_CACHE_DIR", "")
    if named == "~" or named.startswith("~/"):
        return home + named[1:] if home else ""
    return named or (f"{home}/.ecr" if home else "")


def is_disabled(environment: Mapping[str, str]) -> bool:
    """Return whether nothing is to be cached."""
    return bool(environment.get("AWS_ECR_DISABLE_CACHE"))


def config_files(environment: Mapping[str, str], home: str) -> tuple[str, str]:
    """Return the paths of the AWS SDK's configuration and credentials files, as they are named."""
    return (
        environment.get("AWS_CONFIG_FILE") or f"{home}/.aws/config",
        environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials",
    )


def is_plain(environment: Mapping[str, str], home: str) -> bool:
    """Return whether the variables are such that an answer can be ready at all."""
    paths = (home, *config_files(environment, home))
    return all(path.startswith("/") and "$" not in path for path in paths) and not any(
        environment.get(name) for name in INTRICATE
    )


def account_of(host: str) -> str:
    """Return the AWS account that an ECR host names; empty for ECR Public."""
    account = host.partition(".")[0]
    return account if account.isdigit() else ""


def answer_name(host: str, environment: Mapping[str, str]) -> str:
    """Return the name of the file with the answer for a host; empty if it can have none."""
    account = account_of(host)
    profile = account and environment.get(f"AWS_PROFILE_{account}", "")
    profile = profile or environment.get("AWS_PROFILE", "")
    is_name = set(host) <= _HOST and set(profile) <= _PROFILE
    return f"{host}@{profile}" if is_name and len(host) + len(profile) < 200 else ""


def answer_key(host: str, environment: Mapping[str, str], home: str) -> str:
    """Return the first line of a ready answer: what decides which login is right.

    Two environments with the same key, on the same machine, would get the same login from AWS. A
    value with a line break makes a key that no file has.
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
    """Return the ready answer for what a caller of ``get`` sent; None if there is any doubt.

    Args:
        url: standard input.
        environment: variables.

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
        OSError: it is not there, or may not be read.
        ValueError: there is some doubt about it.

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
            raise ValueError("not sealed")
        before = _mtime(f"{path}/{name}{AT}")
        if before is None or not folder.st_mtime < now < before / 1e9 < status.st_mtime:
            raise ValueError("not its time")
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
        raise ValueError("not ours alone")


def _mtime(path: str) -> int | None:
    """Return a modification time in ns; None if there is no such file."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - pathlib takes 5 ms
    except OSError:
        return None
