"""Remember a run on a target, for status and for the next run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ecsauth.cli.console import say
from ecsauth.errors import EcsauthError, LockTimeoutError
from ecsauth.lease import Leases
from ecsauth.locks import locked
from ecsauth.refresh import TargetResult
from ecsauth.state import TargetState, make_directory, new_salt, read_state, write_state
from ecsauth.targets.stdout import Stdout
from ecsauth.update import Outcome, Target

_FROM_THIS_RUN = frozenset({"added", "updated", "unchanged"})


@dataclass
class Run:
    """What a run came to: filled in by the command; as it stands, it was cut off."""

    outcome: Outcome | None = None
    code: int = 1


class StateMemory:
    """The leases of refresh, in the state directory; what cannot be kept is fetched again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: dict[str, Leases] = {}

    def recall(self, target: str) -> Leases:
        """Return what is known of a target; with a new salt if nothing is."""
        known = read_state(self._directory, _state_name(target)).leases
        return known if known.salt else Leases(new_salt())

    def keep(self, target: str, leases: Leases) -> None:
        """Take the new leases; `remember` writes them."""
        self._kept[target] = leases

    def remember(self, result: TargetResult, code: int | None, now: int) -> None:
        """Write down how the run went for a target; no `code`: it is not over yet."""
        name = _state_name(result.target.name)
        before = read_state(self._directory, name)
        state = _after_run(before, code, now, written=result.outcome.written)
        leases = self._kept.get(result.target.name)
        if leases is not None:
            given = {
                match: _spelled(lease.source)
                for lease in leases.by_source.values()
                for match in lease.logins
            }
            state = replace(state, leases=leases, sources={**before.sources, **given})
        if not write_state(self._directory, name, state):
            say(
                "warning",
                f"{self._directory} cannot be written (or not safely, by root), so that every run"
                " fetches everything again",
                "name another with --state-dir",
            )


@contextlib.contextmanager
def run_lock(directory: Path, timeout: float) -> Iterator[None]:
    """Let one refresh run at a time: the next finds done what this one did.

    Where there is no directory to remember anything in, there is none to lock either.

    Raises:
        LockTimeoutError: another run takes too long.

    """
    with contextlib.ExitStack() as held:
        try:
            make_directory(directory)
            held.enter_context(locked(directory / "refresh", timeout))
        except LockTimeoutError:
            raise
        except (OSError, EcsauthError):  # said when the state cannot be written
            pass
        yield


@contextlib.contextmanager
def remembered(directory: Path, target: Target, source: str, *, dry_run: bool) -> Iterator[Run]:
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
        if not isinstance(target, Stdout) and not dry_run:
            _remember(directory, _state_name(target.name), source, run, int(time.time()))


def _remember(directory: Path, name: str, source: str, run: Run, now: int) -> None:
    before = read_state(directory, name)
    written = run.outcome is not None and run.outcome.written
    write_state(
        directory,
        name,
        replace(
            _after_run(before, run.code, now, written=written),
            sources=_sources(before.sources, source, run.outcome),
        ),
    )


def _after_run(before: TargetState, code: int | None, now: int, *, written: bool) -> TargetState:
    return replace(
        before,
        last_run=now,
        last_code=before.last_code if code is None else code,
        last_success=now if code == 0 else before.last_success,
        last_write=now if written else before.last_write,
    )


def _sources(before: Mapping[str, str], source: str, outcome: Outcome | None) -> dict[str, str]:
    if outcome is None or outcome.plan is None:
        return dict(before)
    spelled = _spelled(source)
    found = {}
    for change in outcome.plan.changes:
        match = change.credential.match
        if change.kind in _FROM_THIS_RUN:
            found[match] = spelled
        elif change.kind == "kept" and match in before:
            found[match] = before[match]
    return found


def _spelled(source: str) -> str:
    """Return the name of a source; that of a file from the root on."""
    try:
        return str(Path(source).absolute()) if Path(source).exists() else source
    except OSError:
        return source


def _state_name(target: str) -> str:
    """Return what a target is remembered under."""
    return target if "://" in target else str(Path(target).absolute())
