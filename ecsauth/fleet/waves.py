"""Drives a rollout: sends, polls and waits until it is over."""

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
    """Sends commands to instances. Every method may raise SourceError."""

    def send(self, order: Order) -> Sent:
        """Send a command."""

    def observe(self, command: str, *, details: bool) -> Sequence[Invocation]:
        """Return the status of each instance; with `details` its output too."""

    def cancel(self, command: str, instances: Sequence[str]) -> None:
        """Cancel a command on some instances; on all if none is named."""


@dataclass(frozen=True)
class RolloutPorts:
    """The clock, outputs and signal handling of a rollout.

    Attributes:
        monotonic: seconds.
        sleep: waits that many seconds.
        on_change: called with the rows whose status has changed.
        warn: called with each warning.
        whole: delays signals until its end, so that every command that was sent is recorded.

    """

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    on_change: Callable[[Sequence[Row]], None] = lambda _: None
    warn: Callable[[str], None] = lambda _: None
    whole: Callable[[], AbstractContextManager[None]] = nullcontext


def run_rollout(rollout: Rollout, runner: Runner, timeout: float, around: RolloutPorts) -> None:
    """Send, poll and wait until the rollout is over; on any error, cancel its commands.

    Args:
        rollout: the rollout; updated in place.
        runner: sends the commands.
        timeout: seconds for the whole rollout.
        around: the clock, outputs and signal handling.

    Raises:
        SourceError: a call to AWS failed; the commands that had been sent are cancelled.

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
        """Continue until the rollout is over or the time is up."""
        end = self._around.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            pause = _FIRST_PAUSE if self._send() else min(_LAST_PAUSE, pause * _GROWTH)
            self._show()
            left = end - self._around.monotonic()
            if self._rollout.is_over or left <= 0:
                break
            self._around.sleep(min(pause, left))
            self._poll()
            self._stop_after_errors()
        self._end()

    def _end(self) -> None:
        """Fetch the missing output, and cancel commands that still run."""
        try:
            self._fetch_details(self._rollout.commands)
        except SourceError as error:
            self._around.warn(f"{error}; the output of the instances is not shown")
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
                self._around.warn(f"{error}; retrying")
                return is_any
            self._refused = 0
            is_any = True

    def _poll(self) -> None:
        """Poll the open commands, and fetch the output of those that have ended."""
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
            self._around.warn(f"{error}; retrying")
        else:
            self._missed = 0

    def _fetch_details(self, commands: Sequence[str]) -> None:
        for command in commands:
            if command not in self._fetched:
                self._rollout.note_seen(command, self._runner.observe(command, details=True))
                self._fetched.add(command)

    def _stop_after_errors(self) -> None:
        """After too many errors, cancel instances that have not begun; the others may finish."""
        if not self._rollout.is_stopped or self._is_stopping:
            return
        self._is_stopping = True
        self._rollout.drop_queue()
        self._around.warn("more errors than --max-errors: not sending to more instances")
        for command in self._rollout.open_commands():
            for names in batches(self._rollout.members(command, SENT)):
                if _cancel(self._runner, command, names, self._around):
                    # SSM may never list instances that had not begun; if it does, the next poll
                    # corrects the status.
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
        around.warn(f"cancelled: {', '.join(done)}; instances that had begun may still finish")


def _cancel(runner: Runner, command: str, instances: Sequence[str], around: RolloutPorts) -> bool:
    try:
        runner.cancel(command, instances)
    except SourceError as error:
        around.warn(
            f"command {command} was not cancelled ({error.message}); cancel it:"
            f" aws ssm cancel-command --command-id {command}"
        )
        return False
    return True
