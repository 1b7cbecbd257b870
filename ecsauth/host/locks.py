"""File locks: one writer of a file at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from ecsauth.errors import EcsauthError, LockTimeoutError
from ecsauth.host.atomic_file import PRIVATE, close_quietly, target_error, temporary_path
from ecsauth.host.trust import check_owner

_POLL_SECONDS = 0.05


@contextlib.contextmanager
def locked(
    path: Path,
    timeout: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the writers' lock of `path` for the ``with`` block.

    A partial new file of a killed writer is removed.

    The lock is a separate file beside the target (0600: no other user can hold it). It is never
    removed, because that would let two writers in. The kernel releases the lock when the process
    dies.

    Args:
        path: the target, symlinks followed.
        timeout: seconds to wait; 0 tries once.
        clock: monotonic seconds.
        sleep: waits that many seconds.

    Raises:
        LockTimeoutError: another process held it all the time; its process id is named.
        TargetError: the lock file cannot be created.

    """
    lock = path.with_name(f".{path.name}.ecsauth-lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(lock, flags, PRIVATE)
    except OSError as error:
        raise target_error(path, error) from error
    try:
        check_owner(lock, os.fstat(descriptor))  # another owner could hold it forever
        _acquire(descriptor, path, timeout, clock, sleep)
        with contextlib.suppress(OSError):
            temporary_path(path).unlink()  # left by a crash: no other process is writing it
        yield
    finally:
        close_quietly(descriptor)


def sweep(path: Path) -> None:
    """Remove the temporary file of a killed writer of `path`, unless a writer is active."""
    with contextlib.suppress(OSError, EcsauthError):
        temporary_path(path).lstat()
        with locked(path, 0):
            pass  # taking the lock removes the file


def _acquire(
    descriptor: int,
    path: Path,
    timeout: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    end = clock() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock() >= end:
                raise LockTimeoutError(
                    f"{_holder(descriptor)} has held its lock for {timeout:g} s",
                    "wait for that process or end it, then run this again",
                    subject=str(path),
                ) from None
            sleep(_POLL_SECONDS)
        except OSError as error:
            raise target_error(path, error, "cannot be locked") from error
        else:
            return


def _holder(descriptor: int) -> str:
    """Name the process that holds the lock, from the kernel's list (proc(5), /proc/locks)."""
    inode = os.fstat(descriptor).st_ino
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
                return f"process {int(fields[4])}"
    return "another process"
