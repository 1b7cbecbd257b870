"""Make the agent read what was written: the policy, the restart, the proof, the way back.

The agent reads its settings only when it starts, and a careless restart orphans every task on
the instance. AWS's procedure: look for ECS_DATADIR in ``docker inspect ecs-agent``, and stop the
tasks first if it is not there (Amazon ECS Developer Guide, "Using non-AWS container images").
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Callable, Protocol

from ecsauth.datadir import NOT_RUNNING, SAFE, UNKNOWN, RestartVerdict
from ecsauth.engine_auth import EngineAuth
from ecsauth.errors import AgentError, EcsauthError, NewInstanceError, RestartRefusedError

AUTO, ALWAYS, NEVER = "auto", "always", "never"
POLICIES = (AUTO, ALWAYS, NEVER)

MIN_INTERVAL = 300.0
"""Seconds between two restarts, unless told otherwise."""

_MAX_DOUBLINGS = 6
_STABLE_SECONDS = 2.0
_POLL_SECONDS = 0.5
_NUDGE_SECONDS = 3.0
_LOGS = "look at journalctl -u ecs and /var/log/ecs/ecs-agent.log"


@dataclass(frozen=True)
class AgentLook:
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


class Agent(Protocol):
    """The agent of this host. What changes something raises AgentError."""

    @property
    def command(self) -> str:
        """Return how a person would restart it."""

    def look(self) -> AgentLook:
        """Return how it is; never raises."""

    def recover(self) -> str:
        """Mend what a restart that was cut off left; say what was done, empty for nothing."""

    def check(self) -> None:
        """Raise RestartRefusedError if it cannot be restarted from here."""

    def restart(self) -> bool:
        """Make it read its settings; False if the restart only waits its turn."""

    def nudge(self) -> None:
        """Help it up if something else than itself holds it up; never raises."""

    def settle(self) -> None:
        """Let go of what was kept for `bring_back`: the new one has proved itself."""

    def bring_back(self) -> None:
        """Run it as before the restart; its settings have been put back."""


class Drainer(Protocol):
    """Empties the container instance of service tasks."""

    def drain(self, cluster: str, arn: str) -> Sequence[str]:
        """Return when no service task is left, with the tasks that stay for they have no service.

        Raises:
            RestartRefusedError: it could not be drained.

        """

    def activate(self, cluster: str, arn: str) -> None:
        """Let tasks come again, if it was `drain` that kept them away. Never raises."""


Carries = Callable[[AgentLook], "bool | None"]
"""Whether the agent runs with what the target has; None if nobody knows."""

PutBack = Callable[[], str]
"""Puts the target's content before in its place; returns why not, empty if it did."""


@dataclass(frozen=True)
class Rules:
    """How to go about it.

    Attributes:
        policy: ``auto``: if the agent runs with something else and loses nothing; ``always``: also
            if it is said to run with it already; ``never``.
        force: restart even if tasks may be lost, and as often as it likes.
        timeout: seconds that the agent has to come back.
        min_interval: seconds between two restarts; doubled by each that failed.
        drainer: empties the instance first; None does not.

    """

    policy: str = AUTO
    force: bool = False
    timeout: float = 60.0
    min_interval: float = MIN_INTERVAL
    drainer: Drainer | None = None


@dataclass(frozen=True)
class History:
    """Of restarts.

    Attributes:
        last: Unix seconds; None for never.
        failures: restarts that were not proved, since one went well.
        refused: attempts that were given up before the agent was touched, since one went well.

    """

    last: float | None = None
    failures: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Begun:
    """A restart that was begun and has not been proved: the run was cut off.

    Attributes:
        incarnation: of the agent before.
        arn: of the container instance before; None if it was not known.

    """

    incarnation: str = ""
    arn: str | None = None


