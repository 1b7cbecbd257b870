"""A command for many instances: who gets it, in which portions, when to stop. Pure: no I/O.

What SSM says of an invocation, and which of it counts as an error: AWS Systems Manager User
Guide, "Understanding command statuses".
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Callable, Protocol

from ecsauth.errors import SourceError, UsageError

BATCH = 50
"""SendCommand takes no more instances at once."""

WAITING, SENT, RUNNING, DONE = "waiting", "sent", "running", "done"
FAILED, TIMED_OUT, UNREACHABLE = "failed", "timed out", "unreachable"
NOT_MANAGED, GONE, CANCELLED, NOT_SENT = "not managed", "gone", "cancelled", "not sent"

OPEN = frozenset({WAITING, SENT, RUNNING})
_ERRORS = frozenset({FAILED, TIMED_OUT})
_MEANING = {
    "pending": SENT,
    "delayed": SENT,
    "inprogress": RUNNING,
    "cancelling": RUNNING,
    "success": DONE,
    "executiontimedout": TIMED_OUT,
    "timedout": TIMED_OUT,
    "deliverytimedout": UNREACHABLE,
    "undeliverable": UNREACHABLE,
    "terminated": NOT_SENT,
    "canceled": CANCELLED,
    "cancelled": CANCELLED,
    "failed": FAILED,
    "accessdenied": FAILED,
    "invalidplatform": FAILED,
}
_LIMIT = re.compile(r"(?P<number>0|[1-9][0-9]{0,5})(?P<percent>%?)")
_BY_SSM = re.compile(r"-+ERROR-+|-+Output truncated-+|failed to run commands: exit status [0-9]+")
_FIRST_PAUSE, _LAST_PAUSE, _GROWTH = 2.0, 10.0, 1.25
_PATIENCE = 3


@dataclass(frozen=True)
class Limit:
    """A number of instances, or a percentage of them."""

    number: int
    is_percent: bool = False

    def of(self, total: int) -> int:
        """Return the number for so many instances; a fraction is rounded down."""
        return total * self.number // 100 if self.is_percent else self.number


@dataclass(frozen=True)
class Limits:
    """How many at the same time, and how many errors are still no reason to stop."""

    concurrency: Limit
    errors: Limit


@dataclass(frozen=True)
class Instance:
    """An instance.

    Attributes:
        name: its id.
        problem: why the command cannot reach it: `NOT_MANAGED`, `UNREACHABLE`; empty if it can.

    """

    name: str
    problem: str = ""


@dataclass(frozen=True)
class Order:
    """One command to send.

    Attributes:
        instances: to whom; none if it goes by tag.
        concurrency: to how many at the same time.
        errors: how many errors are still no reason to stop.

    """

    instances: tuple[str, ...]
    concurrency: int
    errors: int


@dataclass(frozen=True)
class Sent:
    """A command that was sent; its id is empty if all its instances are gone."""

    command: str
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Invocation:
    """What SSM says of a command on one instance.

    Attributes:
        instance: its id.
        status: one of the constants above.
        output: what the instance printed, which may be anything.

    """

    instance: str
    status: str
    output: str = ""


@dataclass(frozen=True)
class Row:
    """How it stands with one instance; `said` is its last line, not yet printable."""

    instance: str
    status: str
    said: str = ""
    command: str = ""


class Runner(Protocol):
    """What sends commands to instances. Every method raises SourceError."""

    def send(self, order: Order) -> Sent:
        """Send a command."""

    def look(self, command: str, *, details: bool) -> Sequence[Invocation]:
        """Return how it stands with each instance; with `details` what each printed."""

    def cancel(self, command: str, instances: Sequence[str]) -> None:
        """Cancel a command on some instances; on all if none is named."""


def parse_limit(text: str, *, least: int) -> Limit:
    """Return the limit that a text says, such as ``10%`` or ``5``.

    Raises:
        UsageError: it is none, or less than `least`.

    """
    found = _LIMIT.fullmatch(text)
    if not found or int(found["number"]) < least or (found["percent"] and int(found[1]) > 100):
        raise UsageError("a limit is a number of instances or a percentage", "such as 5 or 10%")
    return Limit(int(found["number"]), bool(found["percent"]))


def batches(names: Sequence[str], size: int = BATCH) -> list[tuple[str, ...]]:
    """Split names into portions."""
    return [tuple(names[start : start + size]) for start in range(0, len(names), size)]


def status_of(status: str, details: str) -> str:
    """Return ours for SSM's Status and StatusDetails; what is unknown is still to be waited for."""
    for text in (details, status):
        meaning = _MEANING.get(text.replace(" ", "").lower())
        if meaning:
            return meaning
    return SENT


def last_line(output: str) -> str:
    """Return the last line that the instance said, without what SSM adds."""
    for line in reversed(output.splitlines()):
        text = line.strip()
        if text and not _BY_SSM.fullmatch(text):
            return text
    return ""


