"""agent status and agent restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.agent.platform import check_platform
from ecsauth.agent.restart.policy import ANY_FILE, NEVER, RestartPolicy
from ecsauth.agent.restart.procedure import is_refused
from ecsauth.app.delivery import agent_exit_code, delivery
from ecsauth.app.facts import AgentStatus, agent_status, read_status
from ecsauth.app.requests import DEFAULT_STATE_DIR, DEFAULT_TARGET, AgentAccess
from ecsauth.engine_auth.layouts import AGENT_JSON
from ecsauth.errors import RestartRefusedError, TargetError, UsageError
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.agent.restart.ports import AgentOutcome
    from ecsauth.app.ports import Ports


@dataclass(frozen=True)
class AgentStatusRequest:
    """Which agent to observe; `target`, as typed, has the settings that it should run with."""

    target: str = DEFAULT_TARGET
    access: AgentAccess = field(default_factory=AgentAccess)
    state_dir: Path = DEFAULT_STATE_DIR


@dataclass(frozen=True)
class AgentStatusResult:
    """The agent's state, and what a restart would do.

    Attributes:
        agent: its state.
        manager: what starts it.
        command: how a person would restart it.
        is_refused: a restart without options would be refused.

    """

    agent: AgentStatus
    manager: str
    command: str
    is_refused: bool

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return RestartRefusedError.exit_code if self.is_refused else 0


def observe_agent(request: AgentStatusRequest, ports: Ports) -> AgentStatusResult:
    """Observe the agent, and assess a restart.

    Raises:
        EcsauthError: the target is invalid.

    """
    check_platform([request.target])
    file = _file(request.target, 0, ports)
    store = ports.edges.state(request.state_dir)
    try:
        shown, settings = read_status(file, store)
    except TargetError:
        shown, settings = None, None
    by_time = file.layout is AGENT_JSON
    found = agent_status(request.access, ports, store, shown, settings, by_time=by_time)
    return AgentStatusResult(
        found.status, found.agent.manager, found.agent.command, is_refused(found.seen)
    )


@dataclass(frozen=True)
class AgentRestartRequest:
    """How to restart the agent.

    Attributes:
        target: has the settings that it should run with, as typed.
        restart: the policy; the target counts, whichever file it is.
        access: how to reach the agent.
        lock_timeout: seconds to wait for another run.
        state_dir: where state is kept between runs.

    """

    target: str = DEFAULT_TARGET
    restart: RestartPolicy = field(default_factory=lambda: RestartPolicy(ANY_FILE))
    access: AgentAccess = field(default_factory=AgentAccess)
    lock_timeout: float = 30.0
    state_dir: Path = DEFAULT_STATE_DIR


@dataclass(frozen=True)
class AgentRestartResult:
    """The outcome for the agent."""

    target: str
    outcome: AgentOutcome
    is_wanted: bool
    """False if the policy only says what to run."""

    @property
    def exit_code(self) -> int:
        """The exit code of the command; a wanted restart still pending counts as refused."""
        code = agent_exit_code(self.outcome)
        is_open = self.outcome.is_pending and self.is_wanted
        return code or (RestartRefusedError.exit_code if is_open else 0)


def restart_agent(request: AgentRestartRequest, ports: Ports) -> AgentRestartResult:
    """Make the agent read the target.

    Raises:
        EcsauthError: nothing was done.

    """
    check_platform([request.target])
    file = _file(request.target, request.lock_timeout, ports)
    if not file.path.exists():
        raise TargetError(
            "no such file",
            "is the ECS agent installed here?",
            subject=request.target,
            reference="target-missing",
        )
    store = ports.edges.state(request.state_dir)
    policy = request.restart
    with (
        store.run_lock(request.lock_timeout),
        delivery([file], policy, request.access, ports, store, is_restart_command=True) as agent,
    ):
        pass  # nothing is written: leaving the block observes and restarts the agent
    if agent.outcome is None:
        raise AssertionError("the agent of a restart command is always observed")
    return AgentRestartResult(request.target, agent.outcome, policy.when != NEVER)


def _file(text: str, lock_timeout: float, ports: Ports) -> LocalFile:
    target = ports.edges.target(text, lock_timeout)
    if not isinstance(target, LocalFile):
        raise UsageError("TARGET must be a file on this host", reference="usage-target")
    return target
