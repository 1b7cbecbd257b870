"""After the writing: who else can read a file, what overrules it, who restarts the agent."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.agent.paths import is_agent_file, overruled_by
from ecsauth.agent.restart.policy import ANY_FILE, NEVER, RestartPolicy
from ecsauth.errors import EcsauthError
from ecsauth.host.atomic_file import is_directory, is_there
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.app.pipeline import TargetResult


@dataclass(frozen=True)
class Aftercare:
    """What there is to say of a target once it is as it should be.

    Attributes:
        notes, warnings: one line each.
        next_step: what somebody has to do so that the agent reads the file; empty for nothing.

    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    next_step: str = ""


def take_care(result: TargetResult, policy: RestartPolicy, *, dry_run: bool) -> Aftercare:
    """Make a local file private, and say what keeps its settings from being used."""
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
    return Aftercare(notes, tuple(warnings), restart_advice() if is_advised else "")


def is_delivered(file: LocalFile, policy: RestartPolicy) -> bool:
    """Return whether the run itself brings the file's content to the agent."""
    if policy.when == NEVER:
        return False
    return policy.scope == ANY_FILE or is_agent_file(file.path)


def restart_advice() -> str:
    """Say how to make the agent read the file: it does so only when it starts."""
    reason = "the agent reads this only when it starts"
    if is_directory(Path("/run/systemd/system")):
        return f"{reason}: sudo systemctl restart ecs (with --no-block in EC2 user data)"
    if shutil.which("initctl"):
        return f"{reason}: sudo stop ecs && sudo start ecs"
    return f"{reason}: sudo systemctl restart ecs (docker restart does not read it again)"


def _overruled(file: LocalFile) -> list[str]:
    other = overruled_by(file.path, file.layout)
    if other is None:
        return []
    return [f"{other} has these settings too, and the agent takes those: remove them there"]
