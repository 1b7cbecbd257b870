"""Remember a run on a target, for status and for the next run."""

from __future__ import annotations

from pathlib import Path

from ecsauth.state import TargetState, read_state, write_state
from ecsauth.targets.local_file import LocalFile
from ecsauth.update import Outcome

_FROM_THIS_RUN = frozenset({"added", "updated", "unchanged"})


def remember(
    directory: Path, target: LocalFile, source: str, outcome: Outcome, code: int, now: int
) -> None:
    """Note what a run did; where there is no permission to, nothing is noted and nothing fails."""
    name = str(target.path.absolute())
    before = read_state(directory, name)
    changes = outcome.plan.changes if outcome.plan else ()
    path = Path(source)
    spelled = str(path.absolute()) if path.exists() else source
    sources = {}
    for change in changes:
        match = change.credential.match
        if change.kind in _FROM_THIS_RUN:
            sources[match] = spelled
        elif change.kind == "kept" and match in before.sources:
            sources[match] = before.sources[match]
    state = TargetState(
        last_run=now,
        last_code=code,
        last_success=now if code == 0 else before.last_success,
        last_write=now if outcome.written else before.last_write,
        sources=sources,
    )
    write_state(directory, name, state)
