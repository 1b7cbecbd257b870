"""The state of a target and of the agent, gathered into values."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecsauth.agent.datadir import NOT_RUNNING
from ecsauth.app.requests import AgentAccess
from ecsauth.engine_auth.codec import UNSET, is_same_logins
from ecsauth.errors import TargetError
from ecsauth.host.atomic_file import is_directory
from ecsauth.host.atomic_file import read_state as read_file
from ecsauth.state.records import Delivery, TargetRecord
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.agent.restart.ports import Agent, Observation
    from ecsauth.app.ports import Ports
    from ecsauth.state.store import StateStore

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.ecr_token import ECR_TOKEN_SECONDS, with_known_expiry
from ecsauth.credentials.freshness import Leases, login_digest
from ecsauth.credentials.registry import is_ecr_public, parse_ecr_host
from ecsauth.engine_auth.codec import EngineAuth, decode, redact, shown_key
from ecsauth.engine_auth.explain import auth_kind


@dataclass(frozen=True)
class RegistryStatus:
    """One registry. Times are Unix seconds; None: it does not expire, or that is unknown."""

    registry: str
    key: str
    username: str
    auth: str | None
    source: str
    issued_at: int | None
    expires_at: int | None
    next_refresh_at: int | None

    def life_left(self, now: float) -> float | None:
        """Return the part of its life left at `now`, 0 to 1; None if it does not expire."""
        if self.expires_at is None or self.issued_at is None:
            return None
        return max(0.0, min(1.0, (self.expires_at - now) / (self.expires_at - self.issued_at)))


@dataclass(frozen=True)
class TargetStatus:
    """The target and its contents."""

    target: str
    exists: bool
    mode: str
    written_at: int | None
    auth_type: str
    fault: str
    registries: tuple[RegistryStatus, ...]
    last_run: int | None = None
    last_code: int | None = None
    last_success: int | None = None


@dataclass(frozen=True)
class AgentStatus:
    """The agent. Times are Unix seconds.

    Attributes:
        answers: whether introspection answers.
        version: of the agent.
        cluster: its name.
        arn: of the container instance; None until it has registered.
        running_tasks: None if it does not answer.
        started_at: None if it does not run.
        pending: whether it runs with other settings than the target has; None if unknown.
        restart: what a restart would do to its tasks, see `RestartVerdict.outcome`.
        reason: for that.
        last_restart: by ecsauth; None for never.
        failures: restarts by ecsauth that failed since one succeeded.
        restarts_in_24_hours: by ecsauth.
        runs_with: registries whose logins it was last seen running with.
        good_until: when the first of these logins ends; None if none does, or if unknown.
        next_restart: when ecsauth is expected to restart it; None if it is not.
        next_restart_reason: for that; empty if it is not.

    """

    answers: bool
    version: str
    cluster: str
    arn: str | None
    running_tasks: int | None
    started_at: int | None
    pending: bool | None
    restart: str
    reason: str
    last_restart: int | None = None
    failures: int = 0
    restarts_in_24_hours: int = 0
    runs_with: tuple[str, ...] = ()
    good_until: int | None = None
    next_restart: int | None = None
    next_restart_reason: str = ""


def registry_statuses(
    settings: EngineAuth, sources: Mapping[str, str], leases: Leases
) -> tuple[RegistryStatus, ...]:
    """Return the status of each registry; `sources` is keyed by what the agent compares."""
    view = decode(settings)
    return tuple(_registry(with_known_expiry(item), sources, leases) for item in view.credentials)


def target_status(
    target: str,
    settings: EngineAuth | None,
    known: TargetRecord,
    *,
    mode: int | None,
    written_at: float | None,
) -> TargetStatus:
    """Return the status of a target.

    Args:
        target: its key.
        settings: in it; None if the file does not exist.
        known: its record in the state.
        mode: permission bits.
        written_at: Unix seconds.

    """
    found = settings or UNSET
    history = known.history
    return TargetStatus(
        target=target,
        exists=settings is not None,
        mode="" if mode is None else f"{mode:04o}",
        written_at=None if written_at is None else int(written_at),
        auth_type=redact(found).auth_type,
        fault=decode(found).fault,
        registries=registry_statuses(found, history.sources, known.leases),
        last_run=history.last_run,
        last_code=history.last_code,
        last_success=history.last_success,
    )


def is_older(started_at: float | None, written_at: int | None) -> bool | None:
    """Return whether the agent started before the last write; None if unknown."""
    if started_at is None or written_at is None:
        return None
    return started_at < written_at


def _registry(item: Credential, sources: Mapping[str, str], leases: Leases) -> RegistryStatus:
    expires, issued, due = item.expires_at, None, None
    if expires is not None and (parse_ecr_host(item.registry) or is_ecr_public(item.registry)):
        issued = expires - ECR_TOKEN_SECONDS
        due = issued + ECR_TOKEN_SECONDS // 2
    lease = leases.of(item.match)
    record = lease.logins[item.match] if lease else None
    if lease and record and record.digest == login_digest(leases.salt, item):
        due = lease.refresh_at or None
        if record.expires_at is not None:
            expires, issued = record.expires_at, lease.fetched_at
    return RegistryStatus(
        registry=item.registry,
        key=shown_key(item.auth_key.text),
        username=item.username,
        auth=auth_kind(item),
        source=sources.get(item.match, ""),
        issued_at=issued,
        expires_at=expires,
        next_refresh_at=due,
    )


def read_status(file: LocalFile, store: StateStore) -> tuple[TargetStatus, EngineAuth | None]:
    """Return the status of a file, and its settings; None if there is no file.

    Raises:
        TargetError: it cannot be read.

    """
    try:
        found = read_file(file.path)
    except TargetError as error:
        if is_directory(file.path.parent):
            raise
        raise error.as_kind(TargetError, hint="is the ECS agent installed here?") from error
    settings = None if found.data is None else file.layout.read(found.data)
    times = found.path.stat() if found.data is not None else None
    shown = target_status(
        file.key,
        settings,
        store.target(file.key),
        mode=stat.S_IMODE(times.st_mode) if times else None,
        written_at=times.st_mtime if times else None,
    )
    return shown, settings


def unreadable_status(file: LocalFile) -> TargetStatus:
    """Return the status of a file that cannot be read."""
    return target_status(file.key, None, TargetRecord(), mode=None, written_at=None)


@dataclass(frozen=True)
class SeenAgent:
    """The agent's status, the observation behind it, and the agent itself."""

    status: AgentStatus
    seen: Observation
    agent: Agent


