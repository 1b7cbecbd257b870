"""Calls with a time limit for their whole duration.

Socket timeouts apply to each packet, and some calls have none. So the call runs in a daemon thread,
which is abandoned when the limit has passed: a server that sends one byte a second cannot block.
"""

from __future__ import annotations

import threading
from typing import Callable, Generic, TypeVar

_T = TypeVar("_T")


class DeadlineError(Exception):
    """The limit has passed."""


class NoThreadError(Exception):
    """No thread could be started: too little memory, or too many threads."""


class BackgroundCall(Generic[_T]):
    """A call that has been started.

    Args:
        work: called in a separate thread; `result` raises what it raises.
        stack_bytes: stack size of the thread; 0 for the default 8 MB, which count against a memory
            limit.

    Raises:
        NoThreadError: no thread could be started.

    """

    def __init__(self, work: Callable[[], _T], stack_bytes: int = 0) -> None:
        self._results: list[_T] = []
        self._failure: BaseException | None = None
        self._done = threading.Event()
        self._work = work
        thread = threading.Thread(target=self._run, daemon=True)
        usual = threading.stack_size(stack_bytes) if stack_bytes else 0
        try:
            thread.start()
        except RuntimeError as error:
            raise NoThreadError from error
        finally:
            if stack_bytes:
                threading.stack_size(usual)

    @property
    def is_done(self) -> bool:
        """Whether it has returned or raised."""
        return self._done.is_set()

    def result(self, seconds: float = 0.0) -> _T:
        """Return what the call returned, or raise what it raised.

        Raises:
            DeadlineError: the call has not ended within `seconds`.

        """
        if not self._done.wait(seconds):
            raise DeadlineError
        if self._failure is not None:
            raise self._failure
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # raised by `result`, in the caller's thread
            self._failure = error
        self._done.set()


def call_within(seconds: float, work: Callable[[], _T], stack_bytes: int = 0) -> _T:
    """Return what `work` returns; raises as `BackgroundCall` and its `result` do."""
    return BackgroundCall(work, stack_bytes).result(seconds)
