"""SSM as far as a rollout uses it, with a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ecsauth.errors import SourceError
from ecsauth.fleet.values import (
    Instance,
    Invocation,
    Order,
    Sent,
    status_of,
)


def fleet(count: int) -> list[Instance]:
    return [Instance(f"i-{number:04}") for number in range(count)]


@dataclass
class FakeSsm:
    """SSM with a clock: an instance begins 2 s after it was sent, and ends after 3 more.

    Its MaxConcurrency and MaxErrors are kept as SSM keeps them.
    """

    ends: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    lists_begun_only: bool = False
    now: float = 0.0
    orders: list[Order] = field(default_factory=list)
    cancelled: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    looks: list[tuple[str, bool]] = field(default_factory=list)
    most: int = 0
    rows: dict[str, dict[str, tuple[str, float]]] = field(default_factory=dict)
    faults: list[SourceError] = field(default_factory=list)
    refuses_to_cancel: bool = False
    by_tag: tuple[str, ...] = ()
    pauses: list[float] = field(default_factory=list)
    interrupt_at: float = float("inf")

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        if self.now >= self.interrupt_at:
            raise KeyboardInterrupt
        for command in self.rows:
            self._move(command)

    def send(self, order: Order) -> Sent:
        if self.faults and self.faults[0].message == "send":
            raise self.faults.pop(0)
        assert len(order.instances) <= 50
        assert order.concurrency >= 1
        self.orders.append(order)
        gone = tuple(name for name in order.instances if name in self.gone)
        left = [name for name in order.instances or self.by_tag if name not in self.gone]
        command = f"c-{len(self.orders)}" if left else ""
        if command:
            self.rows[command] = dict.fromkeys(left, ("Pending", self.now))
        return Sent(command, gone)

    def observe(self, command: str, *, details: bool) -> Sequence[Invocation]:
        if self.faults:
            raise self.faults.pop(0)
        self.looks.append((command, details))
        return [
            Invocation(name, status_of("", status), f"said\n{name}\n" if details else "")
            for name, (status, _) in self.rows[command].items()
            if not self.lists_begun_only or status not in ("Pending", "Cancelled", "Terminated")
        ]

    def cancel(self, command: str, instances: Sequence[str]) -> None:
        if self.refuses_to_cancel:
            raise SourceError("denied")
        self.cancelled.append((command, tuple(instances)))
        for name, (status, since) in self.rows[command].items():
            if status in ("Pending", "InProgress") and name in (instances or self.rows[command]):
                self.rows[command][name] = ("Cancelled", since)

    def _move(self, command: str) -> None:
        order = self.orders[int(command[2:]) - 1]
        rows = self.rows[command]
        for name, (status, since) in rows.items():
            if status == "InProgress" and self.now - since >= 3:
                rows[name] = (self.ends.get(name, "Success"), self.now)
        errors = sum(status in ("Failed", "ExecutionTimedOut") for status, _ in rows.values())
        for name, (status, since) in rows.items():
            if name in self.stuck:
                continue
            at_work = sum(status == "InProgress" for status, _ in rows.values())
            if status == "Pending" and errors > order.errors:
                rows[name] = ("Terminated", self.now)
            elif status == "Pending" and self.now - since >= 2 and at_work < order.concurrency:
                rows[name] = ("InProgress", self.now)
        running = [status for rows in self.rows.values() for status, _ in rows.values()]
        self.most = max(self.most, running.count("InProgress"))