def agent_status(
    access: AgentAccess,
    ports: Ports,
    store: StateStore,
    target: TargetStatus | None = None,
    settings: EngineAuth | None = None,
    *,
    by_time: bool = False,
) -> SeenAgent:
    """Observe the agent.

    Args:
        access: how to reach it.
        ports: the outside.
        store: holds its restarts.
        target: whose settings it should run with; None leaves `pending` open.
        settings: in the target.
        by_time: compare times; the settings (the agent's JSON file) are not in its environment.

    """
    agent = ports.edges.agent(access, None)
    seen = agent.observe()
    pending = None
    if settings is not None and seen.settings is not None:
        pending = not is_same_logins(settings, seen.settings)
    if by_time and target is not None:
        pending = is_older(seen.started_at, target.written_at)
    if pending is None and target is not None and seen.verdict.outcome != NOT_RUNNING:
        pending = store.target(target.target).delivery.is_pending or None
    known, now = store.agent, ports.now()
    delivery = store.target(target.target).delivery if target is not None else Delivery()
    ends = [item.expires_at for item in delivery.running.values() if item.expires_at is not None]
    restart_at, why = _next_restart(delivery, ports.host_chance("restart"), now)
    found = AgentStatus(
        answers=seen.answers,
        version=seen.version,
        cluster=seen.cluster,
        arn=seen.arn,
        running_tasks=seen.running_tasks,
        started_at=None if seen.started_at is None else int(seen.started_at),
        pending=pending,
        restart=seen.verdict.outcome,
        reason=seen.verdict.reason,
        last_restart=known.last_restart,
        failures=known.failures,
        restarts_in_24_hours=len(known.times_since(now)),
        runs_with=tuple(sorted(delivery.running)),
        good_until=min(ends, default=None),
        next_restart=restart_at,
        next_restart_reason=why,
    )
    return SeenAgent(found, seen, agent)


def _next_restart(delivery: Delivery, chance: float, now: float) -> tuple[int | None, str]:
    """Return when ecsauth is expected to restart the agent, and why; None and empty for never."""
    if delivery.is_pending and delivery.restart_at is None:
        return int(now), "the file has changed"
    times = {
        match: at
        for match, item in delivery.running.items()
        if (at := item.late_at(chance)) is not None
    }
    if not times:
        return None, ""
    match = min(times, key=lambda item: times[item])
    at = times[match] if delivery.restart_at is None else delivery.restart_at
    return at, f"to renew the login of {match}"
