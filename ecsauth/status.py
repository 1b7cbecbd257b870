"""What there is to say of a target and its agent: facts gathered into one value, and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Callable

from ecsauth.credential import Credential, with_known_expiry
from ecsauth.engine_auth import EngineAuth, decode, redact, shown_key
from ecsauth.explain import auth_kind
from ecsauth.lease import Leases, login_digest
from ecsauth.registry import is_ecr_public, parse_ecr_host

METRICS_START = "# HELP ecsauth_"
"""How every metrics file of ours starts."""

_NO_LEASES = Leases()

ECR_TOKEN_SECONDS = 12 * 3600
"""How long an ECR token lives (Amazon ECR API reference, GetAuthorizationToken)."""


@dataclass(frozen=True)
class RegistryStatus:
    """One registry. Times are Unix seconds; None: it does not expire, or nobody knows."""

    registry: str
    key: str
    username: str
    auth: str | None
    source: str
    issued_at: int | None
    expires_at: int | None
    next_refresh_at: int | None

    def life_left(self, now: float) -> float | None:
        """Return the part of its life that is left at `now`, 0 to 1; None if it does not expire."""
        if self.expires_at is None or self.issued_at is None:
            return None
        return max(0.0, min(1.0, (self.expires_at - now) / (self.expires_at - self.issued_at)))


@dataclass(frozen=True)
class TargetStatus:
    """The target and what is in it."""

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
    """The agent. `pending` is True if it runs with other settings than the target has.

    `last_restart` (Unix seconds) and `failures` are of restarts by ecsauth: the last one, and
    those since one went well.
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


def registry_statuses(
    settings: EngineAuth, sources: Mapping[str, str], leases: Leases
) -> tuple[RegistryStatus, ...]:
    """Return what can be said of each registry; `sources` go by the key that the agent compares."""
    view = decode(settings)
    return tuple(_registry(with_known_expiry(item), sources, leases) for item in view.credentials)


def target_status(
    target: str,
    settings: EngineAuth | None,
    sources: Mapping[str, str],
    *,
    mode: int | None,
    written_at: float | None,
    history: tuple[int | None, int | None, int | None] = (None, None, None),
    leases: Leases = _NO_LEASES,
) -> TargetStatus:
    """Gather what is known of a target.

    Args:
        target: its name.
        settings: in it; None if there is no such file.
        sources: by the key that the agent compares.
        mode: permission bits.
        written_at: Unix seconds.
        history: last run, its exit code, last success.
        leases: what refresh knows of its logins.

    """
    known = settings or EngineAuth("", "")
    return TargetStatus(
        target=target,
        exists=settings is not None,
        mode="" if mode is None else f"{mode:04o}",
        written_at=None if written_at is None else int(written_at),
        auth_type=redact(known).auth_type,
        fault=decode(known).fault,
        registries=registry_statuses(known, sources, leases),
        last_run=history[0],
        last_code=history[1],
        last_success=history[2],
    )


def is_pending(target: EngineAuth | None, running: EngineAuth | None) -> bool | None:
    """Return whether the agent runs with other logins than the target has; None if unknown."""
    if target is None or running is None:
        return None
    return _logins(target) != _logins(running)


def is_older(started_at: float | None, written_at: int | None) -> bool | None:
    """Return whether the agent started before the last write; None if unknown."""
    if started_at is None or written_at is None:
        return None
    return started_at < written_at


def metrics(targets: Sequence[TargetStatus], agent: AgentStatus) -> str:
    """Return the state as node_exporter's textfile collector reads it (Prometheus text format)."""
    labels = {item.target: f'target="{_label(item.target)}"' for item in targets}

    def each(value: Callable[[TargetStatus], int | None]) -> list[tuple[str, int | None]]:
        return [(labels[item.target], value(item)) for item in targets]

    expiries = [
        (f'{labels[item.target]},registry="{_label(one.registry)}",key="{_label(one.key)}"', one)
        for item in targets
        for one in item.registries
    ]
    lines = [
        *_metric(
            "ecsauth_registries",
            "Registries with a login in the target.",
            each(lambda item: len(item.registries)),
        ),
        *_metric(
            "ecsauth_target_readable",
            "1 if the agent can read the settings.",
            each(lambda item: int(item.exists and not item.fault)),
        ),
        *_metric(
            "ecsauth_expiry_timestamp_seconds",
            "When a login expires.",
            [(text, one.expires_at) for text, one in expiries],
        ),
        *_metric(
            "ecsauth_next_refresh_timestamp_seconds",
            "When a login is due.",
            [(text, one.next_refresh_at) for text, one in expiries],
        ),
        *_metric(
            "ecsauth_last_run_timestamp_seconds",
            "When a run last worked on the target.",
            each(lambda item: item.last_run),
        ),
        *_metric(
            "ecsauth_last_success_timestamp_seconds",
            "When a run last ended with 0.",
            each(lambda item: item.last_success),
        ),
        *_metric(
            "ecsauth_last_result",
            "Exit code of the last run.",
            each(lambda item: item.last_code),
        ),
        *_metric(
            "ecsauth_restart_pending",
            "1 if the agent runs with other logins.",
            each(lambda _: None if agent.pending is None else int(agent.pending)),
        ),
        *_metric(
            "ecsauth_last_restart_timestamp_seconds",
            "When the agent was last restarted.",
            [("", agent.last_restart)],
        ),
        *_metric(
            "ecsauth_restart_failures",
            "Restarts that failed since one went well.",
            [("", agent.failures)],
        ),
        *_metric("ecsauth_agent_up", "1 if the agent answers.", [("", int(agent.answers))]),
        *_metric(
            "ecsauth_agent_running_tasks",
            "Tasks that are not stopped.",
            [("", agent.running_tasks)],
        ),
    ]
    return "\n".join(lines) + "\n"


def _registry(item: Credential, sources: Mapping[str, str], leases: Leases) -> RegistryStatus:
    expires, issued, due = item.expires_at, None, None
    if expires is not None and (parse_ecr_host(item.registry) or is_ecr_public(item.registry)):
        issued = expires - ECR_TOKEN_SECONDS
        due = issued + ECR_TOKEN_SECONDS // 2
    lease = leases.of(item.match)
    held = lease.logins[item.match] if lease else None
    if lease and held and held.digest == login_digest(leases.salt, item):
        due = lease.refresh_at or None
        if held.expires_at is not None:
            expires, issued = held.expires_at, lease.fetched_at
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


def _logins(settings: EngineAuth) -> dict[str, tuple[str, str, str, str]]:
    return {item.match: item.login for item in decode(settings).credentials}


def _metric(name: str, text: str, samples: Sequence[tuple[str, int | None]]) -> list[str]:
    known = [(labels, value) for labels, value in samples if value is not None]
    if not known:
        return []
    rows = [f"{name}{f'{{{labels}}}' if labels else ''} {value}" for labels, value in known]
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge", *rows]


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
