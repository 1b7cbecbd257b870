"""When the agent is restarted, and with which precautions.

The agent reads its settings only when it starts, and a careless restart orphans every task on
the instance. AWS's procedure: check for ECS_DATADIR in ``docker inspect ecs-agent``, and stop the
tasks first if it is missing (Amazon ECS Developer Guide, "Using non-AWS container images").
"""

from __future__ import annotations

from dataclasses import dataclass

from ecsauth.errors import UsageError

AUTO, ALWAYS, NEVER = "auto", "always", "never"
POLICIES = (AUTO, ALWAYS, NEVER)
"""Values of ``--restart``; also of `RestartPolicy.when`."""

LATE, AT_ONCE = "late", "at-once"
"""Values of ``--restart-after-renewal``, and of `RestartPolicy.renewal`."""

AGENT_FILES, ANY_FILE = "agent-files", "any-file"
"""Values of `RestartPolicy.scope`."""

MIN_INTERVAL = 300.0
"""Seconds between two restarts, unless told otherwise."""


@dataclass(frozen=True)
class RestartPolicy:
    """When the agent is restarted.

    Attributes:
        scope: whose change counts: ``agent-files``, the files that the agent reads by default, or
            ``any-file``, every local target.
        when: ``auto``: if the agent runs with something else and no task would be lost; ``always``:
            even if it runs with these settings already; ``never``: only say what to run.
        force: restart even if tasks may be lost, and as often as asked.
        timeout: seconds that the agent has to come back.
        min_interval: seconds between two restarts; each failure doubles it.
        renewal: ``late``: a mere renewal of tokens waits until a quarter to a fifth of the life of
            what the agent runs with is left; ``at-once``: it does not wait.
        drain: seconds for draining the instance first; None does not drain.

    """

    scope: str = AGENT_FILES
    when: str = AUTO
    force: bool = False
    timeout: float = 60.0
    min_interval: float = MIN_INTERVAL
    drain: float | None = None
    renewal: str = AT_ONCE

    def __post_init__(self) -> None:
        if self.when not in POLICIES or self.scope not in (AGENT_FILES, ANY_FILE):
            raise UsageError("a restart policy is auto, always or never")
        if self.renewal not in (LATE, AT_ONCE):
            raise UsageError("a renewal restarts the agent late or at-once")
        if self.timeout <= 0 or self.min_interval < 0 or (self.drain or 1) <= 0:
            raise UsageError("a restart needs time", "give --timeout and --drain-timeout seconds")


def scope_and_when(option: str, *, is_timed: bool) -> tuple[str, str]:
    """Return what ``--restart`` means as `RestartPolicy.scope` and `RestartPolicy.when`.

    ``always`` covers any file; but on a timer it restarts only for a change, not at every run.
    """
    if option != ALWAYS:
        return AGENT_FILES, option
    return ANY_FILE, AUTO if is_timed else ALWAYS
