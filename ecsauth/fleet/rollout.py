"""The state of a rollout: the status of each instance, and the next command to send.

Which statuses count as errors: AWS Systems Manager User Guide, "Understanding command statuses".
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace

from ecsauth.fleet.values import (
    BATCH,
    DONE,
    ERRORS,
    GONE,
    NOT_SENT,
    OPEN,
    SENT,
    UNREACHABLE,
    WAITING,
    Instance,
    Invocation,
    Limits,
    Order,
    Row,
    Sent,
    batches,
    last_line,
)


class Rollout:
    """The status of each instance, and the next command to send.

    A command for named instances takes at most `BATCH` of them, and its limits apply to itself
    alone. So the limits for the whole rollout are enforced here: as many commands run at the same
    time as the concurrency allows; each gets the number of errors that are left; the next one is
    sent only while all errors so far are within the limit. An instance that failed or timed out
    counts as an error; as in SSM, one that could not be reached does not.

    Args:
        instances: the instances that were found.
        limits: limits for all reachable instances; at least one runs at a time.
        is_by_tag: send one command for all, for which SSM finds the instances by tag.

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
        """The status of each instance, in the order in which they were found."""
        return tuple(self._rows.values())

    @property
    def is_stopped(self) -> bool:
        """Whether there are more errors than allowed."""
        return len(self._counted) > self._errors

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to send or to wait for."""
        return not any(row.status in OPEN for row in self.rows)

    @property
    def commands(self) -> list[str]:
        """The commands that were sent."""
        return list(self._commands)

    def open_commands(self) -> list[str]:
        """Return the commands that have not ended on every instance."""
        return [command for command in self._commands if self.members(command, *OPEN)]

    def unfinished_commands(self) -> list[str]:
        """Return the open commands, and those that may still reach an instance we gave up on."""
        late = [command for command, names in self._commands.items() if self._late & names.keys()]
        return list(dict.fromkeys([*self.open_commands(), *late]))

    def members(self, command: str, *statuses: str) -> tuple[str, ...]:
        """Return the instances of a command that have one of these statuses."""
        names = self._commands.get(command, {})
        return tuple(name for name in names if self._rows[name].status in statuses)

    def next_order(self) -> Order | None:
        """Return the next command that may be sent now; None if there is none."""
        if not self._queue or self.is_stopped:
            return None
        lanes = 1 if self._is_by_tag else max(1, self._concurrency // BATCH)
        if len(self.open_commands()) >= lanes:
            return None
        names = () if self._is_by_tag else self._queue[0]
        most = self._concurrency if self._is_by_tag else min(self._concurrency, BATCH)
        return Order(names, most, self._errors - len(self._counted))

    def note_sent(self, sent: Sent) -> None:
        """Record that the order was sent."""
        names = self._queue.popleft()
        for name in names:
            status = GONE if name in sent.gone else SENT
            self._set(name, status=status, command=sent.command)
        if sent.command:
            self._commands[sent.command] = dict.fromkeys(names)

    def note_seen(self, command: str, seen: Iterable[Invocation]) -> None:
        """Record what SSM reports about a command."""
        for item in seen:
            row = self._rows.get(item.instance)
            if row is None:  # it was tagged after the search
                row = self._rows[item.instance] = Row(item.instance, SENT, command=command)
            self._commands.setdefault(command, {})[item.instance] = None
            if row.status == UNREACHABLE and item.status == SENT:
                self._late.add(item.instance)  # SSM still waits for it; the rollout does not
                continue
            self._late.discard(item.instance)
            said = last_line(item.output) or row.said
            self._set(item.instance, status=item.status, said=said, command=command)
            if item.status in ERRORS:
                self._counted.add(item.instance)

    def give_up(self, status: str) -> None:
        """Send nothing more; set `status` for every instance that has not finished."""
        self.drop_queue()
        for row in self.rows:
            if row.status in OPEN:
                self._set(row.instance, status=status)

    def drop_queue(self) -> None:
        """Send nothing more."""
        for name in (name for names in self._queue for name in names):
            self._set(name, status=NOT_SENT)
        self._queue.clear()

    def counts(self) -> dict[str, int]:
        """Return status → number of instances, the most frequent first."""
        return dict(Counter(row.status for row in self.rows).most_common())

    def all_done(self) -> bool:
        """Return whether the command succeeded on every instance."""
        return all(row.status == DONE for row in self.rows)

    def _set(self, name: str, **values: str) -> None:
        self._rows[name] = replace(self._rows[name], **values)
