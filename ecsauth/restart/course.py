"""The one use case: decide, restart, prove, or go back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ecsauth.datadir import NOT_RUNNING, SAFE, UNKNOWN, RestartVerdict
from ecsauth.errors import AgentError, EcsauthError, NewInstanceError, RestartRefusedError
from ecsauth.restart import ALWAYS, NEVER
from ecsauth.restart.ports import (
    Agent,
    AgentLook,
    Begun,
    Carries,
    Case,
    Drainer,
    History,
    PutBack,
    Restarted,
    Rules,
    Surrounding,
)
from ecsauth.restart.proof import prove

_MAX_DOUBLINGS = 6
_LOGS = "look at journalctl -u ecs and /var/log/ecs/ecs-agent.log"


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
    case = Case(agent, carries, put_back, rules, history, around)
    if rules.policy != NEVER:
        try:
            _recover(case)
        except RestartRefusedError as error:
            return Restarted(True, history, error=error)
    look = agent.look()
    if begun is not None and rules.policy != NEVER and look.incarnation != begun.incarnation:
        return _resume(case, begun)
    return _decide(case, look)


def _recover(case: Case) -> None:
    """Mend what a restart that was cut off left.

    Raises:
        RestartRefusedError: that cannot be done.

    """
    try:
        with case.around.shield():
            mended = case.agent.recover()
    except AgentError as error:
        raise RestartRefusedError(error.message, error.hint) from error
    if mended:
        case.around.warn(mended)


def _decide(case: Case, look: AgentLook) -> Restarted:
    """Restart the agent unless there is a reason not to, which is said."""
    agent, carries, rules = case.agent, case.carries, case.rules
    history, around = case.history, case.around
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


def _resume(case: Case, begun: Begun) -> Restarted:
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
            f"restarting the agent all the same (forced), though {_tasks(look)} may be lost:"
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


def _drained(case: Case, look: AgentLook) -> Restarted:
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
            case.around.warn(f"restarting the agent all the same (forced): {error.message}")
        return _restart(case, look)
    finally:
        if look.arn:
            with case.around.shield():
                drainer.activate(look.cluster, look.arn)


def _drain(case: Case, look: AgentLook, drainer: Drainer) -> None:
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


def _refused(case: Case) -> History:
    """Return the history with an attempt that did not touch the agent."""
    return replace(case.history, last=case.around.now(), refused=case.history.refused + 1)


def _check_rest(case: Case, look: AgentLook, stay: Sequence[str]) -> None:
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


def _restart(case: Case, before: AgentLook) -> Restarted:
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


def _finish(case: Case, before: AgentLook, ticks: float) -> Restarted:
    """Prove a restart, or go back. `ticks` is when it began (monotonic seconds)."""
    agent, around = case.agent, case.around
    now = around.now()
    try:
        why = prove(case, before, case.carries)
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


def _go_back(case: Case, before: AgentLook, why: str) -> Restarted:
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
        still = prove(case, before, lambda _: True)
    except AgentError as failure:
        still = failure.message
    file = f"the file stays: {why_not}" if why_not else "the file before is restored"
    after = f"it does not come back with that either: {still}" if still else "the agent runs again"
    error = AgentError(f"{failed}; {file}, and {after}", _LOGS)
    return Restarted(bool(why_not), history, error=error)