@dataclass(frozen=True)
class Restarted:
    """What was done about the agent.

    Attributes:
        is_pending: whether the agent has yet to read what is in the target.
        history: with this restart in it.
        said: one line for people; empty if there is nothing to say.
        error: why it is not as it should be.
        is_done: whether the agent was restarted and has proved itself.

    """

    is_pending: bool
    history: History
    said: str = ""
    error: EcsauthError | None = None
    is_done: bool = False


@dataclass(frozen=True)
class Surrounding:
    """What the use case needs from outside.

    Attributes:
        now: Unix seconds.
        monotonic: seconds that no clock setting moves.
        sleep: waits that many seconds.
        note: takes one line for people.
        warn: the same, for what they should not miss.
        begin: called right before the agent is touched, with the history so far.
        shield: holds off signals for the ``with`` block, where half done is worse than late.
        has_memory: whether the history outlives this run.

    """

    now: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    note: Callable[[str], None]
    warn: Callable[[str], None]
    begin: Callable[[History, Begun], None] = lambda _, __: None
    shield: Callable[[], AbstractContextManager[None]] = nullcontext
    has_memory: bool = True


@dataclass(frozen=True)
class _Case:
    """One restart and all that belongs to it."""

    agent: Agent
    carries: Carries
    put_back: PutBack
    rules: Rules
    history: History
    around: Surrounding


def make_agent_read(
    agent: Agent,
    carries: Carries,
    put_back: PutBack,
    rules: Rules,
    history: History,
    around: Surrounding,
    begun: Begun | None = None,
) -> Restarted:
    """Restart the agent if the rules say so, prove that it came back, and go back if it did not.

    Args:
        agent: of this host.
        carries: whether it runs with what the target has.
        put_back: puts the target's content before in its place.
        rules: how.
        history: of restarts.
        around: times and a way to speak.
        begun: a restart whose proof was cut off; None if there is none.

    """
    case = _Case(agent, carries, put_back, rules, history, around)
    if rules.policy != NEVER:
        try:
            with around.shield():
                mended = agent.recover()
        except AgentError as error:
            refused = RestartRefusedError(error.message, error.hint)
            return Restarted(True, history, error=refused)
        if mended:
            around.warn(mended)
    look = agent.look()
    if begun is not None and rules.policy != NEVER and look.incarnation != begun.incarnation:
        return _resume(case, begun)
    if rules.policy != ALWAYS and carries(look):
        if look.answers and rules.policy != NEVER:
            agent.settle()
        return Restarted(False, history)
    if rules.policy == NEVER:
        said = f"the agent reads this only when it starts: {agent.command}"
        return Restarted(True, history, said)
    if look.verdict.outcome == NOT_RUNNING and rules.policy != ALWAYS:
        said = f"the agent does not run ({look.verdict.reason}); it reads this when it starts"
        return Restarted(True, history, said)
    if not around.has_memory and look.started_at is not None:
        history = replace(history, last=max(history.last or 0.0, look.started_at))
    if wait := seconds_to_wait(rules, history, around.now()):
        said = (
            "the agent was restarted a moment ago and has yet to read this: the next restart is"
            f" allowed in {wait:,.0f} s"
        )
        return Restarted(True, history, said)
    try:
        _check_loss(look, rules, around)
        agent.check()
    except RestartRefusedError as error:
        return Restarted(True, history, error=error)
    return _drained(case, look)


def _resume(case: _Case, begun: Begun) -> Restarted:
    """Prove a restart of a run that was cut off, or go back."""
    before = AgentLook(
        RestartVerdict(SAFE, ""), answers=True, incarnation=begun.incarnation, arn=begun.arn
    )
    case.around.note("the last restart of the agent was cut off before its proof: proving it now")
    return _finish(case, before, case.around.monotonic())


def is_refused(look: AgentLook) -> bool:
    """Return whether a restart without any options would be refused."""
    if look.verdict.outcome in (SAFE, NOT_RUNNING):
        return False
    return look.verdict.outcome == UNKNOWN or look.running_tasks != 0


