"""The command status."""

from __future__ import annotations

from pathlib import Path

import click

from ecsauth.app.requests import DEFAULT_TARGET, AgentAccess
from ecsauth.app.status import StatusRequest
from ecsauth.app.status import status as run
from ecsauth.cli import options
from ecsauth.cli.console import print_json
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.json import status_document
from ecsauth.cli.render.screen import show_status


@click.command(short_help="Show the logins, how long they last, and the agent's state.")
@click.argument("target", required=False, default=DEFAULT_TARGET)
@options.as_json
@options.path_option(
    "--prometheus",
    help="Write metrics for node_exporter's textfile collector to this file instead (mode 0644).",
)
@options.introspection_url
@options.state_dir
@options.common
def status(
    target: str, as_json: bool, prometheus: Path | None, introspection_url: str, state_dir: Path
) -> int:
    """Show on one screen what TARGET holds and what the agent runs with.

    Per registry: user, kind of login, source, time left, when a new token is due. The agent:
    version, cluster, tasks, whether it runs with the logins in the file, and whether a restart
    would keep its tasks (ECS_DATADIR). Passwords are never shown.
    """
    request = StatusRequest(target, prometheus, AgentAccess(introspection_url), state_dir)
    result = run(request, console_ports())
    if as_json and not result.is_written:
        print_json(status_document(result))
    elif not result.is_written:
        show_status(result)
    return result.exit_code
