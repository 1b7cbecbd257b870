"""fleet refresh: run ecsauth refresh on many instances, through SSM Run Command."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable

from ecsauth.aws.session import Aws, Identity
from ecsauth.errors import SourceError, UsageError
from ecsauth.fleet.rollout import Rollout
from ecsauth.fleet.ssm import Group, RunCommand, parse_tags
from ecsauth.fleet.values import (
    Instance,
    Limit,
    Limits,
    Row,
    parse_limit,
)
from ecsauth.fleet.waves import RolloutPorts, run_rollout

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports

Watch = Callable[
    [Rollout],
    AbstractContextManager["tuple[Callable[[Sequence[Row]], None], Callable[[str], None]]"],
]
"""Shows a rollout in the ``with`` block; yields callbacks for changed rows and for warnings."""


@dataclass(frozen=True)
class FleetRequest:
    """Which instances, and how many at a time.

    Attributes:
        cluster: name or ARN of an ECS cluster; empty for tags.
        tags: ``KEY=VALUE``, as typed.
        max_concurrency: on how many instances at the same time: a number, or a percentage.
        max_errors: stop after more failures than that.
        document: name of the SSM document.
        region: empty for the AWS SDK's.
        profile, role_arn: of the AWS SDK; empty for its defaults.
        timeout: seconds for all of it.
        dry_run: send nothing.

    """

    cluster: str = ""
    tags: tuple[str, ...] = ()
    max_concurrency: str = "10%"
    max_errors: str = "10%"
    document: str = "ecsauth-refresh"
    region: str = ""
    profile: str = ""
    role_arn: str = ""
    timeout: float = 900.0
    dry_run: bool = False
    group: Group = field(init=False)
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        if self.cluster and self.tags:
            raise UsageError(
                "--cluster and --tag are both given",
                "name one of them",
                reference="usage-fleet-selection",
            )
        if not self.cluster and not self.tags:
            raise UsageError(
                "no instances are selected",
                "give --cluster CLUSTER or --tag KEY=VALUE",
                reference="usage-fleet-selection",
            )
        object.__setattr__(self, "group", Group(self.cluster, parse_tags(self.tags)))
        limits = Limits(
            _limit("--max-concurrency", self.max_concurrency, 1),
            _limit("--max-errors", self.max_errors, 0),
        )
        object.__setattr__(self, "limits", limits)


@dataclass(frozen=True)
class FleetResult:
    """The outcome on each instance.

    Attributes:
        region: of the instances.
        rollout: where each instance stands.
        found: the instances.
        is_dry: nothing was sent.

    """

    region: str
    rollout: Rollout
    found: tuple[Instance, ...]
    is_dry: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        if self.is_dry:
            return SourceError.exit_code if any(item.problem for item in self.found) else 0
        return 0 if self.rollout.all_done() else SourceError.exit_code


def refresh_fleet(
    request: FleetRequest,
    ports: Ports,
    watch: Watch = lambda _: nullcontext((lambda _: None, lambda _: None)),
    show: Callable[[FleetResult], None] = lambda _: None,
) -> FleetResult:
    """Run the document on the instances, and wait until all have ended.

    Args:
        request: which instances.
        ports: the outside.
        watch: shows the progress of the rollout.
        show: called with the result, even if the run ends with an exception.

    Raises:
        EcsauthError: AWS refused.

    """
    aws, identity = Aws(ports.environment), Identity(request.profile, request.role_arn)
    runner = RunCommand(
        aws, identity, request.region, request.group, request.document, request.timeout
    )
    found = _find(runner, request.group)
    rollout = Rollout(found, request.limits, is_by_tag=not request.group.cluster)
    result = FleetResult(runner.region, rollout, tuple(found), request.dry_run)
    try:
        if not request.dry_run:
            with watch(rollout) as (on_change, warn):
                around = RolloutPorts(
                    ports.monotonic, ports.sleep, on_change, warn, ports.edges.shield
                )
                run_rollout(rollout, runner, request.timeout, around)
    except BaseException:
        if rollout.commands:
            show(result)
        raise
    show(result)
    return result


def _limit(name: str, text: str, least: int) -> Limit:
    try:
        return parse_limit(text, least=least)
    except UsageError as error:
        raise error.as_kind(UsageError, prefix=f"{name}: ") from None


def _find(runner: RunCommand, group: Group) -> list[Instance]:
    found = runner.find()
    if not found and not group.cluster:
        raise SourceError(
            f"no instance with {group} is managed by SSM in {runner.region}",
            "check the tag and --region; the instances need the SSM agent and"
            " AmazonSSMManagedInstanceCore",
            reference="fleet-no-instances",
        )
    return found
