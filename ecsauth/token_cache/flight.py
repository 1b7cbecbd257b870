"""Single flight: of many processes that want the same token at once, one asks AWS.

Who asks holds a lock (flock(2)), which the kernel lets go of when he dies, so that a crash blocks
nobody. The others look into the cache meanwhile; if he fails, they take over his failure.
"""

from __future__ import annotations

import fcntl
import time
from typing import Callable, TypeVar

from ecsauth.host.atomic_file import close_quietly

_T = TypeVar("_T")

WAIT_SECONDS = 30.0
"""Who holds the lock for longer is stuck, or stopped."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.1


def fly(
    descriptor: int | None,
    peek: Callable[[], _T | None],
    lead: Callable[[], _T],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Return what one of those who want it has got; raises what `peek` and `lead` raise.

    Args:
        descriptor: of the lock file, closed at the end; None if everybody asks for himself.
        peek: returns what others have got meanwhile, None if nothing; raises their failure.
        lead: asks.
        clock: seconds of a clock that does not jump.
        sleep: waits that many seconds.

    """
    if descriptor is None:
        return lead()
    end, pause = clock() + WAIT_SECONDS, _FIRST_PAUSE
    try:
        while True:
            is_leader = try_lock(descriptor)
            found = peek()  # also with the lock: the one before may just have got it
            if found is not None:
                return found
            if is_leader or clock() >= end:
                return lead()
            sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    finally:
        close_quietly(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock it if nobody else has; return whether it is locked. It ends with the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: everybody asks for himself
    return True
