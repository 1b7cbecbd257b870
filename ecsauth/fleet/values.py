"""Values of a rollout: instances, commands, limits and statuses.

SSM's statuses of an invocation: AWS Systems Manager User Guide, "Understanding command statuses".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ecsauth.errors import UsageError

BATCH = 50
"""The most instances that SendCommand takes at once."""

WAITING, SENT, RUNNING, DONE = "waiting", "sent", "running", "done"
FAILED, TIMED_OUT, UNREACHABLE = "failed", "timed out", "unreachable"
NOT_MANAGED, GONE, CANCELLED, NOT_SENT = "not managed", "gone", "cancelled", "not sent"
NOT_LINUX = "not Linux"

OPEN = frozenset({WAITING, SENT, RUNNING})
ERRORS = frozenset({FAILED, TIMED_OUT})
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


@dataclass(frozen=True)
class Limit:
    """A number of instances, or a percentage of them."""

    number: int
    is_percent: bool = False

    def of(self, total: int) -> int:
        """Return the number for `total` instances; a fraction is rounded down."""
        return total * self.number // 100 if self.is_percent else self.number


@dataclass(frozen=True)
class Limits:
    """How many instances at the same time, and how many errors are tolerated."""

    concurrency: Limit
    errors: Limit


@dataclass(frozen=True)
class Instance:
    """An instance.

    Attributes:
        name: its id.
        problem: why the command cannot run on it: `NOT_MANAGED`, `NOT_LINUX` or `UNREACHABLE`;
            empty if it can.

    """

    name: str
    problem: str = ""


@dataclass(frozen=True)
class Order:
    """One command to send.

    Attributes:
        instances: the instances; none if they are selected by tag.
        concurrency: how many instances at the same time.
        errors: how many errors are tolerated.

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
    """What SSM reports about a command on one instance.

    Attributes:
        instance: its id.
        status: one of the constants above.
        output: the instance's output, which may contain anything.

    """

    instance: str
    status: str
    output: str = ""


@dataclass(frozen=True)
class Row:
    """The status of one instance; `said` is its last line of output, not yet made printable."""

    instance: str
    status: str
    said: str = ""
    command: str = ""


def parse_limit(text: str, *, least: int) -> Limit:
    """Parse a limit such as ``10%`` or ``5``.

    Raises:
        UsageError: it is not a limit, or less than `least`.

    """
    found = _LIMIT.fullmatch(text)
    if not found or int(found["number"]) < least or (found["percent"] and int(found[1]) > 100):
        raise UsageError(
            f"not a number of instances (at least {least}) or a percentage",
            "write one such as 5 or 10%",
            reference="usage-limit",
        )
    return Limit(int(found["number"]), bool(found["percent"]))


def batches(names: Sequence[str], size: int = BATCH) -> list[tuple[str, ...]]:
    """Split names into batches."""
    return [tuple(names[start : start + size]) for start in range(0, len(names), size)]


def status_of(status: str, details: str) -> str:
    """Map SSM's Status and StatusDetails to ours; an unknown status counts as `SENT`."""
    for text in (details, status):
        meaning = _MEANING.get(text.replace(" ", "").lower())
        if meaning:
            return meaning
    return SENT


def last_line(output: str) -> str:
    """Return the last line of the instance's output, without the lines that SSM adds."""
    for line in reversed(output.splitlines()):
        text = line.strip()
        if text and not _BY_SSM.fullmatch(text):
            return text
    return ""
