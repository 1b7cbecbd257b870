"""Output of fleet refresh: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Callable

from ecsauth.cli.console import printable, say
from ecsauth.cli.render.words import columns, count
from ecsauth.fleet.rollout import Rollout
from ecsauth.fleet.values import DONE, OPEN, RUNNING, SENT, WAITING, Row

if TYPE_CHECKING:
    from rich.console import RenderableType

_SAID_CELLS = 120
_ROWS = 15


def row_said(row: Row) -> str:
    """Return the last line that an instance printed, made printable and cut to length."""
    return printable(row.said)[:_SAID_CELLS]


def table(rows: Sequence[Row]) -> list[str]:
    """Return one line per instance, in columns."""
    return columns([(row.instance, row.status, row_said(row)) for row in rows])


def summary(rollout: Rollout) -> str:
    """Return the number of instances per status, on one line."""
    parts = [f"{number} {status}" for status, number in rollout.counts().items()]
    total = count(len(rollout.rows), "instance")
    return f"{total}: {', '.join(parts) or 'nothing to do'}"


@contextlib.contextmanager
def followed(
    rollout: Rollout, *, quiet: bool
) -> Iterator[tuple[Callable[[Sequence[Row]], None], Callable[[str], None]]]:
    """Show the progress; yield a callback for changed rows and one for warnings."""
    if quiet or sys.stderr is None:
        yield (lambda _: None), _warn
    elif not sys.stderr.isatty():
        yield _say_ends, _warn
    else:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with Live(
            screen(rollout),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:

            def warn(text: str) -> None:
                live.stop()  # otherwise the table would overwrite it
                _warn(text)
                live.start()

            yield (lambda _: live.update(screen(rollout))), warn


def screen(rollout: Rollout) -> RenderableType:
    """Return the live view: instances at work, then those that failed."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for row in _shown(rollout.rows):
        grid.add_row(printable(row.instance), Text(row.status, style=_style(row)))
    grid.add_row(Text(summary(rollout), style="bold"), "")
    return grid


def _shown(rows: Sequence[Row]) -> list[Row]:
    if len(rows) <= _ROWS:
        return list(rows)
    at_work = [row for status in (RUNNING, SENT) for row in rows if row.status == status]
    failed = [row for row in rows if row.status not in OPEN and row.status != DONE]
    return [*at_work, *reversed(failed)][:_ROWS]


def _warn(text: str) -> None:
    say("warning", text)


def _say_ends(rows: Sequence[Row]) -> None:
    for row in rows:
        if row.status not in OPEN:
            say("note", f"{row.instance}: {row.status}")


def _style(row: Row) -> str:
    colours = {DONE: "green", RUNNING: "cyan", SENT: "cyan", WAITING: "dim"}
    return colours.get(row.status, "red")
