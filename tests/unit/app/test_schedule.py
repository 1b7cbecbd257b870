"""The pace of run, the step of a clock, the child that goes away."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from ecsauth.app import schedule as scheduler
from ecsauth.app.schedule import Child, Loop, Pace


@pytest.mark.parametrize(
    ("failures", "chance", "seconds"),
    [
        (0, 0.0, 900),
        (0, 1.0, 960),
        (1, 0.0, 30),
        (2, 0.0, 60),
        (2, 1.0, 72),
        (5, 0.0, 480),
        (6, 0.0, 900),
        (99, 1.0, 900),
    ],
)
def test_pauses_grow_with_failures_up_to_every(
    failures: int, chance: float, seconds: float
) -> None:
    assert Pace(900, 60).pause(failures, chance) == seconds


def test_job_runs_at_once_and_then_at_its_pace() -> None:
    times: list[float] = []
    said: list[str] = []

    def job() -> bool:
        times.append(time.monotonic())
        if len(times) == 4:
            loop.stop()
        return len(times) != 2

    loop = Loop(job, Pace(0.1, 0), say=said.append)
    loop.run()
    assert len(times) == 4
    assert all(later - earlier >= 0.09 for earlier, later in zip(times, times[1:]))
    assert said == ["the refresh failed; retrying in 0 s"]
    assert loop.failures == 0


def test_waking_runs_the_job_before_its_time() -> None:
    runs = 0

    def job() -> bool:
        nonlocal runs
        runs += 1
        (loop.wake if runs < 3 else loop.stop)()
        return True

    loop = Loop(job, Pace(3600, 0), say=print)
    loop.run()
    assert runs == 3


@pytest.mark.parametrize("step", [-86400.0, 86400.0, 61.0])
def test_clock_that_is_set_runs_the_job_now(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    runs = 0
    said: list[str] = []
    shift = 0.0
    monkeypatch.setattr(
        scheduler, "_clock_difference", lambda: time.time() + shift - time.monotonic()
    )

    def job() -> bool:
        nonlocal runs
        runs += 1
        if runs == 2:
            loop.stop()
        return True

    def tick() -> None:
        nonlocal shift
        shift = step

    loop = Loop(job, Pace(3600, 0), say=said.append, on_tick=tick, tick=0.02)
    loop.run()
    assert runs == 2
    assert said == ["the clock was set: refreshing now"]


def child(program: str, limit: float = 30, grace: float = 5) -> Child:
    command = [sys.executable, "-c", program]
    return Child(command, {}, limit, grace, lambda: False, lambda: None)


def test_child_s_exit_code_and_environment() -> None:
    assert child("import sys; sys.exit(3)").run() == 3
    program = "import os, sys; sys.exit('HOME' in os.environ)"
    assert child(program).run() == 0


def test_child_past_its_limit_is_terminated() -> None:
    assert child("import time; time.sleep(60)", limit=0.5).run() == -15


def test_child_that_ignores_sigterm_is_killed() -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    assert child(program, limit=0.5, grace=1).run() == -9


def test_child_finishes_within_the_grace(tmp_path: Path) -> None:
    tick, done = tmp_path / "tick", tmp_path / "done"
    # It waits for the first tick, after which the child is known to be stopping.
    program = (
        "import os, time\n"
        f"while not os.path.exists({str(tick)!r}): time.sleep(0.01)\n"
        f"open({str(done)!r}, 'w')"
    )
    command = [sys.executable, "-c", program]
    assert Child(command, {}, 30, 20, lambda: True, tick.touch).run() == 0
    assert done.exists()
