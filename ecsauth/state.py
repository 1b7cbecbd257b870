"""What ecsauth remembers of a target between runs: no secret, and nothing that cannot be lost.

``STATE_DIR/state.json``, 0600::

    {"version": 1,
     "targets": {"/etc/ecs/ecs.config":
       {"last_run": 1800000000, "last_code": 0, "last_success": 1800000000,
        "last_write": 1800000000,
        "sources": {"quay.io": "/root/.docker/config.json"},
        "salt": "…",
        "leases": {"KEY": {"source": "ecr:us-west-2", "fetched_at": 1800000000,
          "refresh_at": 1800020000, "version": "",
          "logins": {"HOST": {"digest": "…", "expires_at": 1800043200}}}}}}}

Digests are keyed by the salt. Times are Unix seconds. A state that is missing, torn or of another
version is an empty one. So is, for root, one in a directory that others could change.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable

from ecsauth.errors import EcsauthError, TargetError
from ecsauth.files import read_state as read_file
from ecsauth.files import write_atomic
from ecsauth.jsontext import JSONTextError, loads
from ecsauth.lease import Held, Lease, Leases
from ecsauth.locks import locked
from ecsauth.ownership import not_ours_alone

DEFAULT_STATE_DIR = "/var/lib/ecsauth"
NO_FILE = "none"
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
        leases: what the sources of refresh gave.
        agent_pending: whether it was written and the agent was not seen to run with it since.
        agent_read: digest of the settings that the agent was last seen to run with.
        written: digest of the text that was written last.
        before: digest of the text that the agent ran with before, kept beside the target;
            `NO_FILE` if there was none, empty if nobody knows.
        whole: digest of the text and ETag of the object that it was taken from as a whole, with a
            blank between them.

    """

    last_run: int | None = None
    last_code: int | None = None
    last_success: int | None = None
    last_write: int | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    leases: Leases = field(default_factory=Leases)
    agent_pending: bool = False
    agent_read: str = ""
    written: str = ""
    before: str = ""
    whole: str = ""


@dataclass(frozen=True)
class AgentState:
    """What is known of restarts of the agent.

    Attributes:
        last_restart: when the last was; None if never.
        failures: since one went well.
        refused: attempts that did not touch the agent, since one went well.
        begun: the agent's incarnation before a restart that is not proved yet; else empty.
        begun_arn: its container instance then; empty if it was not known.
        boot: of the host, during which that was.
        drained: ARN of the container instance that we have set to DRAINING; else empty.

    """

    last_restart: int | None = None
    failures: int = 0
    refused: int = 0
    begun: str = ""
    begun_arn: str = ""
    boot: str = ""
    drained: str = ""


def new_salt() -> str:
    """Return a key for digests."""
    return os.urandom(16).hex()


def text_digest(salt: str, text: bytes) -> str:
    """Return a digest of a text that may hold secrets, keyed by the state's salt."""
    return hmac.new(salt.encode(), text, hashlib.sha256).hexdigest()


def make_directory(directory: Path) -> None:
    """Make the state directory, if it is not there.

    Raises:
        OSError: it cannot be made.
        TargetError: we are root, and others could put another in the place of it.

    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if why := _led_astray(directory):
        raise TargetError(f"{directory} is no safe place for root to write: {why}")


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
        leases=_leases(entry),
        agent_pending=entry.get("agent_pending") is True,
        agent_read=_text(entry, "agent_read"),
        written=_text(entry, "written"),
        before=_text(entry, "before"),
        whole=_text(entry, "whole"),
    )


def write_state(directory: Path, target: str, state: TargetState) -> bool:
    """Remember it; False if the directory cannot be written, which is no failure."""
    return _write(directory, lambda known: known["targets"].update({target: _as_json(state)}))


def read_agent_state(directory: Path) -> AgentState:
    """Return what is known of restarts; never raises."""
    entry = _read_all(directory)["agent"]
    return AgentState(
        _time(entry, "last_restart"),
        _time(entry, "failures") or 0,
        _time(entry, "refused") or 0,
        **{name: _text(entry, name) for name in ("begun", "begun_arn", "boot", "drained")},
    )


def write_agent_state(directory: Path, state: AgentState) -> bool:
    """Remember it; False if the directory cannot be written, which is no failure."""
    return _write(directory, lambda known: known.update(agent=asdict(state)))


def _write(directory: Path, change: Callable[[dict[str, Any]], None]) -> bool:
    path = directory / "state.json"
    try:
        make_directory(directory)
        with locked(path, _LOCK_SECONDS):
            known = _read_all(directory)
            change(known)
            text = json.dumps({"version": _VERSION, **known}, indent=1)
            write_atomic(path, f"{text}\n".encode())
    except (OSError, EcsauthError):
        return False
    return True


def _as_json(state: TargetState) -> dict[str, Any]:
    leases = {key: asdict(lease) for key, lease in state.leases.by_source.items()}
    known = {**vars(state), "sources": dict(state.sources), "salt": state.leases.salt}
    return {**known, "leases": leases}


def _leases(entry: Mapping[str, Any]) -> Leases:
    """Read the leases; what is not as we wrote it is left out, and its source asked again."""
    salt, leases = entry.get("salt"), entry.get("leases")
    if not isinstance(salt, str) or not isinstance(leases, dict):
        return Leases()
    found = {key: _lease(value) for key, value in leases.items()}
    return Leases(salt, {key: lease for key, lease in found.items() if lease is not None})


def _lease(entry: Any) -> Lease | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("logins"), dict):
        return None
    fetched_at, refresh_at = _time(entry, "fetched_at"), _time(entry, "refresh_at")
    source, version = entry.get("source"), entry.get("version")
    if fetched_at is None or refresh_at is None:
        return None
    if not isinstance(source, str) or not isinstance(version, str):
        return None
    logins = {}
    for match, item in entry["logins"].items():
        if not isinstance(item, dict) or not isinstance(item.get("digest"), str):
            return None
        logins[match] = Held(item["digest"], _time(item, "expires_at"))
    return Lease(source, fetched_at, refresh_at, version, logins)


def _read(directory: Path) -> dict[str, Any]:
    """Return what is known of all targets."""
    targets: dict[str, Any] = _read_all(directory)["targets"]
    return targets


def _read_all(directory: Path) -> dict[str, Any]:
    document: Any = {}
    with contextlib.suppress(OSError, UnicodeDecodeError, JSONTextError, EcsauthError):
        if not _led_astray(directory):
            document = loads((read_file(directory / "state.json").data or b"").decode("utf-8"))
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        document = {}
    parts = {name: document.get(name) for name in ("targets", "agent")}
    return {name: part if isinstance(part, dict) else {} for name, part in parts.items()}


def _led_astray(directory: Path) -> str:
    """Say who could put another directory in the place of it; empty if nobody, or not for root."""
    return not_ours_alone(directory) if os.geteuid() == 0 else ""


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _time(entry: Mapping[str, Any], name: str) -> int | None:
    value = entry.get(name)
    is_time = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40
    return value if is_time else None
