"""status: what a target holds, and what the agent runs with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.app.facts import (
    AgentStatus,
    TargetStatus,
    agent_status,
    read_status,
    target_status,
    unreadable_status,
)
from ecsauth.app.metrics import metrics, write_text
from ecsauth.app.reading import read_target
from ecsauth.app.requests import DEFAULT_STATE_DIR, DEFAULT_TARGET, AgentAccess
from ecsauth.engine_auth.layouts import AGENT_JSON
from ecsauth.errors import EcsauthError, UsageError
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports


@dataclass(frozen=True)
class StatusRequest:
    """What to show.

    Attributes:
        target: as typed.
        prometheus: write metrics there instead; None shows the status.
        access: how to reach the agent.
        state_dir: where state is kept between runs.

    """

    target: str = DEFAULT_TARGET
    prometheus: Path | None = None
    access: AgentAccess = field(default_factory=AgentAccess)
    state_dir: Path = DEFAULT_STATE_DIR

    def __post_init__(self) -> None:
        if self.prometheus is not None and self.target.startswith("s3:"):
            raise UsageError(
                "--prometheus needs a file on this host as TARGET", reference="usage-target"
            )


@dataclass(frozen=True)
class StatusResult:
    """The status to show.

    Attributes:
        target: what is in it.
        agent: None for an object in S3, which no agent reads.
        now: Unix seconds.
        is_written: metrics were written instead.

    """

    target: TargetStatus
    agent: AgentStatus | None
    now: float
    is_written: bool = False
    exit_code: int = 0


def status(request: StatusRequest, ports: Ports) -> StatusResult:
    """Gather the status of a target and the agent.

    Raises:
        EcsauthError: the target cannot be read.

    """
    store = ports.edges.state(request.state_dir)
    if request.target.startswith("s3:"):
        reading = read_target(request.target, ports)
        known = store.target(reading.name)
        shown = target_status(reading.name, reading.settings, known, mode=None, written_at=None)
        return StatusResult(shown, None, ports.now())
    file = ports.edges.target(request.target, 0)
    if not isinstance(file, LocalFile):
        raise UsageError(
            "status needs a file or an object in S3 as TARGET", reference="usage-target"
        )
    try:
        shown, settings = read_status(file, store)
    except EcsauthError:
        if request.prometheus is not None:  # do not leave older, better figures there
            agent = agent_status(request.access, ports, store).status
            write_text(request.prometheus, metrics([unreadable_status(file)], agent))
        raise
    by_time = file.layout is AGENT_JSON
    agent = agent_status(request.access, ports, store, shown, settings, by_time=by_time).status
    if request.prometheus is not None:
        write_text(request.prometheus, metrics([shown], agent))
    return StatusResult(shown, agent, ports.now(), is_written=request.prometheus is not None)
