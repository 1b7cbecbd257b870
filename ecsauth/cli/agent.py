"""The commands agent status and agent restart."""

from __future__ import annotations

import io
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ecsauth.cli import host_options, options
from ecsauth.cli.agent_files import check_host
from ecsauth.cli.console import print_json, print_lines, show_help
from ecsauth.cli.memory import run_lock
from ecsauth.cli.restarting import AgentWork, as_json, say_restarted
from ecsauth.cli.screen import agent_lines
from ecsauth.cli.state import look_at_agent, read_status
from ecsauth.errors import RestartRefusedError, TargetError, UsageError
from ecsauth.layout import AGENT_JSON
from ecsauth.restart import AUTO, NEVER
from ecsauth.restart.course import is_refused
from ecsauth.targets import DEFAULT_TARGET, parse_target
from ecsauth.targets.local_file import LocalFile


@click.group(invoke_without_command=True, short_help="Look at the agent, or restart it safely.")
@click.pass_context
def agent(context: click.Context) -> int:
    """Look at the ECS agent of this host, or restart it safely."""
    return show_help(context)


@agent.command(short_help="Say how the agent is, and what a restart would do.")
@click.argument("target", required=False, default=DEFAULT_TARGET)
@host_options.service_manager
@host_options.introspection_url
@host_options.state_dir
@options.as_json
@options.common
def status(
    target: str, service_manager: str | None, introspection_url: str, state_dir: Path, as_json: bool
) -> int:
    """Say how the agent is, whether it runs with what TARGET has, and what a restart would do.

    A restart keeps the tasks if the agent's container has ECS_DATADIR, on a volume of the host,
    and ECS_CHECKPOINT is not off. Exit code 5 if a restart would be refused.
    """
    check_host([target])
    file = _file(target, 0)
    try:
        shown, settings = read_status(file, state_dir)
    except TargetError:
        shown, settings = None, None
    found, host, look = look_at_agent(
        introspection_url,
        state_dir,
        shown,
        settings,
        by_time=file.layout is AGENT_JSON,
        forced=service_manager or "",
    )
    refused = is_refused(look)
    if as_json:
        service = host.service.name
        print_json({**asdict(found), "service_manager": service, "would_be_refused": refused})
    else:
        print_lines([*agent_lines(found), f"agent: to restart it: {host.command}"], sys.stdout)
    return RestartRefusedError.exit_code if refused else 0


@agent.command(short_help="Restart the agent if nothing is lost by it, and prove that it is back.")
@click.argument("target", required=False, default=DEFAULT_TARGET)
@host_options.restarting(AUTO, "--force")
@options.lock_timeout
@host_options.state_dir
@options.as_json
@options.quiet
@options.common
@click.pass_context
def restart(context: click.Context, /, target: str, **given: Any) -> int:
    """Make the agent read TARGET: restart it if nothing is lost by that, and prove that it is back.

    Refused (exit code 5) if tasks would be orphaned; --drain moves those of services away first.
    Proved means: it runs with what TARGET has, answers, and is the same container instance. If it
    does not come back, the content of TARGET before is restored and the agent is started with
    that (exit code 6). If it runs with what TARGET has already, nothing is done; --restart=always
    restarts it all the same.
    """
    check_host([target])
    file = _file(target, given["lock_timeout"])
    if not file.path.exists():
        raise TargetError(f"{target}: no such file", "is the ECS agent installed here?")
    source = context.get_parameter_source("policy")
    if given["policy"] == NEVER and source is ParameterSource.ENVIRONMENT:
        given["policy"] = AUTO  # `never` in the settings is for refresh, this command was typed
    work = AgentWork([file], given, is_named=True, is_once=True)
    with run_lock(given["state_dir"], given["lock_timeout"]):
        work.mend()
        done = work.apply()
    if not done.said and done.error is None:
        words = f"the agent runs with what {target} has; --restart=always restarts it all the same"
        print_lines([words], None if given["as_json"] else sys.stdout)
    code = say_restarted(done, quiet=given["quiet"], to_stdout=not given["as_json"])
    if done.is_pending and given["policy"] != NEVER:
        code = code or RestartRefusedError.exit_code  # it was asked for, and is not done
    if given["as_json"]:
        print_json({**(as_json(done) or {}), "code": code})
    return code


def _file(text: str, lock_timeout: float) -> LocalFile:
    target = parse_target(text, lock_timeout, io.BytesIO())
    if not isinstance(target, LocalFile):
        raise UsageError("TARGET is a file here")
    return target
