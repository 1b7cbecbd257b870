"""The state as node_exporter's textfile collector reads it (Prometheus text format)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from ecsauth.app.facts import (
    AgentStatus,
    RegistryStatus,
    TargetStatus,
    agent_status,
    read_status,
    unreadable_status,
)
from ecsauth.engine_auth.layouts import AGENT_JSON
from ecsauth.errors import EcsauthError, TargetError
from ecsauth.host.atomic_file import locate, write_atomic
from ecsauth.host.atomic_file import read_state as read_file
from ecsauth.host.locks import locked
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports
    from ecsauth.app.requests import AgentAccess
    from ecsauth.state.store import StateStore
    from ecsauth.targets.target import Target

_START = "# HELP ecsauth_"
"""How every metrics file of ecsauth starts."""

_LOCK_SECONDS = 5.0
_MODE = 0o644

OF_TARGET: tuple[tuple[str, str, Callable[[TargetStatus], int | None]], ...] = (
    ("registries", "Registries with a login in the target.", lambda item: len(item.registries)),
    (
        "target_readable",
        "1 if the agent can read the settings.",
        lambda item: int(item.exists and not item.fault),
    ),
)
OF_REGISTRY: tuple[tuple[str, str, Callable[[RegistryStatus], int | None]], ...] = (
    ("expiry_timestamp_seconds", "When a login expires.", lambda item: item.expires_at),
    ("next_refresh_timestamp_seconds", "When a login is due.", lambda item: item.next_refresh_at),
)
OF_RUN: tuple[tuple[str, str, Callable[[TargetStatus], int | None]], ...] = (
    (
        "last_run_timestamp_seconds",
        "When a run last worked on the target.",
        lambda item: item.last_run,
    ),
    (
        "last_success_timestamp_seconds",
        "When a run last ended with 0.",
        lambda item: item.last_success,
    ),
    ("last_result", "Exit code of the last run.", lambda item: item.last_code),
)
RESTART_PENDING = ("restart_pending", "1 if the agent runs with other logins.")
OF_AGENT: tuple[tuple[str, str, Callable[[AgentStatus], int | None]], ...] = (
    (
        "last_restart_timestamp_seconds",
        "When the agent was last restarted.",
        lambda agent: agent.last_restart,
    ),
    ("restart_failures", "Restarts that failed since one went well.", lambda agent: agent.failures),
    (
        "restarts_in_24_hours",
        "Restarts of the agent by ecsauth in the last 24 hours.",
        lambda agent: agent.restarts_in_24_hours,
    ),
    (
        "agent_logins_good_until_timestamp_seconds",
        "When the first login ends that the agent runs with.",
        lambda agent: agent.good_until,
    ),
    (
        "next_restart_timestamp_seconds",
        "When ecsauth is expected to restart the agent.",
        lambda agent: agent.next_restart,
    ),
    ("agent_up", "1 if the agent answers.", lambda agent: int(agent.answers)),
    ("agent_running_tasks", "Tasks that are not stopped.", lambda agent: agent.running_tasks),
)
"""Name after ``ecsauth_``, help, and the value; None leaves the sample out."""


def metrics(targets: Sequence[TargetStatus], agent: AgentStatus) -> str:
    """Return the metrics of some targets and the agent."""
    lines: list[str] = []
    for name, text, of_target in OF_TARGET:
        lines += _metric(name, text, [(_labels(item), of_target(item)) for item in targets])
    for name, text, of_registry in OF_REGISTRY:
        samples = [
            (_labels(item, one), of_registry(one)) for item in targets for one in item.registries
        ]
        lines += _metric(name, text, samples)
    for name, text, of_run in OF_RUN:
        lines += _metric(name, text, [(_labels(item), of_run(item)) for item in targets])
    pending = None if agent.pending is None else int(agent.pending)
    lines += _metric(*RESTART_PENDING, [(_labels(item), pending) for item in targets])
    for name, text, of_agent in OF_AGENT:
        lines += _metric(name, text, [("", of_agent(agent))])
    return "\n".join(lines) + "\n"


def write_metrics(
    targets: Sequence[Target], path: Path, access: AgentAccess, store: StateStore, ports: Ports
) -> None:
    """Write the metrics of the local files among some targets.

    Raises:
        TargetError: the path is not suitable.

    """
    files = [item for item in targets if isinstance(item, LocalFile)]
    found = []
    agent: AgentStatus | None = None
    for file in files:
        try:
            shown, settings = read_status(file, store)
        except EcsauthError:
            shown, settings = unreadable_status(file), None
        found.append(shown)
        if agent is None:
            by_time = file.layout is AGENT_JSON
            agent = agent_status(access, ports, store, shown, settings, by_time=by_time).status
    agent = agent or agent_status(access, ports, store).status
    write_text(path, metrics(found, agent))


def write_text(path: Path, text: str) -> None:
    """Write a metrics file; replace only an older one of ecsauth.

    It is readable by all users (mode 0644), for node_exporter; nothing in it is secret.

    Raises:
        TargetError: the path is not suitable.

    """
    real = locate(path)
    with locked(real, _LOCK_SECONDS):
        before = read_file(path).data
        if before and not before.startswith(_START.encode()):
            raise TargetError(
                f"{path} is not a metrics file of ecsauth",
                "name another file",
                reference="not-a-metrics-file",
            )
        write_atomic(real, text.encode(), mode=_MODE)


def _metric(name: str, text: str, samples: Sequence[tuple[str, int | None]]) -> Iterator[str]:
    known = [(labels, value) for labels, value in samples if value is not None]
    if known:
        yield f"# HELP ecsauth_{name} {text}"
        yield f"# TYPE ecsauth_{name} gauge"
        for labels, value in known:
            yield f"ecsauth_{name}{labels} {value}"


def _labels(target: TargetStatus, registry: RegistryStatus | None = None) -> str:
    parts = [f'target="{_escaped(target.target)}"']
    if registry is not None:
        parts += [
            f'registry="{_escaped(registry.registry)}"',
            f'key="{_escaped(registry.key)}"',
        ]
    return f"{{{','.join(parts)}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
