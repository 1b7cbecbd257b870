"""The agent's container, by the Docker Engine API (the Docker SDK: DOCKER_HOST and its TLS)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ecsauth.agent.datadir import NOT_RUNNING, UNKNOWN, RestartVerdict, judge
from ecsauth.engine_auth.codec import AUTH_DATA_KEY, AUTH_TYPE_KEY, EngineAuth
from ecsauth.host.deadline import DeadlineError, NoThreadError, call_within

NAME = "ecs-agent"
_TERMINAL = 5
"""The agent's exit code that its unit does not restart (``RestartPreventExitStatus=5``); also
without user data since aws/amazon-ecs-agent pull request 4988."""

_TIMEOUT_SECONDS = 5
_TOTAL_SECONDS = 10.0
"""Limit for one inspection of the container, even if the answer arrives byte by byte."""

_DEFAULT_HOST = "unix:///var/run/docker.sock"
_ECS_INIT_VARIABLES = frozenset({"ECS_AGENT_LABELS", "ECS_VOLUME_PLUGIN_CAPABILITIES"})
"""Variables that ecs-init sets for every agent that it starts (aws/amazon-ecs-agent
``ecs-init/docker/docker.go``, ``getContainerConfig``)."""


class NoDockerError(Exception):
    """Docker is not installed: its socket does not exist."""


@dataclass(frozen=True)
class AgentContainer:
    """The result of docker inspect for the agent.

    Attributes:
        verdict: what a restart would do.
        started_at: Unix seconds; None if it does not run.
        incarnation: tells one start from the next; empty if it does not run.
        settings: the two settings that it was started with; None if it does not run.
        is_from_ecs_init: whether ecs-init started it.
        environment: that it was started with; empty if it does not run.
        mounts: ``Mounts`` of docker inspect.
        has_docker: False if there is no Docker at all on this host.

    """

    verdict: RestartVerdict
    started_at: float | None = None
    incarnation: str = ""
    settings: EngineAuth | None = field(default=None, repr=False)
    is_from_ecs_init: bool = False
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    mounts: Sequence[Mapping[str, Any]] = ()
    has_docker: bool = True


def inspect_agent(environment: Mapping[str, str]) -> AgentContainer:
    """Inspect the agent's container. Never raises: without Docker the verdict is ``unknown``.

    Args:
        environment: for DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.

    """
    try:
        probe(environment)
    except NoDockerError:
        verdict = RestartVerdict(UNKNOWN, "there is no Docker here")
        return AgentContainer(verdict, has_docker=False)
    except OSError as error:
        return AgentContainer(RestartVerdict(UNKNOWN, _why_unknown(error)))
    from docker.errors import DockerException, NotFound

    try:
        attributes = call_within(_TOTAL_SECONDS, lambda: _attributes(environment))
    except (DeadlineError, NoThreadError):
        why = f"Docker takes more than {_TOTAL_SECONDS:g} s to answer"
        return AgentContainer(RestartVerdict(UNKNOWN, why))
    except NotFound:
        return AgentContainer(RestartVerdict(NOT_RUNNING, f"there is no container {NAME}"))
    except (DockerException, OSError, ValueError) as error:  # ValueError: a DOCKER_HOST of no sense
        return AgentContainer(RestartVerdict(UNKNOWN, _why_unknown(error)))
    try:
        return read_attributes(attributes)
    except (AttributeError, TypeError, ValueError):
        return AgentContainer(RestartVerdict(UNKNOWN, "Docker's answer is not understood"))


def _attributes(environment: Mapping[str, str]) -> Mapping[str, Any]:
    with connected(environment) as client:
        found: Mapping[str, Any] = client.containers.get(NAME).attrs
        return found


def read_attributes(attributes: Mapping[str, Any]) -> AgentContainer:
    """Parse the JSON object of docker inspect."""
    state = attributes.get("State") or {}
    if not state.get("Running"):
        why = f"the container {NAME} is {state.get('Status', 'stopped')}"
        if state.get("Status") == "exited" and state.get("ExitCode") == _TERMINAL:
            why = (
                f"{why} with code {_TERMINAL}, after which systemd does not start it again: its"
                " configuration is invalid, or (since 1.105.0) cloud-init has not run user data"
            )
        return AgentContainer(RestartVerdict(NOT_RUNNING, why))
    if state.get("Restarting"):
        why = f"the container {NAME} keeps ending, and Docker starts it again"
        return AgentContainer(RestartVerdict(NOT_RUNNING, why))
    lines = (attributes.get("Config") or {}).get("Env") or []
    variables = dict(str(line).partition("=")[::2] for line in lines)
    settings = EngineAuth(variables.get(AUTH_TYPE_KEY, ""), variables.get(AUTH_DATA_KEY, ""))
    started = str(state.get("StartedAt", ""))
    mounts = attributes.get("Mounts") or []
    return AgentContainer(
        verdict=judge(variables, mounts),
        started_at=_seconds(started),
        incarnation=f"{str(attributes.get('Id', ''))[:12]} {started}",
        settings=settings,
        is_from_ecs_init=bool(_ECS_INIT_VARIABLES & set(variables)),
        environment=variables,
        mounts=mounts,
    )


@contextlib.contextmanager
def connected(environment: Mapping[str, str], timeout: int = _TIMEOUT_SECONDS) -> Iterator[Any]:
    """Provide a client of the Docker SDK for the ``with`` block.

    Args:
        environment: as for `inspect_agent`.
        timeout: seconds for one answer.

    """
    import docker
    from docker.utils import kwargs_from_env

    class Api(docker.APIClient):  # type: ignore[misc]
        # Without this, requests takes REQUESTS_CA_BUNDLE for Docker's CA and a proxy for its host.
        trust_env = property(lambda _: False, lambda _, __: None)

    client = docker.DockerClient.__new__(docker.DockerClient)
    settings = kwargs_from_env(environment=dict(environment))
    with _no_login_file():
        client.api = Api(version="auto", timeout=timeout, **settings)
    with contextlib.closing(client):
        yield client


@contextlib.contextmanager
def _no_login_file() -> Iterator[None]:
    """Keep the SDK from reading a docker login file, which nothing here needs.

    It reads the one of DOCKER_CONFIG or HOME when a client is made, and fails on any entry that it
    does not understand (docker/docker-py ``docker/api/client.py``, ``docker/auth.py``).
    """
    names = ("DOCKER_CONFIG", "HOME")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def probe(environment: Mapping[str, str]) -> None:
    """Connect once to Docker's socket: the SDK hides the reason, and leaves its own socket open.

    Raises:
        NoDockerError: none is named and the usual one is not there.
        OSError: nobody answers there, or we may not ask.

    """
    host = environment.get("DOCKER_HOST") or _DEFAULT_HOST
    if not host.startswith("unix://"):
        return
    try:
        with socket.socket(socket.AF_UNIX) as attempt:
            attempt.settimeout(_TIMEOUT_SECONDS)
            attempt.connect(host[len("unix://") :])
    except FileNotFoundError:
        if environment.get("DOCKER_HOST"):
            raise
        raise NoDockerError from None


def _why_unknown(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission to ask Docker (run it with sudo)"
    return "Docker does not answer"


def _seconds(text: str) -> float | None:
    """Read docker's RFC 3339 time (nanoseconds, Z) as Unix seconds; None if it is invalid."""
    try:
        moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    fraction = text[20:].rstrip("Z")
    return moment.timestamp() + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)
