"""The proof that the agent came back as it was, with what it was to read."""

from __future__ import annotations

from ecsauth.errors import NewInstanceError
from ecsauth.restart.ports import AgentLook, Carries, Case

_STABLE_SECONDS = 2.0
_POLL_SECONDS = 0.5
_NUDGE_SECONDS = 3.0


def prove(case: Case, before: AgentLook, carries: Carries) -> str:
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
        return "its container does not carry the new settings"
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
