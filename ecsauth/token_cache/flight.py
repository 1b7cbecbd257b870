"""Single flight: of many processes that need the same token at once, one asks AWS.

The process that asks holds a lock (flock(2)). The kernel releases it when the process dies, so a
crash blocks no other. The others poll the cache; if the request fails, they report its failure.
"""

from __future__ import annotations

import fcntl
import time
from typing import Callable, TypeVar

from ecsauth.host.atomic_file import close_quietly

_T = TypeVar("_T")

WAIT_SECONDS = 30.0
"""A process that holds the lock for longer is taken to be stuck or stopped."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.1


def fly(
    descriptor: int | None,
    peek: Callable[[], _T | None],
    lead: Callable[[], _T],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Return the result of this process or of another; raise what `peek` and `lead` raise.

    Args:
        descriptor: of the lock file, closed at the end; None to ask without a lock.
        peek: returns the result of another process, None if there is none yet; raises its failure.
        lead: asks.
        clock: monotonic seconds.
        sleep: waits this many seconds.

    """
    if descriptor is None:
        return lead()
    end, pause = clock() + WAIT_SECONDS, _FIRST_PAUSE
    try:
        while True:
            is_leader = try_lock(descriptor)
            found = peek()  # even with the lock: its last holder may have succeeded
            if found is not None:
                return found
            if is_leader or clock() >= end:
                return lead()
            sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    finally:
        close_quietly(descriptor)


def try_lock(descriptor: int) -> bool:
    """Try to lock; return False if another process holds it. Closing releases the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # the file system has no locks: each process asks
    return True