class Rollout:
    """Where each instance stands, and what is to be sent next.

    A command for named instances takes at most `BATCH` of them, and its limits are its own. So the
    limits for all are kept here: as many commands run at the same time as fit into the
    concurrency; each is told how many errors are left; the next one is sent only while the errors
    of all so far are within the limit. An instance that failed, or took too long, is an error;
    as in SSM, one that could not be reached is none.

    Args:
        instances: those that were found.
        limits: for all that can be reached; at least one at a time.
        is_by_tag: one command for all, which finds them itself.

    """

    def __init__(
        self, instances: Iterable[Instance], limits: Limits, *, is_by_tag: bool = False
    ) -> None:
        found = {item.name: item for item in instances}
        self._rows = {name: Row(name, item.problem or WAITING) for name, item in found.items()}
        ready = [name for name, item in found.items() if not item.problem]
        self._concurrency = max(1, limits.concurrency.of(len(ready)))
        self._errors = limits.errors.of(len(ready))
        self._is_by_tag = is_by_tag
        whole = [tuple(ready)] if ready else []
        self._queue = deque(whole if is_by_tag else batches(ready))
        self._commands: dict[str, dict[str, None]] = {}
        self._late: set[str] = set()
        self._counted: set[str] = set()

    @property
    def rows(self) -> tuple[Row, ...]:
        """How it stands with each instance, in the order in which they were found."""
        return tuple(self._rows.values())

    @property
    def is_stopped(self) -> bool:
        """Whether there are more errors than may be."""
        return len(self._counted) > self._errors

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to send or to wait for."""
        return not any(row.status in OPEN for row in self.rows)

    @property
    def commands(self) -> list[str]:
        """The commands that were sent."""
        return list(self._commands)

    def open_commands(self) -> list[str]:
        """Return the commands that have not ended on every instance."""
        return [command for command in self._commands if self.members(command, *OPEN)]

    def unfinished_commands(self) -> list[str]:
        """Return the open commands, and those that may still reach an instance given up."""
        late = [command for command, names in self._commands.items() if self._late & names.keys()]
        return list(dict.fromkeys([*self.open_commands(), *late]))

    def members(self, command: str, *statuses: str) -> tuple[str, ...]:
        """Return the instances of a command that have one of these statuses."""
        names = self._commands.get(command, {})
        return tuple(name for name in names if self._rows[name].status in statuses)

    def next_order(self) -> Order | None:
        """Return what may be sent now; None if nothing."""
        if not self._queue or self.is_stopped:
            return None
        lanes = 1 if self._is_by_tag else max(1, self._concurrency // BATCH)
        if len(self.open_commands()) >= lanes:
            return None
        names = () if self._is_by_tag else self._queue[0]
        most = self._concurrency if self._is_by_tag else min(self._concurrency, BATCH)
        return Order(names, most, self._errors - len(self._counted))

    def note_sent(self, sent: Sent) -> None:
        """Note that the order was sent."""
        names = self._queue.popleft()
        for name in names:
            status = GONE if name in sent.gone else SENT
            self._set(name, status=status, command=sent.command)
        if sent.command:
            self._commands[sent.command] = dict.fromkeys(names)

    def note_seen(self, command: str, seen: Iterable[Invocation]) -> None:
        """Note what SSM says of a command."""
        for item in seen:
            row = self._rows.get(item.instance)
            if row is None:  # it has got the tag since
                row = self._rows[item.instance] = Row(item.instance, SENT, command=command)
            self._commands.setdefault(command, {})[item.instance] = None
            if row.status == UNREACHABLE and item.status == SENT:
                self._late.add(item.instance)  # SSM waits for it, and we do not
                continue
            self._late.discard(item.instance)
            said = last_line(item.output) or row.said
            self._set(item.instance, status=item.status, said=said, command=command)
            if item.status in _ERRORS:
                self._counted.add(item.instance)

    def give_up(self, status: str) -> None:
        """Let nothing more be sent; `status` is that of all that were, and have not ended."""
        self.drop_queue()
        for row in self.rows:
            if row.status in OPEN:
                self._set(row.instance, status=status)

    def drop_queue(self) -> None:
        """Let nothing more be sent."""
        for name in (name for names in self._queue for name in names):
            self._set(name, status=NOT_SENT)
        self._queue.clear()

    def counts(self) -> dict[str, int]:
        """Return how many instances have each status, the most frequent first."""
        return dict(Counter(row.status for row in self.rows).most_common())

    def all_done(self) -> bool:
        """Return whether the command was done on every instance."""
        return all(row.status == DONE for row in self.rows)

    def _set(self, name: str, **values: str) -> None:
        self._rows[name] = replace(self._rows[name], **values)


@dataclass(frozen=True)
class Surroundings:
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


def run_rollout(rollout: Rollout, runner: Runner, timeout: float, around: Surroundings) -> None:
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

    def __init__(self, rollout: Rollout, runner: Runner, around: Surroundings) -> None:
        self._rollout = rollout
        self._runner = runner
        self._around = around
        self._shown = {row.instance: row.status for row in rollout.rows}
        self._is_stopping = False
        self._missed = 0
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
            with self._around.whole():
                self._rollout.note_sent(self._runner.send(order))
            is_any = True

    def _look(self) -> None:
        """Look at each open command, and at what was printed by those that have ended."""
        try:
            before = self._rollout.open_commands()
            for command in before:
                self._rollout.note_seen(command, self._runner.look(command, details=False))
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
                self._rollout.note_seen(command, self._runner.look(command, details=True))
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
                _cancel(self._runner, command, names, self._around)

    def _show(self) -> None:
        rows = self._rollout.rows
        changed = [row for row in rows if self._shown.get(row.instance) != row.status]
        if changed:
            self._shown.update((row.instance, row.status) for row in changed)
            self._around.on_change(changed)


def _cancel_all(rollout: Rollout, runner: Runner, around: Surroundings) -> None:
    commands = rollout.unfinished_commands()
    done = [command for command in commands if _cancel(runner, command, (), around)]
    if done:
        around.warn(
            f"cancelled: {', '.join(done)}; an instance that had begun may finish all the same"
        )


def _cancel(runner: Runner, command: str, instances: Sequence[str], around: Surroundings) -> bool:
    try:
        runner.cancel(command, instances)
    except SourceError as error:
        around.warn(
            f"command {command} was not cancelled ({error.message}); to do it:"
            f" aws ssm cancel-command --command-id {command}"
        )
        return False
    return True
