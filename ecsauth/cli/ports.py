"""The ports of a command: messages go to the console."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable

from ecsauth.app.wiring import system_ports
from ecsauth.cli.console import result_stream, say, stdin_stream

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports
    from ecsauth.credentials.verdict import Verdict


def console_ports(*, quiet: bool = False, **more: Any) -> Ports:
    """Return the ports of this process; `quiet` drops the notes."""

    def say_unless_quiet(kind: str, text: str, hint: str = "") -> None:
        if text and not (quiet and kind == "note"):
            say(kind, text, hint)

    more = {"progress": _progress, **more}
    return system_ports(say_unless_quiet, stdin_stream(), result_stream, **more)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[Verdict], None]]:
    """Show the progress of verification on a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # only on a terminal
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("logging in", total=total)
        yield lambda _: progress.advance(task)
