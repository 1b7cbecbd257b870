"""After a write: restrict a file's mode, warn if another file overrides it, advise a restart."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecsauth.agent.paths import is_agent_file, overruled_by
from ecsauth.agent.restart.policy import ANY_FILE, NEVER, RestartPolicy
from ecsauth.app.requests import DEFAULT_TARGET
from ecsauth.errors import EcsauthError
from ecsauth.host.atomic_file import is_there
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.app.pipeline import TargetResult


@dataclass(frozen=True)
class Aftercare:
    """Messages about a target once it is up to date.

    Attributes:
        notes, warnings: one line each.
        next_step: what is left to do for the agent to read the file; empty if nothing.

    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    next_step: str = ""


def take_care(result: TargetResult, policy: RestartPolicy, *, dry_run: bool) -> Aftercare:
    """Restrict a local file's mode, and report what keeps its settings from being used."""
    file, is_written = result.target, result.outcome.written
    is_failed = result.outcome.plan is None and bool(result.outcome.problems)
    if result.error is not None or is_failed or not isinstance(file, LocalFile):
        return Aftercare()
    notes: tuple[str, ...] = ()
    warnings = [*_overruled(file), *file.warnings()]
    if not dry_run and not is_written and is_there(file.path):
        try:
            notes = file.narrow()
        except EcsauthError as error:
            warnings.append(str(error))
    is_advised = is_written and not is_delivered(file, policy)
    return Aftercare(notes, tuple(warnings), restart_advice(file) if is_advised else "")


def is_delivered(file: LocalFile, policy: RestartPolicy) -> bool:
    """Return whether the run itself makes the agent read the file."""
    if policy.when == NEVER:
        return False
    return policy.scope == ANY_FILE or is_agent_file(file.path)


def restart_advice(file: LocalFile) -> str:
    """Return how to make the agent read the file, which it does only when it starts."""
    path = str(file.path.absolute())
    target = "" if path == DEFAULT_TARGET else f" {shlex.quote(path)}"
    return f"the agent reads this only when it starts: sudo ecsauth agent restart{target}"


def _overruled(file: LocalFile) -> list[str]:
    other = overruled_by(file.path, file.layout)
    if other is None:
        return []
    return [f"{other} has these settings too and takes precedence: remove them there"]
