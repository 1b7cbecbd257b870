"""The files that the agent of this host reads, and what it gets of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.agent.platform import check_platform
from ecsauth.ecs_config import merged
from ecsauth.engine_auth import UNSET, EngineAuth
from ecsauth.layout import AGENT_JSON, ENV_FILE
from ecsauth.targets.local_file import LocalFile, settings_in

if TYPE_CHECKING:
    from ecsauth.restart.ports import AgentLook

ENV_FILES = ("/var/lib/ecs/ecs.config", "/etc/ecs/ecs.config")
"""ecs-init reads the second over the first (``ecs-init/docker/docker.go``, ``getEnvVars``)."""
JSON_FILE = "/etc/ecs/ecs.config.json"


def check_host(targets: Sequence[str]) -> None:
    """Refuse a target of the agent's on a host whose agent does not read it.

    Raises:
        TargetError: see `check_platform`.

    """
    if {*ENV_FILES, JSON_FILE} & set(targets):
        check_platform()


def is_carried(item: LocalFile, expected: EngineAuth, look: AgentLook) -> bool | None:
    """Return whether the agent runs with what it is to get of a file; None if nobody knows."""
    if item.layout is not AGENT_JSON:
        from ecsauth.status import is_pending  # it is seldom asked

        pending = is_pending(expected, look.settings)
        return None if pending is None else not pending
    if look.settings is not None and look.settings.is_set:
        return True  # the environment comes first, and the file is not looked at
    try:
        return None if look.started_at is None else look.started_at > item.path.stat().st_mtime
    except OSError:
        return None


def expected_of(item: LocalFile) -> EngineAuth:
    """Return what the agent gets of the file, and of the other one that ecs-init reads."""
    if item.layout is AGENT_JSON:
        return settings_in(item.path, AGENT_JSON)
    if str(item.path.absolute()) not in ENV_FILES:
        return settings_in(item.path, ENV_FILE)
    found = UNSET
    for name in ENV_FILES:
        found = merged(settings_in(Path(name), ENV_FILE), found)
    return found


def is_usual(item: LocalFile) -> bool:
    """Return whether it is one of the files that the agent reads by itself."""
    return name_of(item) in (*ENV_FILES, JSON_FILE)


def name_of(item: LocalFile) -> str:
    """Return the path from the root on, under which a file is remembered."""
    return str(item.path.absolute())
