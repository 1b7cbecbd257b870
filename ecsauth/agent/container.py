"""The agent's container, by the Docker Engine API (the Docker SDK: DOCKER_HOST and its TLS)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ecsauth.agent.datadir import NOT_RUNNING, UNKNOWN, RestartVerdict, judge
from ecsauth.engine_auth import AUTH_DATA_KEY, AUTH_TYPE_KEY, EngineAuth

NAME = "ecs-agent"
_TIMEOUT_SECONDS = 5
_DEFAULT_HOST = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class AgentContainer:
    """What docker inspect says of the agent.

    Attributes:
        verdict: what a restart would do.
        started_at: Unix seconds; None if it does not run.
        settings: the two settings that it was started with; None if it does not run.

    """

    verdict: RestartVerdict
    started_at: float | None = None
    settings: EngineAuth | None = field(default=None, repr=False)


def inspect_agent(environment: Mapping[str, str]) -> AgentContainer:
    """Look at the agent's container. Never raises: without Docker the verdict is ``unknown``.

    Args:
        environment: for DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.

    """
    import docker
    from docker.errors import DockerException, NotFound

    try:
        _probe(environment.get("DOCKER_HOST") or _DEFAULT_HOST)
        client = docker.from_env(timeout=_TIMEOUT_SECONDS, environment=dict(environment))
        with contextlib.closing(client):
            attributes = client.containers.get(NAME).attrs
    except NotFound:
        return AgentContainer(RestartVerdict(NOT_RUNNING, f"there is no container {NAME}"))
    except (DockerException, OSError) as error:
        return AgentContainer(RestartVerdict(UNKNOWN, _why_unknown(error)))
    try:
        return read_attributes(attributes)
    except (AttributeError, TypeError, ValueError):
        return AgentContainer(RestartVerdict(UNKNOWN, "Docker's answer is not understood"))


def read_attributes(attributes: Mapping[str, Any]) -> AgentContainer:
    """Understand the JSON object of docker inspect."""
    state = attributes.get("State") or {}
    if not state.get("Running"):
        status = state.get("Status", "stopped")
        return AgentContainer(RestartVerdict(NOT_RUNNING, f"the container {NAME} is {status}"))
    lines = (attributes.get("Config") or {}).get("Env") or []
    variables = dict(str(line).partition("=")[::2] for line in lines)
    settings = EngineAuth(variables.get(AUTH_TYPE_KEY, ""), variables.get(AUTH_DATA_KEY, ""))
    verdict = judge(variables, attributes.get("Mounts") or [])
    return AgentContainer(verdict, _seconds(str(state.get("StartedAt", ""))), settings)


def _probe(host: str) -> None:
    """Connect once to Docker's socket: the SDK hides the reason, and leaves its own socket open.

    Raises:
        OSError: nobody answers there, or we may not ask.

    """
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_TIMEOUT_SECONDS)
            probe.connect(host[len("unix://") :])


def _why_unknown(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission to ask Docker (run it with sudo)"
    return "Docker does not answer"


def _seconds(text: str) -> float | None:
    """Read docker's RFC 3339 time (nanoseconds, Z) as Unix seconds; None if it is none."""
    try:
        moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return moment.timestamp()
