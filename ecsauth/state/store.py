"""The state file: parsed once per run, written at checkpoints.

``STATE_DIR/state.json``, 0600::

    {"version": 1,
     "targets": {"/etc/ecs/ecs.config":
       {"last_run": 1800000000, "last_code": 0, "last_success": 1800000000,
        "last_write": 1800000000,
        "sources": {"quay.io": "/root/.docker/config.json"},
        "salt": "…",
        "leases": {"KEY": {"source": "ecr:us-west-2", "fetched_at": 1800000000,
          "refresh_at": 1800020000, "version": "",
          "logins": {"HOST": {"digest": "…", "expires_at": 1800043200}}}}}},
     "agent": {"last_restart": 1800000000, "failures": 0}}

A state file that is missing, malformed or of another version counts as empty. So does, for root,
one in a directory that other users could change.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Callable

from ecsauth.credentials.freshness import Lease, Leases, LoginRecord, RunningLogin
from ecsauth.credentials.json_text import JSONTextError, loads
from ecsauth.errors import EcsauthError, LockTimeoutError, TargetError
from ecsauth.host.atomic_file import read_state as read_file
from ecsauth.host.atomic_file import write_atomic
from ecsauth.host.locks import locked
from ecsauth.host.trust import untrusted_path_reason
from ecsauth.state.records import AgentRestarts, Delivery, RunHistory, TargetRecord

_VERSION = 1
_LOCK_SECONDS = 5.0


class StateStore:
    """The state of this host, as one run sees it.

    It is parsed on first use. Changes are kept in memory until `checkpoint` writes them, which
    preserves what another process wrote about other targets in the meantime.

    Args:
        directory: directory of the state file; created at the first checkpoint.
        new_salt: returns a new key for digests.

    """

    def __init__(
        self, directory: Path, new_salt: Callable[[], str] = lambda: os.urandom(16).hex()
    ) -> None:
        self.directory = directory
        self.is_durable = True
        """False if the last checkpoint could not be written: the state is lost after this run."""
        self._path = directory / "state.json"
        self._new_salt = new_salt
        self._known: dict[str, dict[str, Any]] | None = None
        self._identity: tuple[int, ...] = ()
        self._targets: dict[str, TargetRecord] = {}
        self._agent: AgentRestarts | None = None
        self._changed: set[str] = set()
        self._is_agent_changed = False

    def target(self, key: str) -> TargetRecord:
        """Return the record of a target; it always has a salt. Never raises."""
        if key not in self._targets:
            record = _target_record(self._entries()["targets"].get(key))
            if not record.leases.salt:
                record = replace(record, leases=Leases(self._new_salt()))
            self._targets[key] = record
        return self._targets[key]

    def put(self, key: str, record: TargetRecord) -> None:
        """Set the record of a target."""
        if record != self.target(key):
            self._targets[key] = record
            self._changed.add(key)

    @property
    def agent(self) -> AgentRestarts:
        """The record of the agent's restarts."""
        if self._agent is None:
            self._agent = _agent_restarts(self._entries()["agent"])
        return self._agent

    @agent.setter
    def agent(self, restarts: AgentRestarts) -> None:
        if restarts != self.agent:
            self._agent = restarts
            self._is_agent_changed = True

    def checkpoint(self) -> bool:
        """Write the changes; return False if they cannot be written, which is not an error."""
        if not self._changed and not self._is_agent_changed:
            return self.is_durable
        try:
            make_directory(self.directory)
            with locked(self._path, _LOCK_SECONDS):
                if _identity_of(self._path) != self._identity:
                    self._load()
                known = self._with_changes()
                text = json.dumps({"version": _VERSION, **known}, indent=1)
                write_atomic(self._path, f"{text}\n".encode())
                self._known, self._identity = known, _identity_of(self._path)
        except (OSError, EcsauthError):
            self.is_durable = False
            return False
        self._changed.clear()
        self._is_agent_changed = False
        self.is_durable = True
        return True

    @contextlib.contextmanager
    def run_lock(self, timeout: float) -> Iterator[None]:
        """Allow one run at a time, so that the next one sees the results of this one.

        If the state directory cannot be used, nothing is locked.

        Raises:
            LockTimeoutError: another run took longer than `timeout` seconds.

        """
        with contextlib.ExitStack() as stack:
            try:
                make_directory(self.directory)
                stack.enter_context(locked(self.directory / "refresh", timeout))
            except LockTimeoutError:
                raise
            except (OSError, EcsauthError):  # reported when the state cannot be written
                pass
            yield

    def _entries(self) -> dict[str, dict[str, Any]]:
        return self._load() if self._known is None else self._known

    def _load(self) -> dict[str, dict[str, Any]]:
        self._identity = _identity_of(self._path)
        self._known = _parse(self.directory, self._path)
        return self._known

    def _with_changes(self) -> dict[str, dict[str, Any]]:
        known = self._entries()
        changed = {key: _target_json(self._targets[key]) for key in self._changed}
        agent = asdict(self.agent) if self._is_agent_changed else known["agent"]
        return {"targets": {**known["targets"], **changed}, "agent": agent}


