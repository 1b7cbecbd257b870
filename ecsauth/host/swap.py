"""Replaces a file by another, if it still has the bytes that were read.

renameat2(2) swaps two names in one step, so a process that saves the file at the same moment loses
nothing: the old file is compared after the swap, and swapped back if it is not what was read. It is
compared before the swap too, because until it is swapped back another process could read the new
file and save on top of that. Where the kernel or the file system cannot swap, the file is compared
just before a plain rename, which leaves a gap of microseconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from ecsauth.errors import UnsettledError
from ecsauth.host.signals import signals_held_off

_AT_FDCWD = -100
_NO_REPLACE, _EXCHANGE = 1, 2  # linux/fs.h
_CANNOT = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
_NUMBERS = {"x86_64": 316, "aarch64": 276}
"""System call numbers, for C libraries without renameat2 (before glibc 2.28: Amazon Linux 2)."""
_MAX_SWAPS = 100


def put_in_place(temporary: Path, path: Path, expected: bytes | None) -> bool:
    """Rename `temporary` to `path`; return False if `path` is not as expected.

    Args:
        temporary: the new file; gone if it was renamed, else unchanged.
        path: the file to replace, in the same directory.
        expected: the bytes that `path` must have; None if it must not exist.

    Raises:
        OSError: nothing was renamed.
        UnsettledError: another process wrote `path` too; its version is now beside it.

    """
    with signals_held_off():
        if expected is not None and _content(path) != expected:
            return False
        try:
            _rename(temporary, path, _NO_REPLACE if expected is None else _EXCHANGE)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOENT):
                return False
            if error.errno not in _CANNOT:
                raise
            return _compare_and_rename(temporary, path, expected)
        if expected is None:
            return True
        try:
            is_expected = _content(temporary) == expected
        except BaseException as error:  # out of memory: the old file may be another process's
            raise _unsettled(temporary, path) from error
        if not is_expected:
            _swap_back(temporary, path)
            return False
        with contextlib.suppress(OSError):  # if it stays, the next write removes it
            temporary.unlink()
        return True


def _compare_and_rename(temporary: Path, path: Path, expected: bytes | None) -> bool:
    if _content(path) != expected:
        return False
    temporary.replace(path)
    return True


def _swap_back(temporary: Path, path: Path) -> None:
    """Swap back; repeat if another process has saved the file in between."""
    failure: OSError | None = None
    try:
        ours = _identity(path)
        for _ in range(_MAX_SWAPS):
            theirs = _identity(temporary)
            _rename(temporary, path, _EXCHANGE)
            if _identity(temporary) == ours:
                return
            ours = theirs
    except OSError as error:
        failure = error
    raise _unsettled(temporary, path) from failure


def _unsettled(temporary: Path, path: Path) -> UnsettledError:
    """Move the other version to a name that no later write removes."""
    aside = path.with_name(f"{path.name}.ecsauth-conflict")
    try:
        temporary.replace(aside)
    except OSError:
        aside = temporary
    return UnsettledError(
        f"{path} was saved by another process at the same moment; the other version is {aside}",
        "compare the two files and keep the right one",
    )


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _content(path: Path) -> bytes | None:
    """Return the bytes of a regular file; None if it is missing, unreadable or not regular."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError:
        return None
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _rename(old: Path, new: Path, flags: int) -> None:
    """Call renameat2(2).

    Raises:
        OSError: it failed, or the system has no such call.

    """
    import ctypes  # slow to load, and most runs write nothing

    library = ctypes.CDLL(None, use_errno=True)
    given = (_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags)
    if hasattr(library, "renameat2"):
        failed = library.renameat2(*given)
    elif number := _NUMBERS.get(os.uname().machine):
        failed = library.syscall(number, *given)
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(new))