def seconds_to_wait(rules: Rules, history: History, now: float) -> float:
    """Return the seconds until the next restart is allowed; a clock set back is no reason."""
    if history.last is None or rules.force or history.last > now:
        return 0.0
    doublings = min(history.failures + history.refused, _MAX_DOUBLINGS)
    interval = rules.min_interval * 2.0**doublings
    return max(0.0, history.last + interval - now)


def _check_loss(look: AgentLook, rules: Rules, around: Surrounding) -> None:
    """Refuse a restart that could lose tasks.

    Raises:
        RestartRefusedError: says what would be lost and what to do.

    """
    verdict = look.verdict
    is_up = verdict.outcome not in (NOT_RUNNING, UNKNOWN)
    if is_up and not look.answers and not rules.force:
        raise RestartRefusedError(
            "the agent was not restarted, for nothing could prove that it came back: it does not"
            " answer",
            "look at --introspection-url; ecsauth agent restart --force restarts it unproved",
        )
    if not is_refused(look):
        return
    if verdict.outcome != UNKNOWN and rules.drainer is not None:
        return
    if rules.force:
        around.warn(
            f"restarting the agent all the same (--force), though {_tasks(look)} may be lost:"
            f" {verdict.reason}"
        )
        return
    hint = (
        "ecsauth agent restart --drain moves tasks of services away first; --force restarts it"
        " whatever it costs"
    )
    if verdict.outcome == UNKNOWN:
        hint = "is Docker up, and are you root? ecsauth agent restart --force does not ask"
    raise RestartRefusedError(
        f"the agent was not restarted, for {_tasks(look)} could be lost: {verdict.reason}", hint
    )


def _tasks(look: AgentLook) -> str:
    count = look.running_tasks
    if count is None:
        return "its tasks"
    return f"its {count} running task{'' if count == 1 else 's'}"


def _drained(case: _Case, look: AgentLook) -> Restarted:
    """Restart between draining and activating, if there is to be any draining."""
    drainer = case.rules.drainer
    if drainer is None:
        return _restart(case, look)
    try:
        try:
            _drain(case, look, drainer)
        except RestartRefusedError as error:
            if not case.rules.force:
                tried = _refused(case)
                return Restarted(True, tried, error=error)
            case.around.warn(f"restarting the agent all the same (--force): {error.message}")
        return _restart(case, look)
    finally:
        if look.arn:
            with case.around.shield():
                drainer.activate(look.cluster, look.arn)


def _drain(case: _Case, look: AgentLook, drainer: Drainer) -> None:
    """Drain, and name the tasks that stay.

    Raises:
        RestartRefusedError: it could not be drained, or a restart would lose what stays.

    """
    if not look.arn:
        raise RestartRefusedError(
            "the instance was not drained: the agent does not say which one it is",
            "wait until it has registered, and look at --introspection-url",
        )
    _check_rest(case, look, drainer.drain(look.cluster, look.arn))


def _refused(case: _Case) -> History:
    """Return the history with an attempt that did not touch the agent."""
    return replace(case.history, last=case.around.now(), refused=case.history.refused + 1)


def _check_rest(case: _Case, look: AgentLook, stay: Sequence[str]) -> None:
    """Name the tasks that draining leaves; refuse if the restart would lose them.

    Raises:
        RestartRefusedError: it would.

    """
    if not stay:
        return
    named = f"draining leaves {len(stay)} without a service: {', '.join(stay)}"
    if look.verdict.outcome != SAFE:
        raise RestartRefusedError(
            f"the agent was not restarted, for {named}", "stop them, or --force loses them"
        )
    case.around.warn(f"{named}; they keep running over the restart")


