"""Decide, restart, prove, or go back to the file before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ecsauth.agent.datadir import NOT_RUNNING, SAFE, UNKNOWN, RestartVerdict
from ecsauth.agent.restart.policy import ALWAYS, NEVER, RestartPolicy
from ecsauth.agent.restart.ports import (
    Agent,
    AgentOutcome,
    Case,
    Drainer,
    IsInSync,
    Observation,
    RestartHistory,
    RestartPorts,
    Restore,
    UnprovedRestart,
)
from ecsauth.agent.restart.proof import prove
from ecsauth.errors import AgentError, EcsauthError, NewInstanceError, RestartRefusedError

_MAX_DOUBLINGS = 6
_LOGS = "check journalctl -u ecs and /var/log/ecs/ecs-agent.log"


def make_agent_read(
    agent: Agent,
    is_in_sync: IsInSync,
    restore: Restore,
    policy: RestartPolicy,
    history: RestartHistory,
    around: RestartPorts,
    begun: UnprovedRestart | None = None,
) -> AgentOutcome:
    """Restart the agent if the policy says so, prove that it came back, and go back if it did not.

    Args:
        agent: of this host.
        is_in_sync: whether it runs with what the target holds.
        restore: puts the target's previous content back in its place.
        policy: when, and with how much care.
        history: of restarts.
        around: clocks, and a way to speak.
        begun: a restart that has not been proved yet; None if there is none.

    """
    case = Case(agent, is_in_sync, restore, policy, history, around)
    if policy.when != NEVER:
        try:
            _repair(case)
        except RestartRefusedError as error:
            return AgentOutcome(True, history, error=error)
    seen = agent.observe()
    if begun is not None and policy.when != NEVER and seen.incarnation != begun.incarnation:
        return _resume(case, begun)
    return _decide(case, seen)


def _repair(case: Case) -> None:
    """Finish or undo what an interrupted restart left.

    Raises:
        RestartRefusedError: that failed.

    """
    try:
        with case.around.shield():
            repaired = case.agent.repair()
    except AgentError as error:
        raise error.as_kind(RestartRefusedError) from error
    if repaired:
        case.around.warn(repaired)


def _decide(case: Case, seen: Observation) -> AgentOutcome:
    """Restart the agent unless something speaks against it; the outcome names the reason."""
    agent, policy = case.agent, case.policy
    history, around = case.history, case.around
    if policy.when != ALWAYS and case.is_in_sync(seen):
        if seen.answers and policy.when != NEVER:
            agent.discard_rollback()
        return AgentOutcome(False, history, seen=seen)
    if policy.when == NEVER:
        said = f"the agent reads this only when it starts: {agent.command}"
        return AgentOutcome(True, history, said)
    if seen.verdict.outcome == NOT_RUNNING and policy.when != ALWAYS:
        said = f"the agent does not run ({seen.verdict.reason}); it reads this when it starts"
        return AgentOutcome(True, history, said)
    if not around.has_memory and seen.started_at is not None:
        history = replace(history, last=max(history.last or 0.0, seen.started_at))
    if wait := seconds_to_wait(policy, history, around.now()):
        said = (
            "the agent was restarted a moment ago and has yet to read this: the next restart is"
            f" allowed in {wait:,.0f} s"
        )
        return AgentOutcome(True, history, said)
    if around.may_wait and seen.starting_tasks and not policy.force:
        said = (
            f"{_tasks(seen.starting_tasks)} starting: the agent is restarted by a later run, when"
            " they are up"
        )
        return AgentOutcome(True, history, said)
    try:
        agent.check()  # first: not even force helps an agent that could not start
        _check_loss(seen, policy, around)
    except RestartRefusedError as error:
        return AgentOutcome(True, history, error=error)
    return _drained(case, seen)


def _resume(case: Case, begun: UnprovedRestart) -> AgentOutcome:
    """Prove a restart that an earlier run began, or go back."""
    before = Observation(
        RestartVerdict(SAFE, ""), answers=True, incarnation=begun.incarnation, arn=begun.arn
    )
    case.around.note("the last restart of the agent is not proved yet: proving it now")
    return _finish(case, before, case.around.monotonic())


def is_refused(seen: Observation) -> bool:
    """Return whether a restart without any options would be refused."""
    if seen.incarnation and seen.changed:
        return True
    if seen.verdict.outcome in (SAFE, NOT_RUNNING):
        return False
    return seen.verdict.outcome == UNKNOWN or seen.running_tasks != 0


def seconds_to_wait(policy: RestartPolicy, history: RestartHistory, now: float) -> float:
    """Return the seconds until the next restart is allowed; a clock set back does not count."""
    if history.last is None or policy.force or history.last > now:
        return 0.0
    doublings = min(history.failures + history.refused, _MAX_DOUBLINGS)
    interval = policy.min_interval * 2.0**doublings
    return max(0.0, history.last + interval - now)


def _check_loss(seen: Observation, policy: RestartPolicy, around: RestartPorts) -> None:
    """Refuse a restart that could lose tasks, or bring more than the new credentials.

    Raises:
        RestartRefusedError: says what would be lost and what to do.

    """
    verdict = seen.verdict
    is_up = verdict.outcome not in (NOT_RUNNING, UNKNOWN)
    if is_up and not seen.answers and not policy.force:
        raise RestartRefusedError(
            "not restarting the agent: introspection does not answer, so success could not be"
            " confirmed",
            "check --introspection-url; sudo ecsauth agent restart --force restarts it unproved",
            reference="restart-unprovable",
        )
    if not is_refused(seen):
        return
    is_unsafe = verdict.outcome not in (SAFE, NOT_RUNNING)
    reason = verdict.reason
    if seen.changed:
        reason = f"its next start would also bring {', '.join(seen.changed)} as in the files now"
        reason = f"{verdict.reason}; {reason}" if is_unsafe else reason
    elif verdict.outcome != UNKNOWN and around.drainer is not None:
        return
    if policy.force:
        around.warn(f"restarting the agent (forced), {_risk(seen, is_unsafe)}: {reason}")
        return
    hint = "sudo ecsauth agent restart --drain moves tasks of services away first"
    reference = "restart-unsafe"
    if verdict.outcome == UNKNOWN:
        hint = "check that Docker is up and that this runs as root"
        reference = "restart-risk-unknown"
    elif seen.changed:
        hint = (
            "undo the edit, or restart the agent at a time of your choice with sudo ecsauth agent"
            " restart --force"
        )
        reference = "restart-brings-more"
    raise RestartRefusedError(
        f"not restarting the agent, {_risk(seen, is_unsafe)}: {reason}", hint, reference=reference
    )


def _risk(seen: Observation, is_unsafe: bool) -> str:
    if not is_unsafe:
        return "whose configuration has changed in other ways too"
    if seen.running_tasks is None:
        return "which could lose its tasks"
    return f"which could lose {_tasks(seen.running_tasks, 'running ')}"


def _tasks(count: int, kind: str = "") -> str:
    if kind:
        return f"{count} {kind}task{'' if count == 1 else 's'}"
    return f"{count} task{' is' if count == 1 else 's are'}"


def _drained(case: Case, seen: Observation) -> AgentOutcome:
    """Restart the agent; if wanted, drain the instance before and activate it afterwards."""
    drainer = case.around.drainer
    if drainer is None:
        return _restart(case, seen)
    try:
        try:
            _drain(case, seen, drainer)
        except RestartRefusedError as error:
            if not case.policy.force:
                return AgentOutcome(True, _refused(case), error=error)
            case.around.warn(f"restarting the agent all the same (forced): {error.message}")
        return _restart(case, seen)
    finally:
        if seen.arn:
            with case.around.shield():
                drainer.activate(seen.cluster, seen.arn)


def _drain(case: Case, seen: Observation, drainer: Drainer) -> None:
    """Drain, and name the tasks that stay.

    Raises:
        RestartRefusedError: draining failed, or a restart would lose what stays.

    """
    if not seen.arn:
        raise RestartRefusedError(
            "the instance was not drained: the agent does not say which instance it is",
            "wait until it has registered, and check --introspection-url",
            reference="drain-unknown-instance",
        )
    _check_rest(case, seen, drainer.drain(seen.cluster, seen.arn))


def _refused(case: Case) -> RestartHistory:
    """Return the history with an attempt that did not touch the agent."""
    return replace(case.history, last=case.around.now(), refused=case.history.refused + 1)


def _check_rest(case: Case, seen: Observation, stay: Sequence[str]) -> None:
    """Name the tasks that draining leaves; refuse if the restart would lose them.

    Raises:
        RestartRefusedError: it would.

    """
    if not stay:
        return
    named = f"draining leaves {len(stay)} without a service: {', '.join(stay)}"
    if seen.verdict.outcome != SAFE:
        raise RestartRefusedError(
            f"not restarting the agent: {named}",
            "stop them first; --force loses them",
            reference="drain-tasks-stay",
        )
    case.around.warn(f"{named}; they keep running over the restart")


def _restart(case: Case, before: Observation) -> AgentOutcome:
    agent, around = case.agent, case.around
    begun, ticks = around.now(), around.monotonic()
    history = case.history
    around.begin(replace(history, last=begun), UnprovedRestart(before.incarnation, before.arn))
    around.note(f"restarting the agent; it has {case.policy.timeout:g} s to come back")
    try:
        with around.shield():
            is_done = agent.restart()
    except AgentError as error:
        if agent.observe().incarnation != before.incarnation:
            return _go_back(case, before, error.message)
        if agent.is_supervised():
            failed = "the agent was not restarted and runs as before"
            refused = error.as_kind(RestartRefusedError, prefix=f"{failed}: ")
        else:
            refused = error.as_kind(
                RestartRefusedError,
                prefix="the agent was not restarted; it still runs, but its service has failed and"
                " nothing supervises it: ",
                hint="fix the cause, then run sudo ecsauth agent restart --force",
            )
        return AgentOutcome(True, _refused(case), error=refused)
    if not is_done:
        said = "the restart of the agent is queued: it follows when cloud-init has finished"
        return AgentOutcome(True, replace(history, last=begun), said, is_queued=True)
    return _finish(case, before, ticks)


def _finish(case: Case, before: Observation, ticks: float) -> AgentOutcome:
    """Prove a restart, or go back. `ticks` is when it began (monotonic seconds)."""
    agent, around = case.agent, case.around
    now = around.now()
    try:
        why, seen = prove(case, before, case.is_in_sync)
    except NewInstanceError as error:
        agent.discard_rollback()
        if before.verdict.outcome == SAFE:
            return AgentOutcome(False, RestartHistory(now, 0), error=error)
        said = f"the agent was restarted and runs with this; as expected, {error.message}"
        return AgentOutcome(False, RestartHistory(now, 0), said, is_done=True)
    if why:
        return _go_back(case, before, why)
    agent.discard_rollback()
    seconds = around.monotonic() - ticks
    same = ", the same instance" if before.arn else ""
    said = f"the agent was restarted and runs with this{same} ({seconds:,.1f} s)"
    return AgentOutcome(False, RestartHistory(now, 0), said, is_done=True, seen=seen)


def _go_back(case: Case, before: Observation, why: str) -> AgentOutcome:
    """Put the previous content back in its place, and prove that the agent runs with that."""
    history = RestartHistory(case.around.now(), case.history.failures + 1)
    failed = f"the agent did not come back with the new settings: {why}"
    case.around.warn(f"{failed}; going back")
    try:
        with case.around.shield():
            why_not = case.restore()
    except EcsauthError as failure:
        why_not = str(failure)
    try:
        with case.around.shield():
            case.agent.roll_back()
        still, _ = prove(case, before, lambda _: True)
    except AgentError as failure:
        still = failure.message
    file = f"the file stays: {why_not}" if why_not else "the file before is restored"
    after = f"it does not come back with that either: {still}" if still else "the agent runs again"
    error = AgentError(f"{failed}; {file}, and {after}", _LOGS)
    return AgentOutcome(bool(why_not), history, error=error, is_down=bool(still))
