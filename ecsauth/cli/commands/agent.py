"""The commands agent status and agent restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ecsauth.agent.restart.policy import ANY_FILE, AUTO, NEVER, RestartPolicy
from ecsauth.app.agent import (
    AgentRestartRequest,
    AgentStatusRequest,
    observe_agent,
    restart_agent,
)
from ecsauth.app.requests import DEFAULT_TARGET, AgentAccess
from ecsauth.cli import options
from ecsauth.cli.console import print_json, print_result, show_help
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.json import agent_document, restarted_document
from ecsauth.cli.render.screen import agent_lines
from ecsauth.cli.render.text import render_agent
from ecsauth.cli.restart_options import restarting, service_manager


@click.group(
    invoke_without_command=True, short_help="Show the agent's state, or restart it safely."
)
@click.pass_context
def agent(context: click.Context) -> int:
    """Show the state of this host's ECS agent, or restart it safely."""
    return show_help(context)


@agent.command(short_help="Show the agent's state, and what a restart would do.")
@click.argument("target", required=False, default=DEFAULT_TARGET)
@options.part("access", options.agent_access, service_manager, options.introspection_url)
@options.state_dir
@options.as_json
@options.common
def status(target: str, access: AgentAccess, state_dir: Path, as_json: bool) -> int:
    """Show the agent's state, whether it runs with TARGET's logins, and what a restart would do.

    A restart keeps the tasks if the agent's container has ECS_DATADIR on a host volume and
    ECS_CHECKPOINT is not off. Exit code 5 if a restart would be refused.
    """
    result = observe_agent(AgentStatusRequest(target, access, state_dir), console_ports())
    if as_json:
        print_json(agent_document(result))
    else:
        print_result([*agent_lines(result.agent), f"agent: to restart it: {result.command}"])
    return result.exit_code


@agent.command(short_help="Restart the agent if no task would be lost, and verify that it is back.")
@click.argument("target", required=False, default=DEFAULT_TARGET)
@restarting(AUTO, "--force", is_timed=False)
@options.lock_timeout
@options.state_dir
@options.as_json
@options.quiet
@options.common
@click.pass_context
def restart(
    context: click.Context,
    /,
    target: str,
    restart: RestartPolicy,
    access: AgentAccess,
    lock_timeout: float,
    state_dir: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Make the agent read TARGET: restart it if no task would be lost, and verify that it is back.

    Refused (exit code 5) if tasks would be orphaned; --drain moves service tasks away first.
    Verified means: the agent runs with TARGET's settings, answers, and is the same container
    instance. If it does not come back, the previous content of TARGET is restored and the agent is
    started with it (exit code 6). If the agent runs with TARGET's settings already, nothing is
    done; --restart=always restarts it anyway.
    """
    if restart.when == NEVER and options.is_from_environment(context, "restart"):
        restart = replace(restart, when=AUTO)  # a variable is meant for refresh
    request = AgentRestartRequest(
        target, replace(restart, scope=ANY_FILE), access, lock_timeout, state_dir
    )
    result = restart_agent(request, console_ports(quiet=quiet))
    if not as_json and not result.outcome.said and result.outcome.error is None:
        print_result(
            [f"the agent runs with the settings in {target}; --restart=always restarts it anyway"]
        )
    render_agent(result.outcome, quiet=quiet, to_stdout=not as_json)
    if as_json:
        print_json(restarted_document(result))
    return result.exit_code
