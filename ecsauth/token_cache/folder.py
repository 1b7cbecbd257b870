"""A private folder: opened only if it belongs to this user and is not writable by others.

It is opened once, and its files are accessed relative to that descriptor, so that another folder
put in its place is never used. Folders that already exist keep their mode.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from ecsauth.host.atomic_file import close_quietly, write_new
from ecsauth.host.trust import untrusted_path_reason

MAX_BYTES = 65536
_NEW = ".new-"
_OURS_NEW = re.compile(r"\.new-[0-9]+-[0-9a-f]{8}")
_STALE_SECONDS = 3600.0
_MAX_LINKS = 8
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeError(OSError):
    """A folder or file that another user could have written."""


class Folder:
    """An open folder.

    Args:
        path: for messages.
        descriptor: of the folder; this object closes it.

    Raises:
        UnsafeError: it belongs to another user or is writable by others.

    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        try:
            _check(os.fstat(descriptor), str(path))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; does nothing if it is closed."""
        if self._descriptor >= 0:
            close_quietly(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        """Close it with its last reference."""
        self.close()

    def child(self, name: str, mode: int = 0o700, *, is_sealed: bool = False) -> Folder:
        """Open a subfolder; create it if it does not exist.

        Args:
            name: of the folder.
            mode: its permission bits, if it is created.
            is_sealed: set the mode on an existing folder too.

        Raises:
            UnsafeError: it belongs to another user or is writable by others.
            OSError: it cannot be created or opened; a symlink is not followed.

        """
        is_made = True
        try:
            os.mkdir(name, mode, dir_fd=self._descriptor)
        except FileExistsError:
            is_made = False
        descriptor = os.open(name, _FLAGS, dir_fd=self._descriptor)
        found = Folder(self.path / name, descriptor)
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode and (is_made or is_sealed):
            try:
                os.fchmod(descriptor, mode)  # the umask may have removed bits
            except BaseException:
                found.close()
                raise
        return found

    def read(self, name: str) -> bytes | None:
        """Return the first `MAX_BYTES` of a file; None if it does not exist.

        Raises:
            UnsafeError: it is not a regular file, belongs to another user or is writable by others.
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
        """Write a file atomically.

        It is not fsynced: after a power loss it may be empty, and its content is requested again.

        Args:
            name: of the file.
            data: its bytes.
            mode: its permission bits.
            at: its modification time, ns since 1970; None for now.

        Raises:
            OSError: it was not written; nothing has changed.

        """
        new = f"{_NEW}{os.getpid()}-{os.urandom(4).hex()}"

        def finish(descriptor: int) -> None:
            if at is not None:
                os.utime(descriptor, ns=(at, at))

        try:
            write_new(new, data, lambda file: os.fchmod(file, mode), finish, self._descriptor)
            os.rename(new, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=self._descriptor)
            raise

    def open_append(self, name: str) -> int:
        """Return a descriptor that appends to a file; create it (0600) if it does not exist.

        Raises:
            UnsafeError: it is not a regular file, belongs to another user or is writable by others.
            OSError: it cannot be created or opened.

        """
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(
                name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._descriptor
            )
            os.fchmod(descriptor, 0o600)
        except FileExistsError:
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        try:
            _check_file(os.fstat(descriptor), str(self.path / name))
        except BaseException:
            close_quietly(descriptor)
            raise
        return descriptor

    def rename(self, name: str, new: str) -> None:
        """Rename a file; does nothing if it does not exist."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> bool:
        """Remove a file; return whether it was removed."""
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except OSError:
            return False
        return True

    def files(self, now: float) -> Iterator[tuple[str, float]]:
        """Yield name and modification time of each file; remove files that a crash left behind."""
        found = []
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # another process removed it
                    found.append((entry.name, entry.stat(follow_symlinks=False).st_mtime))
        for name, moment in found:
            if not name.startswith(_NEW):
                yield name, moment
            elif moment < now - _STALE_SECONDS and _OURS_NEW.fullmatch(name):
                self.remove(name)


def open_folder(path: Path) -> Folder:
    """Open a folder by its path; create it and its parents if they do not exist.

    A symlink is followed if it belongs to this user or root and no other user can replace any
    part of the path.

    Raises:
        UnsafeError: it belongs to another user, or others can write to it or replace it.
        OSError: it cannot be created or opened.

    """
    for _ in range(_MAX_LINKS):
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        real = path.parent.resolve() / path.name
        if reason := untrusted_path_reason(real.parent):
            raise UnsafeError(reason)
        try:
            status = real.lstat()
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                real.mkdir(mode=0o700)
                real.chmod(0o700)
            status = real.lstat()
        if not stat.S_ISLNK(status.st_mode):
            return Folder(path, os.open(real, _FLAGS))
        if status.st_uid not in (0, os.geteuid()):
            raise UnsafeError(f"{path} is a symlink of another user")
        path = real.parent / real.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _check_file(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeError(f"{name} is not a regular file")
    _check(status, name)


def _check(status: os.stat_result, name: str) -> None:
    if status.st_uid != os.geteuid():
        raise UnsafeError(f"{name} belongs to another user (uid {status.st_uid})")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeError(f"{name} can be written by others")
