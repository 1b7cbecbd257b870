"""The helper's log: why a login failed, without secrets. A failure to log is ignored."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Callable

from ecsauth.host.atomic_file import close_quietly
from ecsauth.token_cache.folder import Folder, open_folder

NAME = "ecr-login.log"
MAX_BYTES = 256 * 1024
"""At this size the log is renamed to ``ecr-login.log.1``, which replaces the previous one."""

_MAX_LINE = 2000
_USER_INFO = re.compile(r"(?<=//)[^/\s@]*@")
_QUERY = re.compile(r"\?\S+")


def redacted(text: str) -> str:
    """Return one line of printable ASCII, without user info and query of URLs (maybe secret)."""
    hidden = _QUERY.sub("?…", _USER_INFO.sub("…@", text))
    return (
        "".join(
            char if char.isprintable() else " " for char in hidden[:_MAX_LINE].replace("…", "...")
        )
        .encode("ascii", "backslashreplace")
        .decode("ascii")
    )


class Log:
    """The log file ``log/ecr-login.log`` in the cache directory.

    Args:
        directory: the cache directory; None to log nothing.
        clock: Unix seconds.

    """

    def __init__(self, directory: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock

    def __call__(self, level: str, text: str) -> None:
        """Write one line."""
        if self._directory is None:
            return
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        line = f"{moment} {level} [{os.getpid()}] {redacted(text)}\n"
        with contextlib.suppress(OSError):
            base = open_folder(self._directory)
            with contextlib.closing(base), contextlib.closing(base.child("log")) as folder:
                _append(folder, line.encode("ascii"))


def _append(folder: Folder, line: bytes) -> None:
    descriptor = folder.open_append(NAME)
    try:
        if os.fstat(descriptor).st_size + len(line) > MAX_BYTES:
            folder.rename(NAME, f"{NAME}.1")
            close_quietly(descriptor)
            descriptor = folder.open_append(NAME)
        os.write(descriptor, line)
    finally:
        close_quietly(descriptor)
