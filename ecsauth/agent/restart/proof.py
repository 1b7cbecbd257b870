"""The proof that the agent came back as the same instance, with the new settings."""

from __future__ import annotations

from ecsauth.agent.restart.ports import Case, IsInSync, Observation
from ecsauth.errors import NewInstanceError

_STABLE_SECONDS = 2.0
_POLL_SECONDS = 0.5
_START_SECONDS = 3.0


def prove(case: Case, before: Observation, is_in_sync: IsInSync) -> tuple[str, Observation]:
    """Wait until the agent has come back and stays.

    Returns:
        Why it has not, empty if it has; and how it was seen last.

    Raises:
        NewInstanceError: it came back as another container instance.

    """
    around, timeout = case.around, case.policy.timeout
    end = around.monotonic() + timeout
    good: tuple[float, str] | None = None
    unblocked = around.monotonic()
    while True:
        seen = case.agent.observe()
        why = _what_lacks(seen, before, is_in_sync)
        now = around.monotonic()
        if not seen.incarnation and now - unblocked >= _START_SECONDS:
            case.agent.start_if_blocked()
            unblocked = now
        if why:
            good = None
        elif good is None or good[1] != seen.incarnation:
            good = (now, seen.incarnation)
        elif now - good[0] >= _STABLE_SECONDS:
            return "", seen
        if now >= end and (why or now >= end + 2 * _STABLE_SECONDS):
            return f"{why or 'it does not stay up'} ({timeout:g} s)", seen
        around.sleep(_POLL_SECONDS)


def _what_lacks(seen: Observation, before: Observation, is_in_sync: IsInSync) -> str:
    if not seen.incarnation:
        return seen.verdict.reason
    if seen.incarnation == before.incarnation:
        return "its container was not started again"
    if not is_in_sync(seen):
        return "its container does not carry the new settings"
    if not seen.answers and (before.answers or not before.incarnation):
        return "it does not answer (introspection)"
    if before.arn and not seen.arn:
        return "it has not registered"
    if before.arn and seen.arn != before.arn:
        raise NewInstanceError(
            f"the agent has registered as a new container instance, {seen.arn}; tasks of"
            f" {before.arn}, if it had any, are orphaned",
            "set ECS_DATADIR; deregister the old one (aws ecs deregister-container-instance"
            " --force)",
        )
    return ""
