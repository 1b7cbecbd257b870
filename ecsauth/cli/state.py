"""The command status."""

from __future__ import annotations

import io
import os
import stat
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from ecsauth.agent.host import HostAgent
from ecsauth.agent.service import run_program
from ecsauth.cli import host_options, options
from ecsauth.cli.console import print_json, print_lines
from ecsauth.cli.screen import plain_lines, print_screen
from ecsauth.datadir import NOT_RUNNING
from ecsauth.engine_auth import EngineAuth
from ecsauth.errors import EcsauthError, TargetError, UsageError
from ecsauth.files import is_directory, locate, write_atomic
from ecsauth.files import read_state as read_file
from ecsauth.layout import AGENT_JSON
from ecsauth.locks import locked
from ecsauth.restart.ports import AgentLook
from ecsauth.state import read_agent_state, read_state
from ecsauth.status import (
    METRICS_START,
    AgentStatus,
    TargetStatus,
    is_older,
    is_pending,
    metrics,
    target_status,
)
from ecsauth.targets import DEFAULT_TARGET, parse_target
from ecsauth.targets.local_file import LocalFile
from ecsauth.targets.reading import read_target

_METRICS_LOCK_SECONDS = 5.0


@click.command(short_help="Show the logins, their life left, the agent and what it runs with.")
@click.argument("target", required=False, default=DEFAULT_TARGET)
@options.as_json
@options.option(
    "--prometheus",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write metrics for node_exporter's textfile collector there instead (mode 0644).",
)
@host_options.introspection_url
@host_options.state_dir
@options.common
def status(
    target: str, as_json: bool, prometheus: Path | None, introspection_url: str, state_dir: Path
) -> int:
    """Show on one screen what TARGET holds and what the agent runs with.

    Per registry: user, kind of login, source, life left, when a new token is due. The agent:
    version, cluster, tasks, whether it runs with the logins that the file has, and whether a
    restart would keep its tasks (ECS_DATADIR). No password is ever shown.
    """
    if target.startswith("s3:"):
        return _status_of_object(target, as_json, prometheus, state_dir)
    parsed = parse_target(target, 0, io.BytesIO())
    if not isinstance(parsed, LocalFile):
        raise UsageError("status needs a file or an object in S3")
    try:
        shown, settings = read_status(parsed, state_dir)
    except EcsauthError:
        if prometheus is not None:  # nothing old and green may stay there
            unreadable = target_status(_name(parsed), None, {}, mode=None, written_at=None)
            _write_metrics(prometheus, metrics([unreadable], _agent(introspection_url, state_dir)))
        raise
    by_time = parsed.layout is AGENT_JSON
    agent = _agent(introspection_url, state_dir, shown, settings, by_time=by_time)
    now = time.time()
    if prometheus is not None:
        _write_metrics(prometheus, metrics([shown], agent))
    else:
        _show(shown, agent, as_json, now)
    return 0


def _show(shown: TargetStatus, agent: AgentStatus | None, as_json: bool, now: float) -> None:
    if as_json:
        print_json({"target": asdict(shown), "agent": asdict(agent) if agent else None})
    elif _is_rich_terminal():
        from rich.console import Console

        print_screen(Console(), shown, agent, now)
    else:
        print_lines(plain_lines(shown, agent, now), sys.stdout)


def _status_of_object(target: str, as_json: bool, prometheus: Path | None, state_dir: Path) -> int:
    """Show what is in an object; no agent reads it from there."""
    if prometheus is not None:
        raise UsageError("--prometheus needs a file of this host as TARGET")
    reading = read_target(target, io.BytesIO(), os.environ)
    known = read_state(state_dir, reading.name)
    shown = target_status(
        reading.name,
        reading.settings,
        known.sources,
        mode=None,
        written_at=None,
        history=(known.last_run, known.last_code, known.last_success),
        leases=known.leases,
    )
    _show(shown, None, as_json, time.time())
    return 0


