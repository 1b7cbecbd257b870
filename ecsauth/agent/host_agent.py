"""The agent of this host: its container, its introspection and its service, as `restart.Agent`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from ecsauth.agent.constants import DOCKER, SYSTEMD
from ecsauth.agent.container import AgentContainer, inspect_agent
from ecsauth.agent.datadir import NOT_RUNNING, UNKNOWN, RestartVerdict, judge
from ecsauth.agent.docker_run import Container
from ecsauth.agent.introspection import Metadata, TaskCounts, read_metadata, read_tasks
from ecsauth.agent.next_environment import NextEnvironment, next_environment
from ecsauth.agent.paths import file_variables, start_fault
from ecsauth.agent.restart.ports import Observation
from ecsauth.agent.service import Service, choose
from ecsauth.agent.systemd import Systemd
from ecsauth.agent.upstart import Upstart
from ecsauth.engine_auth.codec import EngineAuth
from ecsauth.errors import EcsauthError, RestartRefusedError
from ecsauth.host.programs import RunProgram


class HostAgent:
    """Implements `restart.Agent`, which documents the methods.

    Args:
        environment: for Docker, see `inspect_agent`.
        url: of introspection.
        run: runs the system's programs.
        settings: that a container without ecs-init is to be made with; None changes none.
        forced: the service manager; empty chooses by looking.

    """

    def __init__(
        self,
        environment: Mapping[str, str],
        url: str,
        run: RunProgram,
        *,
        settings: EngineAuth | None = None,
        forced: str = "",
    ) -> None:
        self._environment = environment
        self._url = url
        self._run = run
        self._settings = settings
        self._forced = forced
        self._found: Service | None = None
        self._container: AgentContainer | None = None

    @property
    def manager(self) -> str:
        """Its service manager's name."""
        return self.service.name

    @property
    def command(self) -> str:
        """The command with which an operator restarts it."""
        return self.service.command

    @property
    def service(self) -> Service:
        """Its service manager; detected once."""
        if self._found is None:
            self._found = self._choose()
        return self._found

    def observe(self) -> Observation:
        """Return its present state."""
        self._container = container = inspect_agent(self._environment)
        metadata: Metadata | None = None
        tasks: TaskCounts | None = None
        with contextlib.suppress(EcsauthError):
            metadata = read_metadata(self._url)
            tasks = read_tasks(self._url)
        return Observation(
            verdict=self._verdict(container, answers=metadata is not None),
            answers=metadata is not None,
            settings=container.settings,
            changed=self._next(container).changed if container.incarnation else (),
            incarnation=container.incarnation,
            started_at=container.started_at,
            arn=metadata.arn if metadata else None,
            cluster=metadata.cluster if metadata else "",
            version=metadata.version if metadata else "",
            running_tasks=tasks.running if tasks else None,
            starting_tasks=tasks.starting if tasks else 0,
        )

    def repair(self) -> str:
        """Clean up after an interrupted restart."""
        return self.service.repair()

    def check(self) -> None:
        """Raise RestartRefusedError if it cannot be restarted from here."""
        container = self._container or inspect_agent(self._environment)
        if self.service.name == DOCKER and container.is_from_ecs_init and not self._forced:
            raise RestartRefusedError(
                "ecs-init started the agent, but its service is not visible from here",
                "run ecsauth on the host itself, not in a container",
                reference="agent-service-invisible",
            )
        if self.service.name != DOCKER and (fault := start_fault()):
            raise RestartRefusedError(
                f"not restarting the agent, which could not start: {fault}",
                "fix the file, then run sudo ecsauth agent restart",
                reference="agent-could-not-start",
            )
        self.service.check()

    def restart(self) -> bool:
        """Restart it; raise AgentError if that failed."""
        return self.service.restart()

    def is_stopped(self) -> bool:
        """Return whether it was stopped deliberately."""
        return self.service.is_stopped()

    def is_supervised(self) -> bool:
        """Return whether something would start it again if it ended."""
        return not self.service.is_down()

    def start_if_blocked(self) -> None:
        """Start it if another unit's job blocks it."""
        self.service.start_if_blocked()

    def discard_rollback(self) -> None:
        """Discard what was kept for `roll_back`."""
        self.service.discard_rollback()

    def roll_back(self) -> None:
        """Start it as before the restart."""
        self.service.roll_back()

    def _choose(self) -> Service:
        container = self._container or inspect_agent(self._environment)
        name = choose(self._run, self._forced, is_container_up=bool(container.incarnation))
        if name == DOCKER:
            return Container(self._environment, self._settings)
        return Systemd(self._run) if name == SYSTEMD else Upstart(self._run)

    def _next(self, container: AgentContainer) -> NextEnvironment:
        """Return the environment that the next container would get."""
        if self.service.name == DOCKER:
            return NextEnvironment(container.environment)
        files = file_variables()
        return next_environment(
            container.environment, files, is_ecs_init=container.is_from_ecs_init
        )

    def _verdict(self, container: AgentContainer, *, answers: bool) -> RestartVerdict:
        """Return Docker's verdict; without Docker, judge by the service whether the agent runs."""
        verdict = container.verdict
        if container.incarnation:
            verdict = judge(self._next(container).variables, container.mounts)
        if verdict.outcome != UNKNOWN or answers:
            return verdict
        if not container.has_docker:
            return replace(verdict, outcome=NOT_RUNNING)
        if self.service.name != DOCKER and self.service.is_down():
            return RestartVerdict(NOT_RUNNING, f"its service is down, and {verdict.reason}")
        return verdict
