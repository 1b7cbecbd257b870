"""What ecsauth remembers of a target between runs: no secret, and nothing that cannot be lost.

``STATE_DIR/state.json``, 0600::

    {"version": 1,
     "targets": {"/etc/ecs/ecs.config":
       {"last_run": 1800000000, "last_code": 0, "last_success": 1800000000,
        "last_write": 1800000000,
        "sources": {"quay.io": "/root/.docker/config.json"}}}}

Times are Unix seconds. A state that is missing, torn or of another version is an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecsauth.errors import EcsauthError
from ecsauth.files import locked, read_regular, write_atomic
from ecsauth.jsontext import JSONTextError, loads

DEFAULT_STATE_DIR = "/var/lib/ecsauth"
_VERSION = 1
_LOCK_SECONDS = 5.0


@dataclass(frozen=True)
class TargetState:
    """What is known of one target.

    Attributes:
        last_run: when a command last worked on it; None if never.
        last_code: that command's exit code.
        last_success: when one last ended with 0.
        last_write: when it was last written.
        sources: key as the agent compares it → the source that gave it.

    """

    last_run: int | None = None
    last_code: int | None = None
    last_success: int | None = None
    last_write: int | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


def read_state(directory: Path, target: str) -> TargetState:
    """Return what is known of a target; never raises."""
    entry = _read(directory).get(target)
    if not isinstance(entry, dict):
        return TargetState()
    sources = entry.get("sources")
    return TargetState(
        last_run=_time(entry, "last_run"),
        last_code=_time(entry, "last_code"),
        last_success=_time(entry, "last_success"),
        last_write=_time(entry, "last_write"),
        sources={
            key: value
            for key, value in (sources if isinstance(sources, dict) else {}).items()
            if isinstance(value, str)
        },
    )


def write_state(directory: Path, target: str, state: TargetState) -> bool:
    """Remember it; False if the directory cannot be written, which is no failure."""
    path = directory / "state.json"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path, _LOCK_SECONDS):
            targets = {**_read(directory), target: _as_json(state)}
            text = json.dumps({"version": _VERSION, "targets": targets}, indent=1)
            write_atomic(path, f"{text}\n".encode())
    except (OSError, EcsauthError):
        return False
    return True


def _as_json(state: TargetState) -> dict[str, Any]:
    return {**vars(state), "sources": dict(state.sources)}


def _read(directory: Path) -> dict[str, Any]:
    try:
        document = loads(read_regular(directory / "state.json").decode("utf-8"))
    except (OSError, UnicodeDecodeError, JSONTextError, EcsauthError):
        return {}
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        return {}
    targets = document.get("targets")
    return targets if isinstance(targets, dict) else {}


def _time(entry: Mapping[str, Any], name: str) -> int | None:
    value = entry.get(name)
    is_time = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40
    return value if is_time else None
