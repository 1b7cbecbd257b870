"""refresh: fetch only what is due, into one or more targets; the command for timers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from ecsauth.agent.platform import check_platform
from ecsauth.agent.restart.policy import NEVER, RestartPolicy
from ecsauth.app.aftercare import Aftercare, take_care
from ecsauth.app.delivery import agent_exit_code, delivery
from ecsauth.app.history import note_run
from ecsauth.app.pipeline import Brought, DueOptions, Flow, TargetResult, bring
from ecsauth.app.requests import (
    DEFAULT_STATE_DIR,
    DEFAULT_TARGET,
    HELPER,
    AgentAccess,
    MergeOptions,
    PublishOptions,
    SourceOptions,
    VerifyPolicy,
    check_targets,
)
from ecsauth.errors import UsageError

if TYPE_CHECKING:
    from ecsauth.agent.restart.ports import AgentOutcome
    from ecsauth.app.ports import Ports
    from ecsauth.app.warm_cache import Warmed
    from ecsauth.sources.source import Source
    from ecsauth.state.store import StateStore
    from ecsauth.targets.target import Target

_LIMIT_SECONDS = 600.0
_AHEAD_SECONDS = 12 * 3600.0
"""Before a restart every token is renewed: none lives longer (Amazon ECR API reference)."""


@dataclass(frozen=True)
class RefreshRequest:
    """What to refresh.

    Attributes:
        sources: as typed.
        targets: as typed; ``helper:`` is the credential helper's cache.
        options: how the sources are queried.
        publishing: how targets in S3 are written.
        merge: how logins are merged.
        force: fetch everything, due or not.
        prune_expired: remove every login that is known to have expired, whatever its source.
        recheck: seconds after which a secret without a known expiry is read again.
        verify: log in to each registry first; None skips that.
        restart: when the agent is restarted.
        access: how to reach the agent.
        lock_timeout: seconds to wait for another writer, and for another run.
        state_dir: where state is kept between runs.
        prometheus: where metrics of the run go; None for nowhere.

    """

    sources: tuple[str, ...]
    targets: tuple[str, ...] = (DEFAULT_TARGET,)
    options: SourceOptions = field(default_factory=SourceOptions)
    publishing: PublishOptions = field(default_factory=PublishOptions)
    merge: MergeOptions = field(default_factory=MergeOptions)
    force: bool = False
    prune_expired: bool = False
    recheck: float = 3600.0
    verify: VerifyPolicy | None = None
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    access: AgentAccess = field(default_factory=AgentAccess)
    lock_timeout: float = 30.0
    state_dir: Path = DEFAULT_STATE_DIR
    prometheus: Path | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError(
                "no SOURCE is given",
                "name one, such as ecr:, or set ECSAUTH_SOURCES",
                reference="usage-no-source",
            )
        check_targets(self.targets)

    @property
    def time_limit(self) -> float:
        """Seconds that one refresh may take; draining, the restart and both proofs add to it."""
        return _LIMIT_SECONDS + (self.restart.drain or 0.0) + 2 * self.restart.timeout


@dataclass(frozen=True)
class RefreshResult:
    """The outcome for the targets, the agent and the cache.

    Attributes:
        brought: the sources that were queried, and the result for each target.
        care: messages about each target, in the same order.
        agent: the outcome for the agent; None if there was nothing to do.
        agent_targets: keys of the targets that the agent reads.
        warmed: the outcome for the helper's cache; None if it is not a target.
        is_dry: nothing was written.

    """

    brought: Brought
    care: tuple[Aftercare, ...]
    agent: AgentOutcome | None = None
    agent_targets: frozenset[str] = frozenset()
    warmed: Warmed | None = None
    is_dry: bool = False

    @property
    def codes(self) -> list[int]:
        """The exit code of each target, in order; the agent's outcome counts for those it reads."""
        agent = agent_exit_code(self.agent)
        return [
            max(item.exit_code, agent if item.target.key in self.agent_targets else 0)
            for item in self.brought.results
        ]

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return max([*self.codes, self.warmed.exit_code if self.warmed else 0])


