"""Remember a run on a target, for status and for the next run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ecsauth.errors import EcsauthError
from ecsauth.state import TargetState, read_state, write_state
from ecsauth.targets.local_file import LocalFile
from ecsauth.targets.stdout import Stdout
from ecsauth.update import Outcome

_FROM_THIS_RUN = frozenset({"added", "updated", "unchanged"})


@dataclass
class Run:
    """What a run came to: filled in by the command."""

    outcome: Outcome | None = None
    code: int = 0


@contextlib.contextmanager
def remembered(
    directory: Path, target: LocalFile | Stdout, source: str, *, dry_run: bool
) -> Iterator[Run]:
    """Note in the state directory how the ``with`` block ends, an error too.

    Where there is no permission to, nothing is noted and nothing fails.
    """
    run = Run()
    try:
        yield run
    except EcsauthError as error:
        run.code = error.exit_code
        raise
    finally:
        if isinstance(target, LocalFile) and not dry_run:
            _remember(directory, str(target.path.absolute()), source, run, int(time.time()))


def _remember(directory: Path, name: str, source: str, run: Run, now: int) -> None:
    before = read_state(directory, name)
    written = run.outcome is not None and run.outcome.written
    state = TargetState(
        last_run=now,
        last_code=run.code,
        last_success=now if run.code == 0 else before.last_success,
        last_write=now if written else before.last_write,
        sources=_sources(before.sources, source, run.outcome),
    )
    write_state(directory, name, state)


def _sources(before: Mapping[str, str], source: str, outcome: Outcome | None) -> dict[str, str]:
    if outcome is None or outcome.plan is None:
        return dict(before)
    path = Path(source)
    spelled = str(path.absolute()) if path.exists() else source
    found = {}
    for change in outcome.plan.changes:
        match = change.credential.match
        if change.kind in _FROM_THIS_RUN:
            found[match] = spelled
        elif change.kind == "kept" and match in before:
            found[match] = before[match]
    return found
