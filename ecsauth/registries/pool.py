"""Run many logins at a time, each with a time limit that no server can exceed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Callable

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.verdict import UNREACHABLE, Verdict
from ecsauth.host.deadline import BackgroundCall

_AT_A_TIME = 16
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class _Task:
    index: int
    credential: Credential
    end: float
    call: BackgroundCall[Verdict]


def run_all(
    credentials: Sequence[Credential],
    one: Callable[[Credential], Verdict],
    timeout: float,
    on_verdict: Callable[[Verdict], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[Verdict]:
    """Call `one` for each credential; return the verdicts in the same order.

    A call that takes longer than `timeout` seconds is abandoned.
    """
    waiting = list(enumerate(credentials))
    running: list[_Task] = []
    verdicts: dict[int, Verdict] = {}
    while waiting or running:
        while waiting and len(running) < _AT_A_TIME:
            index, credential = waiting.pop(0)
            call = BackgroundCall(partial(one, credential))
            running.append(_Task(index, credential, clock() + timeout, call))
        for task in list(running):
            verdict = _verdict(task, timeout, clock())
            if verdict is not None:
                running.remove(task)
                verdicts[task.index] = verdict
                on_verdict(verdict)
        if running:
            sleep(_POLL_SECONDS)
    return [verdicts[index] for index in sorted(verdicts)]


def _verdict(task: _Task, timeout: float, now: float) -> Verdict | None:
    """Return the verdict of a task that has ended or timed out; else None."""
    if not task.call.is_done:
        return None if now < task.end else _unreachable(task, f"no answer in {timeout:g} s")
    try:
        return task.call.result()
    except Exception:  # its message may hold a secret, so it is not shown
        return _unreachable(task, "the login failed unexpectedly")


def _unreachable(task: _Task, why: str) -> Verdict:
    item = task.credential
    return Verdict(item.registry, item.username, UNREACHABLE, why)
