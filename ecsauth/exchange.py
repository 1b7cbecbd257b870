"""Put a file in the place of another, if that is still what was read.

renameat2(2) swaps two names in one step, so that somebody who saves the other file at the same
moment loses nothing: what is aside then is compared, and swapped back if it is not what was read.
Where the C library (before glibc 2.28) or the file system cannot do that, the file is compared
just before a plain rename, which leaves a gap of microseconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

from ecsauth.errors import UnsettledError

_AT_FDCWD = -100
_NO_REPLACE, _EXCHANGE = 1, 2  # linux/fs.h
_CANNOT = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
_MAX_SWAPS = 100
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def put_in_place(temporary: Path, path: Path, expected: bytes | None) -> bool:
    """Rename `temporary` to `path`; False if something else is there than was expected.

    Args:
        temporary: is gone if that was done, and untouched if not.
        path: its directory is that of `temporary`.
        expected: the bytes of the regular file at `path`; None if there is to be none.

    Raises:
        OSError: `path` and `temporary` are as before.
        UnsettledError: what somebody else has written to `path` is beside it now.

    """
    with _undisturbed():
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
        if _content(temporary) == expected:
            with contextlib.suppress(OSError):  # the next write removes it
                temporary.unlink()
            return True
        _swap_back(temporary, path)
        return False


def _compare_and_rename(temporary: Path, path: Path, expected: bytes | None) -> bool:
    if _content(path) != expected:
        return False
    temporary.replace(path)
    return True


def _swap_back(temporary: Path, path: Path) -> None:
    """Swap until what was put at `path` last is what comes back: nobody has saved in between."""
    ours = _identity(path)
    failure: OSError | None = None
    for _ in range(_MAX_SWAPS):
        theirs = _identity(temporary)
        try:
            _rename(temporary, path, _EXCHANGE)
        except OSError as error:
            failure = error
            break
        if _identity(temporary) == ours:
            return
        ours = theirs
    aside = path.with_name(f"{path.name}.ecsauth-conflict")
    try:
        temporary.replace(aside)
    except OSError:
        aside = temporary
    raise UnsettledError(
        f"{path} was saved by somebody else at the same moment: that is in {aside}",
        "look at both, and take the right one",
    ) from failure


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _content(path: Path) -> bytes | None:
    """Return the bytes of a regular file; None if there is none, or something else."""
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
        OSError: it failed, or there is none.

    """
    import ctypes  # takes longer than to find that there is nothing to write

    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(new))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no signal end us while the file of somebody else is aside."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
