"""The ports of the restart procedure, and its values."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Callable, Protocol

from ecsauth.agent.datadir import RestartVerdict
from ecsauth.agent.restart.policy import RestartPolicy
from ecsauth.engine_auth.codec import EngineAuth
from ecsauth.errors import EcsauthError


@dataclass(frozen=True)
class Observation:
    """The agent at one moment.

    Attributes:
        verdict: what a restart would do to its tasks.
        answers: whether introspection answers.
        settings: that its container was started with; None if it does not run or nobody knows.
        incarnation: tells one start of its container from the next; empty if it does not run.
        started_at: of its container, Unix seconds; None if it does not run.
        arn: of the container instance; None until it has registered, or if it does not answer.
        cluster: its name; empty if it does not answer.
        version: of the agent; empty if it does not answer.
        running_tasks: None if it does not answer.
        starting_tasks: how many of them are on their way up.
        changed: names of variables, other than the credential settings, that its next container
            would get with other values.

    """

    verdict: RestartVerdict
    answers: bool = False
    settings: EngineAuth | None = field(default=None, repr=False)
    incarnation: str = ""
    started_at: float | None = None
    arn: str | None = None
    cluster: str = ""
    version: str = ""
    running_tasks: int | None = None
    starting_tasks: int = 0
    changed: tuple[str, ...] = ()


class Agent(Protocol):
    """The agent of this host. Methods that change something raise AgentError."""

    @property
    def manager(self) -> str:
        """Return its service manager: systemd, upstart or docker."""

    @property
    def command(self) -> str:
        """Return the command with which an operator restarts it."""

    def observe(self) -> Observation:
        """Return its present state; never raises."""

    def repair(self) -> str:
        """Clean up after an interrupted restart; return what was done, empty if nothing."""

    def check(self) -> None:
        """Raise RestartRefusedError if it cannot be restarted from here."""

    def restart(self) -> bool:
        """Restart it so that it reads its settings; return False if that is only queued."""

    def is_stopped(self) -> bool:
        """Return whether it was stopped deliberately."""

    def is_supervised(self) -> bool:
        """Return whether something would start it again if it ended."""

    def start_if_blocked(self) -> None:
        """Start it if another unit's job blocks it; never raises."""

    def discard_rollback(self) -> None:
        """Discard what was kept for `roll_back`: the new agent is proved."""

    def roll_back(self) -> None:
        """Start it as before the restart; its settings are restored already."""


class Drainer(Protocol):
    """Drains service tasks from the container instance."""

    def drain(self, cluster: str, arn: str) -> Sequence[str]:
        """Wait until no service task is left; return the tasks that stay, those without a service.

        Raises:
            RestartRefusedError: it could not be drained.

        """

    def activate(self, cluster: str, arn: str) -> None:
        """Set the instance to ACTIVE again if `drain` set it to DRAINING. Never raises."""


IsInSync = Callable[[Observation], "bool | None"]
"""Whether the agent runs with the target's settings; None if unknown."""

Restore = Callable[[], str]
"""Restores the target's previous content; returns why it could not, empty if it did."""


@dataclass(frozen=True)
class RestartHistory:
    """The restarts so far.

    Attributes:
        last: Unix seconds; None for never.
        failures: restarts that were not proved, since one went well.
        refused: attempts that were given up before the agent was touched, since one went well.

    """

    last: float | None = None
    failures: int = 0
    refused: int = 0


@dataclass(frozen=True)
class UnprovedRestart:
    """A restart that an interrupted run began and nothing has proved yet.

    Attributes:
        incarnation: of the agent before.
        arn: of the container instance before; None if it was not known.

    """

    incarnation: str = ""
    arn: str | None = None


@dataclass(frozen=True)
class AgentOutcome:
    """The outcome for the agent.

    Attributes:
        is_pending: whether the agent has yet to read what is in the target.
        history: with this restart in it.
        said: one line for people; empty if there is nothing to say.
        error: why it is not as it should be.
        is_done: whether the agent was restarted and has proved itself.
        is_queued: whether the restart only waits its turn, so that nothing is proved yet.
        is_down: whether the agent did not come back even with the file before.
        seen: how the agent was seen, if it runs with what is in the target.

    """

    is_pending: bool
    history: RestartHistory
    said: str = ""
    error: EcsauthError | None = None
    is_done: bool = False
    is_queued: bool = False
    is_down: bool = False
    seen: Observation | None = None


@dataclass(frozen=True)
class RestartPorts:
    """What the procedure needs from outside.

    Attributes:
        now: Unix seconds.
        monotonic: seconds that no clock setting moves.
        sleep: waits that many seconds.
        note: takes one line for people.
        warn: the same, for what they should not miss.
        begin: called right before the agent is touched, with the history so far.
        shield: holds off signals for the ``with`` block, where half done is worse than late.
        may_wait: whether a later run may restart the agent as well.
        has_memory: whether the history outlives this run.
        drainer: empties the instance before a restart; None does not.

    """

    now: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    note: Callable[[str], None]
    warn: Callable[[str], None]
    begin: Callable[[RestartHistory, UnprovedRestart], None] = lambda _, __: None
    shield: Callable[[], AbstractContextManager[None]] = nullcontext
    has_memory: bool = True
    may_wait: bool = False
    drainer: Drainer | None = None


@dataclass(frozen=True)
class Case:
    """One restart with its ports, policy and history."""

    agent: Agent
    is_in_sync: IsInSync
    restore: Restore
    policy: RestartPolicy
    history: RestartHistory
    around: RestartPorts
