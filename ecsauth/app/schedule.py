"""run: refresh on a schedule (schedule package), each time in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable

from ecsauth.errors import EcsauthError
from ecsauth.host.sd_notify import Notifier

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports

_FIRST_RETRY_SECONDS = 30.0
_STEP_SECONDS = 60.0
"""If the wall clock and the monotonic one drift apart by more than this, the clock was set."""


_GRACE_SECONDS = 8.0
"""Less than the 10 s that docker stop gives."""


@dataclass(frozen=True)
class Pace:
    """How often.

    Attributes:
        every: seconds between two runs.
        jitter: random extra wait, at most this many seconds.

    """

    every: float
    jitter: float

    def pause(self, failures: int, chance: float) -> float:
        """Return the seconds until the next run.

        Args:
            failures: how many runs have failed in a row; each doubles the pause, from 30 s up
                to `every`.
            chance: 0 to 1.

        """
        if failures:
            grown = _FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 30)
            return min(self.every, grown * (1 + 0.2 * chance))
        return self.every + self.jitter * chance


@dataclass(frozen=True)
class Plan:
    """How refreshes are run.

    Attributes:
        pace: how often.
        command: program and arguments of one refresh.
        environment: its variables.
        limit: seconds after which it is terminated.

    """

    pace: Pace
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    limit: float


def serve(load: Callable[[], Plan], ports: Ports) -> int:
    """Refresh at once and then on a schedule, until SIGTERM or SIGINT; return the exit code.

    SIGHUP loads the plan again and refreshes; an invalid plan is not used.

    Args:
        load: returns the plan for the current settings; raises EcsauthError.
        ports: the outside.

    """
    return _Service(load, ports).run()


class _Service:
    """The schedule, its signals and its children."""

    def __init__(self, load: Callable[[], Plan], ports: Ports) -> None:
        self._load = load
        self._plan = load()
        self._ports = ports
        self._notifier = Notifier(ports.environment)
        self._is_stopping = False
        self._is_reloading = False
        watchdog = self._notifier.watchdog_seconds
        self._loop = Loop(
            self._refresh,
            self._plan.pace,
            say=ports.warn,
            on_tick=self._tick,
            tick=min(30.0, watchdog or 30.0),
        )

    def run(self) -> int:
        os.environ["TZ"] = "UTC"  # the schedule package uses local time, which jumps
        time.tzset()
        signals = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._hup}
        before = {number: signal.signal(number, action) for number, action in signals.items()}
        try:
            self._loop.run()
        finally:
            for number, action in before.items():
                signal.signal(number, action)
        self._notifier.send("STOPPING=1")
        self._ports.note("stopped on request; no file is half-written")
        return 0

    def _stop(self, *_: Any) -> None:
        self._is_stopping = True
        self._loop.stop()

    def _hup(self, *_: Any) -> None:
        self._is_reloading = True
        self._loop.wake()

    def _tick(self) -> None:
        self._notifier.send("WATCHDOG=1")

    def _refresh(self) -> bool:
        if self._is_reloading:
            self._is_reloading = False
            self._reload()
        plan = self._plan
        child = Child(
            plan.command,
            plan.environment,
            plan.limit,
            _GRACE_SECONDS,
            lambda: self._is_stopping,
            self._tick,
        )
        code = child.run()
        self._notifier.send(f"READY=1\nWATCHDOG=1\nSTATUS=the last refresh ended with {code}")
        return code == 0

    def _reload(self) -> None:
        """Load the current settings; if they are invalid, keep the previous ones."""
        try:
            self._plan = self._load()
        except Exception as error:  # whatever is in the settings, the service keeps running
            words = str(error) if isinstance(error, EcsauthError) else type(error).__name__
            self._ports.say("error", f"the settings were not reloaded: {words}")
        else:
            self._loop.pace = self._plan.pace
            self._ports.note("the settings were reloaded")


class Loop:
    """Runs a job at once and then at its pace, until it is stopped.

    `stop` and `wake` may be called from a signal handler.

    Args:
        job: returns whether it succeeded.
        pace: how often.
        on_tick: called at least every `tick` seconds while waiting.
        tick: seconds.
        say: takes one line for the log.

    """

    def __init__(
        self,
        job: Callable[[], bool],
        pace: Pace,
        *,
        say: Callable[[str], None],
        on_tick: Callable[[], None] = lambda: None,
        tick: float = 30.0,
    ) -> None:
        import schedule

        self.pace = pace
        self.failures = 0
        self._job = job
        self._on_tick = on_tick
        self._tick = tick
        self._say = say
        self._event = threading.Event()
        self._is_stopped = False
        self._is_woken = False
        self._scheduler: Any = schedule.Scheduler()

    def stop(self) -> None:
        """End `run` before the next wait."""
        self._is_stopped = True
        self._event.set()

    def wake(self) -> None:
        """Run the job now, whatever its time."""
        self._is_woken = True
        self._event.set()

    def run(self) -> None:
        """Run the job until `stop` is called."""
        self._run_job()
        difference = _clock_difference()
        while not self._is_stopped:
            self._event.wait(self._seconds_to_wait())
            self._event.clear()
            self._on_tick()
            if abs(_clock_difference() - difference) > _STEP_SECONDS:
                difference = _clock_difference()
                self._say("the clock was set: refreshing now")
                self.wake()
            if self._is_stopped:
                return
            if self._is_woken:
                self._is_woken = False
                self._run_job()
            else:
                self._scheduler.run_pending()

    def _seconds_to_wait(self) -> float:
        idle = self._scheduler.idle_seconds
        return 0.0 if self._is_woken else min(self._tick, max(0.0, idle or 0.0))

    def _run_job(self) -> None:
        went_well = self._job()
        self.failures = 0 if went_well else self.failures + 1
        pause = self.pace.pause(self.failures, random.random())  # noqa: S311 - jitter, no secret
        if not went_well and not self._is_stopped:
            self._say(f"the refresh failed; retrying in {pause:,.0f} s")
        self._scheduler.clear()
        self._scheduler.every(pause).seconds.do(self._run_job)


@dataclass
class Child:
    """A command of ours in a process that ends, so that its memory is freed.

    Attributes:
        command: program and arguments.
        environment: its variables.
        limit: seconds after which it is terminated.
        grace: seconds that it has to finish its write once `is_stopping` is true.
        on_tick: called about once a second.

    """

    command: Sequence[str]
    environment: Mapping[str, str]
    limit: float
    grace: float
    is_stopping: Callable[[], bool]
    on_tick: Callable[[], None]

    def run(self) -> int:
        """Run it to its end; return its exit code, negative for a signal."""
        import subprocess

        begun = time.monotonic()
        stopping_at = None
        is_terminated = False
        # In a session of its own: Ctrl-C in the terminal does not interrupt its write.
        with subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            self.command, env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True
        ) as process:
            while True:
                try:
                    return process.wait(0.2 if stopping_at else 1.0)
                except subprocess.TimeoutExpired:
                    self.on_tick()
                now = time.monotonic()
                if stopping_at is None and self.is_stopping():
                    stopping_at = now
                late = now - begun > self.limit
                late = late or (stopping_at is not None and now - stopping_at > self.grace)
                if late and not is_terminated:  # once: a second signal would interrupt its cleanup
                    is_terminated = True
                    process.terminate()
                if now - begun > self.limit + self.grace:
                    process.kill()


def _clock_difference() -> float:
    return time.time() - time.monotonic()
