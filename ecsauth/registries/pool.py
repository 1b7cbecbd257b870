"""Many logins at a time, each with a time limit that holds whatever the server does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Callable

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.verdict import UNREACHABLE, Verdict

_AT_A_TIME = 16
_POLL_SECONDS = 0.01


@dataclass
class _Task:
    index: int
    credential: Credential
    end: float
    result: list[Verdict] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


def run_all(
    credentials: Sequence[Credential],
    one: Callable[[Credential], Verdict],
    timeout: float,
    on_verdict: Callable[[Verdict], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[Verdict]:
    """Call `one` for each credential; verdicts in their order.

    A call that takes longer than `timeout` seconds is left behind in its (daemon) thread: a
    server that sends one byte a second keeps no one waiting.
    """
    waiting = list(enumerate(credentials))
    running: list[_Task] = []
    verdicts: dict[int, Verdict] = {}
    while waiting or running:
        while waiting and len(running) < _AT_A_TIME:
            index, credential = waiting.pop(0)
            running.append(_start(_Task(index, credential, clock() + timeout), one))
        for task in list(running):
            verdict = _verdict(task, timeout, clock())
            if verdict is not None:
                running.remove(task)
                verdicts[task.index] = verdict
                on_verdict(verdict)
        if running:
            sleep(_POLL_SECONDS)
    return [verdicts[index] for index in sorted(verdicts)]


def _start(task: _Task, one: Callable[[Credential], Verdict]) -> _Task:
    def run() -> None:
        # Whatever it raises is not printed: a thread's traceback could show a secret.
        with contextlib.suppress(Exception):
            task.result.append(one(task.credential))
        task.done.set()

    threading.Thread(target=run, daemon=True).start()
    return task


def _verdict(task: _Task, timeout: float, now: float) -> Verdict | None:
    """Return the verdict of a task that has ended or whose time is over; else None."""
    if task.done.is_set() and task.result:
        return task.result[0]
    if not task.done.is_set() and now < task.end:
        return None
    why = "the login failed unexpectedly" if task.done.is_set() else f"no answer in {timeout:g} s"
    return Verdict(task.credential.registry, task.credential.username, UNREACHABLE, why)
