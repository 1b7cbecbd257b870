"""Send, look and wait until a rollout is over."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Callable, Protocol

from ecsauth.errors import SourceError
from ecsauth.fleet.rollout import Rollout
from ecsauth.fleet.values import CANCELLED, SENT, TIMED_OUT, Invocation, Order, Row, Sent, batches

_FIRST_PAUSE, _LAST_PAUSE, _GROWTH = 2.0, 10.0, 1.25
_PATIENCE = 3


class Runner(Protocol):
    """What sends commands to instances. Every method raises SourceError."""

    def send(self, order: Order) -> Sent:
        """Send a command."""

    def observe(self, command: str, *, details: bool) -> Sequence[Invocation]:
        """Return how it stands with each instance; with `details` what each printed."""

    def cancel(self, command: str, instances: Sequence[str]) -> None:
        """Cancel a command on some instances; on all if none is named."""


@dataclass(frozen=True)
class RolloutPorts:
    """What a rollout needs of the world.

    Attributes:
        monotonic: seconds.
        sleep: waits that many seconds.
        on_change: takes the rows whose status is another.
        warn: takes what must not be missed.
        whole: signals wait until its end, so that no command is sent and not known.

    """

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    on_change: Callable[[Sequence[Row]], None] = lambda _: None
    warn: Callable[[str], None] = lambda _: None
    whole: Callable[[], AbstractContextManager[None]] = nullcontext


def run_rollout(rollout: Rollout, runner: Runner, timeout: float, around: RolloutPorts) -> None:
    """Send, look and wait until it is over; whatever ends it, no command is left behind.

    Args:
        rollout: changed by this.
        runner: sends.
        timeout: seconds for all.
        around: the world.

    Raises:
        SourceError: AWS refused; what had been sent is cancelled.

    """
    try:
        _Drive(rollout, runner, around).run(timeout)
    except BaseException:
        _cancel_all(rollout, runner, around)
        rollout.give_up(CANCELLED)
        raise


class _Drive:
    """The loop of `run_rollout`."""

    def __init__(self, rollout: Rollout, runner: Runner, around: RolloutPorts) -> None:
        self._rollout = rollout
        self._runner = runner
        self._around = around
        self._shown = {row.instance: row.status for row in rollout.rows}
        self._is_stopping = False
        self._missed = self._refused = 0
        self._fetched: set[str] = set()

    def run(self, timeout: float) -> None:
        """Go on until it is over or the time is."""
        end = self._around.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            pause = _FIRST_PAUSE if self._send() else min(_LAST_PAUSE, pause * _GROWTH)
            self._show()
            left = end - self._around.monotonic()
            if self._rollout.is_over or left <= 0:
                break
            self._around.sleep(min(pause, left))
            self._look()
            self._stop_if_need_be()
        self._end()

    def _end(self) -> None:
        """Fetch what is missing, and let nothing run on that nobody waits for."""
        try:
            self._fetch_details(self._rollout.commands)
        except SourceError as error:
            self._around.warn(f"{error}; what the instances said is not shown")
        _cancel_all(self._rollout, self._runner, self._around)
        self._rollout.give_up(TIMED_OUT)
        self._show()

    def _send(self) -> bool:
        is_any = False
        while True:
            order = self._rollout.next_order()
            if order is None:
                return is_any
            try:
                with self._around.whole():
                    self._rollout.note_sent(self._runner.send(order))
            except SourceError as error:
                self._refused += 1
                if not self._rollout.commands or self._refused > _PATIENCE:
                    raise
                self._around.warn(f"{error}; trying again")
                return is_any
            self._refused = 0
            is_any = True

    def _look(self) -> None:
        """Look at each open command, and at what was printed by those that have ended."""
        try:
            before = self._rollout.open_commands()
            for command in before:
                self._rollout.note_seen(command, self._runner.observe(command, details=False))
            now = self._rollout.open_commands()
            self._fetch_details([command for command in before if command not in now])
        except SourceError as error:
            self._missed += 1
            if self._missed > _PATIENCE:
                raise
            self._around.warn(f"{error}; looking again")
        else:
            self._missed = 0

    def _fetch_details(self, commands: Sequence[str]) -> None:
        for command in commands:
            if command not in self._fetched:
                self._rollout.note_seen(command, self._runner.observe(command, details=True))
                self._fetched.add(command)

    def _stop_if_need_be(self) -> None:
        """At too many errors: keep back what has not begun, let finish what has."""
        if not self._rollout.is_stopped or self._is_stopping:
            return
        self._is_stopping = True
        self._rollout.drop_queue()
        self._around.warn("more errors than --max-errors: nothing more is started")
        for command in self._rollout.open_commands():
            for names in batches(self._rollout.members(command, SENT)):
                if _cancel(self._runner, command, names, self._around):
                    # SSM may never list those that it had not begun with; else the next look tells.
                    kept_back = [Invocation(name, CANCELLED) for name in names]
                    self._rollout.note_seen(command, kept_back)

    def _show(self) -> None:
        rows = self._rollout.rows
        changed = [row for row in rows if self._shown.get(row.instance) != row.status]
        if changed:
            self._shown.update((row.instance, row.status) for row in changed)
            self._around.on_change(changed)


def _cancel_all(rollout: Rollout, runner: Runner, around: RolloutPorts) -> None:
    commands = rollout.unfinished_commands()
    done = [command for command in commands if _cancel(runner, command, (), around)]
    if done:
        around.warn(
            f"cancelled: {', '.join(done)}; an instance that had begun may finish all the same"
        )


def _cancel(runner: Runner, command: str, instances: Sequence[str], around: RolloutPorts) -> bool:
    try:
        runner.cancel(command, instances)
    except SourceError as error:
        around.warn(
            f"command {command} was not cancelled ({error.message}); to do it:"
            f" aws ssm cancel-command --command-id {command}"
        )
        return False
    return True
