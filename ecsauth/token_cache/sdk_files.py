"""A snapshot of the AWS SDK's config and credentials files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ecsauth.errors import EcsauthError
from ecsauth.host.atomic_file import read_regular
from ecsauth.token_cache.answers import config_files

_MAX_BYTES = 1024 * 1024
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class SdkFile:
    """One of the two files.

    Attributes:
        path: absolute path.
        content: empty if the file does not exist.
        mtime: modification time, ns since 1970; None if the file does not exist.

    """

    path: str
    content: bytes = field(repr=False)
    mtime: int | None

    def is_settled(self, now: float) -> bool:
        """Return whether a later change would alter its time; file times may be coarse."""
        return self.mtime is None or self.mtime + _SETTLED_NS < now * 1e9


@dataclass(frozen=True)
class SdkFiles:
    """Both files."""

    config: SdkFile
    credentials: SdkFile

    def is_settled(self, now: float) -> bool:
        """Return whether a later change of either would alter its time."""
        return self.config.is_settled(now) and self.credentials.is_settled(now)


def read_sdk_files(environment: Mapping[str, str], home: str) -> SdkFiles | None:
    """Read both as botocore would; None if an existing file cannot be read completely.

    botocore expands ``~`` and variables in the paths (``configloader.raw_config_parse``).
    """
    try:
        first, second = (_read(path) for path in config_files(environment, home))
    except (OSError, EcsauthError, ValueError):
        return None
    return SdkFiles(first, second)


def _read(named: str) -> SdkFile:
    path = Path(os.path.expandvars(named)).expanduser().absolute()
    try:
        before = path.stat()
        content = read_regular(path, _MAX_BYTES)
        after = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return SdkFile(str(path), b"", None)
    if (before.st_mtime_ns, before.st_ino) != (after.st_mtime_ns, after.st_ino):
        raise ValueError("the file changed while it was read")
    return SdkFile(str(path), content, after.st_mtime_ns)