def write_metrics(
    targets: Sequence[LocalFile], path: Path, state_dir: Path, introspection_url: str
) -> None:
    """Write the metrics of some targets after a run.

    Raises:
        TargetError: the path is no place for them.

    """
    found: list[TargetStatus] = []
    first: tuple[TargetStatus | None, EngineAuth | None] = (None, None)
    for target in targets:
        try:
            shown, settings = read_status(target, state_dir)
        except EcsauthError:
            shown, settings = (
                target_status(_name(target), None, {}, mode=None, written_at=None),
                None,
            )
        found.append(shown)
        first = first if first[0] else (shown, settings)
    by_time = bool(targets) and targets[0].layout is AGENT_JSON
    agent = _agent(introspection_url, state_dir, *first, by_time=by_time)
    _write_metrics(path, metrics(found, agent))


def _is_rich_terminal() -> bool:
    """Return whether stdout is a terminal that can show the bars."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _name(target: LocalFile) -> str:
    return str(target.path.absolute())


def _write_metrics(path: Path, text: str) -> None:
    """Write the metrics file; only over an older one of ours.

    Other users' node_exporter reads it (mode 0644), and nothing in it is secret.

    Raises:
        TargetError: the path is no place for it.

    """
    real = locate(path)
    with locked(real, _METRICS_LOCK_SECONDS):
        before = read_file(path).data
        if before and not before.startswith(METRICS_START.encode()):
            raise TargetError(f"{path} is not a metrics file of ecsauth", "name another one")
        write_atomic(real, text.encode(), mode=0o644)


def read_status(target: LocalFile, state_dir: Path) -> tuple[TargetStatus, EngineAuth | None]:
    """Return what there is to say of a target, and its settings; None if there is no file.

    Raises:
        TargetError: it cannot be read.

    """
    known = read_state(state_dir, _name(target))
    try:
        file = read_file(target.path)
    except TargetError as error:
        if is_directory(target.path.parent):
            raise
        raise TargetError(error.message, "is the ECS agent installed here?") from error
    settings = None if file.data is None else target.layout.read(file.data)
    times = file.path.stat() if file.data is not None else None
    shown = target_status(
        _name(target),
        settings,
        known.sources,
        mode=stat.S_IMODE(times.st_mode) if times else None,
        written_at=times.st_mtime if times else None,
        history=(known.last_run, known.last_code, known.last_success),
        leases=known.leases,
    )
    return shown, settings


def _agent(
    url: str,
    state_dir: Path,
    target: TargetStatus | None = None,
    settings: EngineAuth | None = None,
    *,
    by_time: bool = False,
) -> AgentStatus:
    return look_at_agent(url, state_dir, target, settings, by_time=by_time)[0]


def look_at_agent(
    url: str,
    state_dir: Path,
    target: TargetStatus | None = None,
    settings: EngineAuth | None = None,
    *,
    by_time: bool = False,
    forced: str = "",
) -> tuple[AgentStatus, HostAgent, AgentLook]:
    """Look at the agent; `by_time` if its environment does not show which settings it has."""
    agent = HostAgent(os.environ, url, run_program, forced=forced)
    look = agent.look()
    known = read_agent_state(state_dir)
    pending = is_pending(settings, look.settings)
    if by_time and target is not None:
        pending = is_older(look.started_at, target.written_at)
    if pending is None and target is not None and look.verdict.outcome != NOT_RUNNING:
        pending = read_state(state_dir, target.target).agent_pending or None
    status = AgentStatus(
        answers=look.answers,
        version=look.version,
        cluster=look.cluster,
        arn=look.arn,
        running_tasks=look.running_tasks,
        started_at=None if look.started_at is None else int(look.started_at),
        pending=pending,
        restart=look.verdict.outcome,
        reason=look.verdict.reason,
        last_restart=known.last_restart,
        failures=known.failures,
    )
    return status, agent, look
