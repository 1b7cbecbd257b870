"""Whether the agent keeps its tasks across a restart. Pure: judged from docker inspect.

AWS's document: if ``docker inspect ecs-agent`` shows no ECS_DATADIR, stop the tasks before the
agent. More can go wrong than that: an empty value, a directory that is only in the container's own
layer, checkpoints switched off (aws/amazon-ecs-agent README, ``ECS_DATADIR``, ``ECS_CHECKPOINT``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAFE = "safe"
UNSAFE = "unsafe"
NOT_RUNNING = "not running"
UNKNOWN = "unknown"

_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
"""The names that Docker generates for anonymous volumes."""


@dataclass(frozen=True)
class RestartVerdict:
    """What a restart of the agent would do to the tasks.

    Attributes:
        outcome: ``safe``, ``unsafe``, ``not running`` or ``unknown``.
        reason: why, for people.

    """

    outcome: str
    reason: str


def judge(environment: Mapping[str, str], mounts: Sequence[Mapping[str, Any]]) -> RestartVerdict:
    """Judge a running agent.

    Args:
        environment: of its container.
        mounts: ``Mounts`` of docker inspect: objects with Type and Destination.

    """
    directory = environment.get("ECS_DATADIR", "")
    if not directory:
        return RestartVerdict(UNSAFE, "ECS_DATADIR is not set: its tasks would be orphaned")
    if environment.get("ECS_CHECKPOINT", "").strip().lower() in ("false", "0", "f"):
        return RestartVerdict(UNSAFE, "ECS_CHECKPOINT is off: its tasks would be orphaned")
    if ".." in directory.split("/"):
        return RestartVerdict(UNSAFE, f"nobody can tell what is behind ECS_DATADIR ({directory})")
    behind = [item for item in mounts if _holds(str(item.get("Destination", "")), directory)]
    if not behind:
        return RestartVerdict(UNSAFE, f"nothing is mounted at ECS_DATADIR ({directory})")
    nearest = max(behind, key=lambda item: len(str(item.get("Destination", ""))))
    if nearest.get("Type") == "tmpfs":
        return RestartVerdict(UNSAFE, f"ECS_DATADIR ({directory}) is in memory only")
    if nearest.get("Type") == "volume" and _ANONYMOUS.fullmatch(str(nearest.get("Name", ""))):
        return RestartVerdict(
            UNSAFE,
            f"ECS_DATADIR ({directory}) is an anonymous volume; a new container would not get it",
        )
    if nearest.get("RW") is False:
        return RestartVerdict(UNSAFE, f"ECS_DATADIR ({directory}) is mounted read-only")
    return RestartVerdict(SAFE, f"ECS_DATADIR is {directory}, and {nearest.get('Type')} holds it")


def _holds(mount: str, directory: str) -> bool:
    """Return whether a directory is a mount or inside it; both are absolute paths."""
    inside = [part for part in directory.split("/") if part]
    parts = [part for part in mount.split("/") if part]
    return bool(mount) and inside[: len(parts)] == parts