def make_directory(directory: Path) -> None:
    """Create the state directory if it does not exist.

    Raises:
        OSError: it cannot be created.
        TargetError: ecsauth runs as root, and other users could replace the directory.

    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if reason := _untrusted_reason(directory):
        raise TargetError(
            f"refusing to write to {directory} as root: {reason}",
            "fix its owner or mode, or set ECSAUTH_TRUSTED_UIDS",
            reference="directory-untrusted",
        )


def _parse(directory: Path, path: Path) -> dict[str, dict[str, Any]]:
    document: Any = {}
    with contextlib.suppress(OSError, UnicodeDecodeError, JSONTextError, EcsauthError):
        if not _untrusted_reason(directory):
            document = loads((read_file(path).data or b"").decode("utf-8"))
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        document = {}
    parts = {name: document.get(name) for name in ("targets", "agent")}
    return {name: part if isinstance(part, dict) else {} for name, part in parts.items()}


def _untrusted_reason(directory: Path) -> str:
    return untrusted_path_reason(directory) if os.geteuid() == 0 else ""


def _identity_of(path: Path) -> tuple[int, ...]:
    """Return a value that changes whenever the file is replaced; empty if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _target_record(entry: Any) -> TargetRecord:
    if not isinstance(entry, dict):
        return TargetRecord()
    sources = entry.get("sources")
    return TargetRecord(
        RunHistory(
            _time(entry, "last_run"),
            _time(entry, "last_code"),
            _time(entry, "last_success"),
            _time(entry, "last_write"),
            {
                key: value
                for key, value in (sources if isinstance(sources, dict) else {}).items()
                if isinstance(value, str)
            },
        ),
        _leases(entry),
        Delivery(
            entry.get("agent_pending") is True,
            _text(entry, "agent_read"),
            _text(entry, "written"),
            _text(entry, "before"),
            _running(entry.get("running")),
            _time(entry, "restart_at"),
        ),
        _text(entry, "whole"),
    )


_TIMES = ("last_run", "last_code", "last_success", "last_write")


def _target_json(record: TargetRecord) -> dict[str, Any]:
    delivery = record.delivery
    return {
        **{name: getattr(record.history, name) for name in _TIMES},
        "sources": dict(record.history.sources),
        "salt": record.leases.salt,
        "leases": {key: asdict(lease) for key, lease in record.leases.by_source.items()},
        "agent_pending": delivery.is_pending,
        "agent_read": delivery.read,
        "written": delivery.written,
        "before": delivery.before,
        "running": {match: asdict(item) for match, item in delivery.running.items()},
        "restart_at": delivery.restart_at,
        "whole": record.copied,
    }


def _agent_restarts(entry: Mapping[str, Any]) -> AgentRestarts:
    known = entry.get("times")
    times: list[Any] = known if isinstance(known, list) else []
    return AgentRestarts(
        _time(entry, "last_restart"),
        _time(entry, "failures") or 0,
        _time(entry, "refused") or 0,
        _text(entry, "begun"),
        _text(entry, "begun_arn"),
        _text(entry, "drained"),
        entry.get("confirm") is True,
        tuple(item for item in times if isinstance(item, int) and 0 <= item < 2**40),
    )


def _leases(entry: Mapping[str, Any]) -> Leases:
    """Read the leases; a malformed one is dropped, so its source is fetched again."""
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
        times = (_time(item, "expires_at"), _time(item, "issued_at"))
        logins[match] = LoginRecord(item["digest"], *times, item.get("has_changed") is True)
    return Lease(source, fetched_at, refresh_at, version, logins)


def _running(entry: Any) -> dict[str, RunningLogin]:
    """Read the logins that the agent runs with; a malformed entry makes all unknown."""
    found = {}
    for match, item in entry.items() if isinstance(entry, dict) else ():
        if not isinstance(item, dict):
            return {}
        texts = (_text(item, "user"), _text(item, "digest"))
        found[match] = RunningLogin(*texts, _time(item, "issued_at"), _time(item, "expires_at"))
    return found


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _time(entry: Mapping[str, Any], name: str) -> int | None:
    value = entry.get(name)
    is_time = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40
    return value if is_time else None
