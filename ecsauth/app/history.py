"""Record how a run on a target ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.app.pipeline import TargetResult
from ecsauth.errors import EcsauthError
from ecsauth.targets.stdout import Stdout

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports
    from ecsauth.app.update import Outcome
    from ecsauth.state.records import RunHistory
    from ecsauth.state.store import StateStore

_FROM_THIS_RUN = frozenset({"added", "updated", "unchanged"})


@dataclass
class RunNote:
    """What is recorded of a run; the use case fills it in, else the run counts as cut off."""

    result: TargetResult
    code: int = 1


@contextlib.contextmanager
def noted_run(
    store: StateStore, result: TargetResult, source: str, ports: Ports, *, dry_run: bool
) -> Iterator[RunNote]:
    """Record how the ``with`` block ends, even with an error, and save the state.

    Args:
        store: of the state.
        result: names the target; the block replaces it.
        source: supplies the logins.
        ports: for the clock.
        dry_run: record nothing.

    """
    note = RunNote(result)
    try:
        yield note
    except EcsauthError as error:
        note.code = error.exit_code
        raise
    finally:
        if not dry_run:
            note_run(store, note.result, source, note.code, ports.now())
            store.checkpoint()


def note_run(
    store: StateStore, result: TargetResult, source: str, code: int | None, now: float
) -> None:
    """Record the run in the store; a checkpoint writes it.

    Args:
        store: of the state.
        result: the outcome for the target.
        source: supplied its logins, if the result has no leases; else empty.
        code: exit code; None while the run has not ended.
        now: Unix seconds.

    """
    if isinstance(result.target, Stdout):
        return
    record = store.target(result.target.key)
    history = record.history.after_run(code, int(now), written=result.outcome.written)
    if result.leases is not None:
        given = {
            match: spelled(lease.source)
            for lease in result.leases.by_source.values()
            for match in lease.logins
        }
        history = replace(history, sources={**history.sources, **given})
        record = replace(record, leases=result.leases)
    elif source:
        history = replace(history, sources=_sources(history, source, result.outcome))
    store.put(result.target.key, replace(record, history=history))


def spelled(source: str) -> str:
    """Return the name of a source; a file's as an absolute path."""
    try:
        return str(Path(source).absolute()) if Path(source).exists() else source
    except OSError:
        return source


def _sources(before: RunHistory, source: str, outcome: Outcome) -> dict[str, str]:
    if outcome.plan is None:
        return dict(before.sources)
    found = {}
    for change in outcome.plan.changes:
        match = change.credential.match
        if change.kind in _FROM_THIS_RUN:
            found[match] = spelled(source)
        elif change.kind == "kept" and match in before.sources:
            found[match] = before.sources[match]
    return found
