"""publish: write the two settings into an env file in S3, for a fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.app.history import noted_run
from ecsauth.app.pipeline import Flow, TargetResult, bring
from ecsauth.app.requests import (
    DEFAULT_STATE_DIR,
    S3_SCHEME,
    MergeOptions,
    PublishOptions,
    SourceOptions,
    VerifyPolicy,
)
from ecsauth.errors import UsageError

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports


@dataclass(frozen=True)
class PublishRequest:
    """What to publish, and where to.

    Attributes:
        sources: as typed.
        url: ``s3://BUCKET/KEY``.
        options: how the sources are queried.
        publishing: how the object is written.
        merge: how the logins are merged.
        verify: log in to each registry first; None skips that.
        state_dir: where state is kept between runs.

    """

    sources: tuple[str, ...]
    url: str
    options: SourceOptions = field(default_factory=SourceOptions)
    publishing: PublishOptions = field(default_factory=PublishOptions)
    merge: MergeOptions = field(default_factory=MergeOptions)
    verify: VerifyPolicy | None = None
    state_dir: Path = DEFAULT_STATE_DIR

    def __post_init__(self) -> None:
        if not self.url.startswith(S3_SCHEME):
            raise UsageError(
                "the last argument must be s3://BUCKET/KEY, where to publish",
                reference="usage-target",
            )
        if not self.sources:
            raise UsageError(
                "no SOURCE is given",
                "name one, such as ecr:, or set ECSAUTH_SOURCES",
                reference="usage-no-source",
            )


def publish(request: PublishRequest, ports: Ports) -> TargetResult:
    """Query every source and write the object; failures are in the result."""
    sources = ports.sources(request.sources, request.options)
    target = ports.edges.target(request.url, 0, request.publishing)
    flow = Flow(request.merge, verify=ports.verify(request.verify))
    store, names = ports.edges.state(request.state_dir), " ".join(request.sources)
    begun = TargetResult(target)
    with noted_run(store, begun, names, ports, dry_run=request.merge.dry_run) as note:
        note.result = bring(sources, [target], flow, now=ports.now()).results[0]
        note.code = note.result.exit_code
    return note.result