Show = Callable[[RefreshResult], None]


@dataclass(frozen=True)
class Ends:
    """The sources and targets of a run; nothing is queried or opened yet."""

    sources: Sequence[Source]
    targets: Sequence[Target]
    warms: bool = False


def refresh(request: RefreshRequest, ports: Ports, show: Show = lambda _: None) -> RefreshResult:
    """Bring every target up to date.

    Args:
        request: what to refresh.
        ports: the outside.
        show: called with the outcome for the targets, before the agent is touched.

    Raises:
        EcsauthError: nothing was written.

    """
    check_platform(request.targets)
    return run(request, make_ends(request, ports), ports, show)


def make_ends(request: RefreshRequest, ports: Ports) -> Ends:
    """Make the sources and targets that a request names.

    Raises:
        UsageError: one of them is invalid.

    """
    sources = ports.sources(request.sources, request.options)
    names = [text for text in request.targets if text != HELPER]
    targets = [ports.edges.target(text, request.lock_timeout, request.publishing) for text in names]
    if len({item.key for item in targets}) != len(targets):
        raise UsageError("a TARGET is given twice", reference="usage-target")
    warms = HELPER in request.targets
    if warms:
        from ecsauth.app.warm_cache import check_sources  # loads the AWS SDK

        check_sources(sources)
    return Ends(sources, targets, warms)


def run(request: RefreshRequest, ends: Ends, ports: Ports, show: Show) -> RefreshResult:
    """Refresh the targets of a run, and restart the agent if that is due."""
    store = ports.edges.state(request.state_dir)
    is_dry = request.merge.dry_run
    policy = replace(request.restart, when=NEVER) if is_dry else request.restart
    due = DueOptions(request.force, request.prune_expired, request.recheck, ports.chance())
    verify = ports.verify(request.verify)
    with store.run_lock(request.lock_timeout):
        now = ports.now()
        with delivery(
            [] if is_dry else ends.targets,
            policy,
            request.access,
            ports,
            store,
            backs_off=True,
            has_other_work=ends.warms,
        ) as agent:
            if agent.renews_first:  # so that one restart does for all
                due = replace(due, ahead=_AHEAD_SECONDS)
            flow = Flow(request.merge, due, verify)
            left_alone = agent.files if agent.refusal else []
            targets = [item for item in ends.targets if item not in left_alone]
            done = bring(ends.sources, targets, flow, lambda key: store.target(key).leases, now=now)
            refused = [TargetResult(item, error=agent.refusal) for item in left_alone]
            done = replace(done, results=(*refused, *done.results))
            care = [take_care(item, request.restart, dry_run=is_dry) for item in done.results]
            result = RefreshResult(done, tuple(care), is_dry=is_dry)
            show(result)
            if not is_dry:
                _note(store, result, now, is_over=False)
        read = frozenset(item.key for item in agent.files if not agent.refusal)
        result = replace(result, agent=agent.outcome, agent_targets=read)
        if not is_dry:
            _note(store, result, now, is_over=True)
            _checkpoint(store, ports)
        if ends.warms:
            # Loaded only for this target: it needs the token cache.
            from ecsauth.app.warm_cache import warm

            # Last: nothing waits for it, and AWS may be slow.
            warmed = warm(ends.sources, ports, force=request.force, dry_run=is_dry)
            result = replace(result, warmed=warmed)
    if request.prometheus is not None:
        from ecsauth.app.metrics import write_metrics  # observes the agent

        write_metrics(ends.targets, request.prometheus, request.access, store, ports)
    return result


def _note(store: StateStore, result: RefreshResult, now: float, *, is_over: bool) -> None:
    """Record how the run went; before it is over, only for the targets that were written."""
    for item, code in zip(result.brought.results, result.codes):
        if is_over or item.outcome.written:
            note_run(store, item, "", code if is_over else None, now)


def _checkpoint(store: StateStore, ports: Ports) -> None:
    if not store.checkpoint():
        ports.warn(
            f"{store.directory} cannot be written (or not safely, by root), so every run fetches"
            " everything again",
            "choose another directory with --state-dir",
        )