def _restart(case: _Case, before: AgentLook) -> Restarted:
    agent, around = case.agent, case.around
    begun, ticks = around.now(), around.monotonic()
    history = case.history
    around.begin(replace(history, last=begun), Begun(before.incarnation, before.arn))
    around.note(f"restarting the agent; it has {case.rules.timeout:g} s to come back")
    try:
        with around.shield():
            is_done = agent.restart()
    except AgentError as error:
        if agent.look().incarnation == before.incarnation:
            refused = RestartRefusedError(
                f"the agent was not restarted and is as before: {error.message}", error.hint
            )
            return Restarted(True, _refused(case), error=refused)
        return _go_back(case, before, error.message)
    if not is_done:
        said = "the restart of the agent is queued: it follows when cloud-init has finished"
        return Restarted(True, replace(history, last=begun), said)
    return _finish(case, before, ticks)


def _finish(case: _Case, before: AgentLook, ticks: float) -> Restarted:
    """Prove a restart, or go back. `ticks` is when it began (monotonic seconds)."""
    agent, around = case.agent, case.around
    now = around.now()
    try:
        why = _prove(case, before, case.carries)
    except NewInstanceError as error:
        agent.settle()
        if before.verdict.outcome == SAFE:
            return Restarted(False, History(now, 0), error=error)
        said = f"the agent was restarted and runs with this; as expected, {error.message}"
        return Restarted(False, History(now, 0), said, is_done=True)
    if why:
        return _go_back(case, before, why)
    agent.settle()
    seconds = around.monotonic() - ticks
    same = ", the same instance" if before.arn else ""
    said = f"the agent was restarted and runs with this{same} ({seconds:,.1f} s)"
    return Restarted(False, History(now, 0), said, is_done=True)


def _go_back(case: _Case, before: AgentLook, why: str) -> Restarted:
    """Put the content before in its place, and prove that the agent runs with that."""
    history = History(case.around.now(), case.history.failures + 1)
    failed = f"the agent did not come back with the new settings: {why}"
    case.around.warn(f"{failed}; going back")
    try:
        with case.around.shield():
            why_not = case.put_back()
    except EcsauthError as failure:
        why_not = str(failure)
    try:
        with case.around.shield():
            case.agent.bring_back()
        still = _prove(case, before, lambda _: True)
    except AgentError as failure:
        still = failure.message
    file = f"the file stays: {why_not}" if why_not else "the file before is restored"
    after = f"it does not come back with that either: {still}" if still else "the agent runs again"
    error = AgentError(f"{failed}; {file}, and {after}", _LOGS)
    return Restarted(bool(why_not), history, error=error)


def _prove(case: _Case, before: AgentLook, carries: Carries) -> str:
    """Wait until the agent has come back and stays; return why not, empty if it has.

    Raises:
        NewInstanceError: it came back as another container instance.

    """
    around, timeout = case.around, case.rules.timeout
    end = around.monotonic() + timeout
    good: tuple[float, str] | None = None
    nudged = around.monotonic()
    while True:
        look = case.agent.look()
        why = _what_lacks(look, before, carries)
        now = around.monotonic()
        if not look.incarnation and now - nudged >= _NUDGE_SECONDS:
            case.agent.nudge()
            nudged = now
        if why:
            good = None
        elif good is None or good[1] != look.incarnation:
            good = (now, look.incarnation)
        elif now - good[0] >= _STABLE_SECONDS:
            return ""
        if now >= end and (why or now >= end + 2 * _STABLE_SECONDS):
            return f"{why or 'it does not stay up'} ({timeout:g} s)"
        around.sleep(_POLL_SECONDS)


def _what_lacks(look: AgentLook, before: AgentLook, carries: Carries) -> str:
    if not look.incarnation:
        return look.verdict.reason
    if look.incarnation == before.incarnation:
        return "its container was not started again"
    if not carries(look):
        return "its container does not carry them"
    if not look.answers and (before.answers or not before.incarnation):
        return "it does not answer (introspection)"
    if before.arn and not look.arn:
        return "it has not registered"
    if before.arn and look.arn != before.arn:
        raise NewInstanceError(
            f"the agent has registered as a new container instance, {look.arn}; tasks of"
            f" {before.arn}, if it had any, are orphaned",
            "set ECS_DATADIR; deregister the old one (aws ecs deregister-container-instance"
            " --force)",
        )
    return ""
