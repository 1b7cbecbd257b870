"""The files that the agent of this host reads, and the settings in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.agent.startable import env_file_fault, json_file_fault
from ecsauth.engine_auth import env_file
from ecsauth.engine_auth.codec import (
    AUTH_DATA_KEY,
    AUTH_TYPE_KEY,
    UNSET,
    EngineAuth,
    is_same_logins,
)
from ecsauth.engine_auth.layouts import AGENT_JSON, ENV_FILE, Layout
from ecsauth.errors import EcsauthError
from ecsauth.host.atomic_file import read_regular

if TYPE_CHECKING:
    from ecsauth.agent.restart.ports import Observation

ENV_FILES = ("/var/lib/ecs/ecs.config", "/etc/ecs/ecs.config")
"""ecs-init reads the second over the first (``ecs-init/docker/docker.go``, ``getEnvVars``)."""

JSON_FILE = "/etc/ecs/ecs.config.json"


def is_agent_file(path: Path) -> bool:
    """Return whether the agent reads the file by default."""
    return str(path.absolute()) in (*ENV_FILES, JSON_FILE)


def file_variables() -> dict[str, str]:
    """Return the variables that ecs-init takes from its files; a later file overrides."""
    found: dict[str, str] = {}
    for name in ENV_FILES:
        found.update(env_file.read(_text_of(name)))
    return found


def start_fault() -> str:
    """Return which file keeps an agent from starting, and why; empty for none."""
    for name in ENV_FILES:
        if fault := env_file_fault(_text_of(name)):
            return f"{name}: {fault}"
    fault = json_file_fault(_text_of(JSON_FILE))
    return f"{JSON_FILE}: {fault}; the agent ends with it" if fault else ""


def _text_of(name: str) -> bytes:
    try:
        return read_regular(Path(name))
    except (OSError, EcsauthError):
        return b""


def settings_in(path: Path, layout: Layout) -> EngineAuth:
    """Return the settings in a file; both empty if it is missing or unreadable."""
    try:
        return layout.read(read_regular(path))
    except (OSError, EcsauthError):
        return UNSET


def expected_settings(path: Path, layout: Layout) -> EngineAuth:
    """Return what the agent gets from the file, merged with the other one that ecs-init reads."""
    if layout is AGENT_JSON or str(path.absolute()) not in ENV_FILES:
        return settings_in(path, layout)
    variables = file_variables()
    return EngineAuth(variables.get(AUTH_TYPE_KEY, ""), variables.get(AUTH_DATA_KEY, ""))


def is_in_sync(path: Path, layout: Layout, expected: EngineAuth, seen: Observation) -> bool | None:
    """Return whether the agent runs with `expected`, the settings in a file; None if unknown."""
    if layout is not AGENT_JSON:
        return None if seen.settings is None else is_same_logins(expected, seen.settings)
    if seen.settings is not None and seen.settings.is_set:
        # The environment takes precedence, so the JSON file counts once no env file sets anything.
        return overruled_by(path, layout) is not None
    try:
        return None if seen.started_at is None else seen.started_at > path.stat().st_mtime
    except OSError:
        return None


def overruled_by(path: Path, layout: Layout) -> Path | None:
    """Return the ``ecs.config`` whose settings take the place of those in the agent's JSON file.

    The environment comes first and the JSON file second (aws/amazon-ecs-agent
    ``agent/config/config.go``, ``NewConfig``).
    """
    if layout is not AGENT_JSON or not path.name.endswith(".config.json"):
        return None
    others = [path.with_suffix(""), *(map(Path, ENV_FILES) if is_agent_file(path) else ())]
    return next((file for file in others if settings_in(file, ENV_FILE).is_set), None)
