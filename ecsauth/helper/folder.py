"""A private folder: opened only if it is our own alone, its files read and written beneath it.

Everything is done relative to the opened folder, so that nobody can put another in its place.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 65536
_NEW = ".new-"
_STALE_SECONDS = 3600.0


class UnsafeError(OSError):
    """A folder or file that others could have written."""


class Folder:
    """An opened folder.

    Args:
        path: of the folder; made, with its parents, if it is not there.
        mode: its permission bits if it is made.
        is_linkable: whether it may be a symlink (of our own or root).

    Raises:
        UnsafeError: it is not ours, or others may write it.
        OSError: it cannot be made or opened.

    """

    def __init__(self, path: Path, mode: int = 0o700, *, is_linkable: bool = False) -> None:
        self.path = path
        if not is_linkable:
            _make(path, mode)
        elif not os.path.lexists(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(path, mode)
        elif path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid()):
            raise UnsafeError(f"{path} is a symlink of another user")
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._descriptor = os.open(path, flags | (0 if is_linkable else os.O_NOFOLLOW))
        try:
            status = os.fstat(self._descriptor)
            _check(status, str(path))
            if stat.S_IMODE(status.st_mode) != mode and not is_linkable:
                os.fchmod(self._descriptor, mode)
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file; None if there is none.

        Raises:
            UnsafeError: it is not ours, or others may write it.
            OSError: it cannot be read.

        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            _check_file(os.fstat(descriptor), str(self.path / name))
            return file.read(MAX_BYTES)

    def write(self, name: str, data: bytes, mode: int = 0o600, at: int | None = None) -> None:
        """Put a file in place, whole.

        It is not fsynced: after a power loss it may be empty, and then it is fetched again.

        Args:
            name: of the file.
            data: its bytes.
            mode: its permission bits.
            at: its modification time, Unix seconds; None for the present.

        Raises:
            OSError: it was not written; nothing has changed.

        """
        new = f"{_NEW}{os.getpid()}-{os.urandom(4).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(new, flags, 0o600, dir_fd=self._descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if mode != 0o600:
                    os.fchmod(descriptor, mode)
                if at is not None:
                    os.utime(descriptor, (at, at))
            os.rename(new, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=self._descriptor)
            raise

    def open_append(self, name: str) -> int:
        """Return a descriptor that appends to a file (0600), made if it is not there.

        Raises:
            OSError: it cannot be opened, or is not ours.

        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(name, flags, 0o600, dir_fd=self._descriptor)
        try:
            _check_file(os.fstat(descriptor), str(self.path / name))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def rename(self, name: str, new: str) -> None:
        """Rename a file; one that is not there is no matter."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> bool:
        """Remove a file; return whether there was one."""
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except OSError:
            return False
        return True

    def files(self, now: float) -> Iterator[tuple[str, float]]:
        """Yield name and modification time of each file; what a crash has left behind goes."""
        with os.scandir(self._descriptor) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False).st_mtime) for entry in entries]
        for name, moment in found:
            if not name.startswith(_NEW):
                yield name, moment
            elif moment < now - _STALE_SECONDS:
                self.remove(name)


def _make(path: Path, mode: int) -> None:
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=mode)


def _check_file(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeError(f"{name} is not a regular file")
    _check(status, name)


def _check(status: os.stat_result, name: str) -> None:
    if status.st_uid != os.geteuid():
        raise UnsafeError(f"{name} belongs to another user (uid {status.st_uid})")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeError(f"{name} can be written by others")
