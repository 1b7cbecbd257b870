"""migrate: copy the logins of a docker login file into the agent's configuration, once."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from ecsauth.agent.platform import check_platform
from ecsauth.agent.restart.policy import NEVER, RestartPolicy
from ecsauth.app.aftercare import Aftercare, take_care
from ecsauth.app.delivery import agent_exit_code, delivery
from ecsauth.app.history import noted_run
from ecsauth.app.pipeline import Flow, TargetResult, bring
from ecsauth.app.requests import (
    DEFAULT_STATE_DIR,
    DEFAULT_TARGET,
    AgentAccess,
    MergeOptions,
    SourceOptions,
    VerifyPolicy,
)
from ecsauth.errors import UsageError
from ecsauth.host.accounts import account_of
from ecsauth.sources.default_file import find_login_file

if TYPE_CHECKING:
    from ecsauth.agent.restart.ports import AgentOutcome
    from ecsauth.app.ports import Ports


@dataclass(frozen=True)
class MigrateRequest:
    """What to migrate, and where to.

    Attributes:
        source: as typed; empty for docker's own login file.
        target: as typed.
        options: how the source is queried.
        merge: how its logins are merged.
        verify: log in to each registry first; None skips that.
        restart: when the agent is restarted.
        access: how to reach the agent.
        lock_timeout: seconds to wait for another writer.
        state_dir: where state is kept between runs.

    """

    source: str = ""
    target: str = DEFAULT_TARGET
    options: SourceOptions = field(default_factory=SourceOptions)
    merge: MergeOptions = field(default_factory=MergeOptions)
    verify: VerifyPolicy | None = None
    restart: RestartPolicy = field(default_factory=lambda: RestartPolicy(when=NEVER))
    access: AgentAccess = field(default_factory=AgentAccess)
    lock_timeout: float = 30.0
    state_dir: Path = DEFAULT_STATE_DIR

    def __post_init__(self) -> None:
        if self.target.startswith("s3:"):
            raise UsageError(
                "migrate writes files on this host",
                "use ecsauth publish for S3",
                reference="usage-target",
            )


@dataclass(frozen=True)
class MigrateResult:
    """The outcome for the target and for the agent.

    Attributes:
        target: what was written.
        care: messages about the file.
        agent: the outcome for the agent; None if there was nothing to do.

    """

    target: TargetResult
    care: Aftercare = field(default_factory=Aftercare)
    agent: AgentOutcome | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return max(self.target.exit_code, agent_exit_code(self.agent))


def migrate(
    request: MigrateRequest,
    ports: Ports,
    show: Callable[[MigrateResult], None] = lambda _: None,
) -> MigrateResult:
    """Copy the logins into the target.

    Args:
        request: what to migrate, and where to.
        ports: the outside.
        show: called with what was written, before the agent is touched.

    Raises:
        EcsauthError: nothing was written.

    """
    check_platform([request.target])
    source = ports.edges.source(request.source or _default_login_file(ports), request.options)
    target = ports.edges.target(request.target, request.lock_timeout)
    flow = Flow(request.merge, verify=ports.verify(request.verify))
    store = ports.edges.state(request.state_dir)
    is_dry, policy = request.merge.dry_run, request.restart
    lock = store.run_lock(request.lock_timeout) if policy.when != NEVER else nullcontext()
    begun = TargetResult(target)
    with lock, noted_run(store, begun, source.name, ports, dry_run=is_dry) as note:
        with delivery([] if is_dry else [target], policy, request.access, ports, store) as agent:
            note.result = bring([source], [target], flow, now=ports.now()).results[0]
            care = take_care(note.result, policy, dry_run=is_dry)
            result = MigrateResult(note.result, care)
            show(result)
        result = replace(result, agent=agent.outcome)
        note.code = result.exit_code
    return result


def _default_login_file(ports: Ports) -> str:
    found = find_login_file(ports.environment, account_of)
    ports.note(found.note)
    return f"docker-config:{found.path}"
