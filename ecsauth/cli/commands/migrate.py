"""The command migrate."""

from __future__ import annotations

from pathlib import Path

import click

from ecsauth.agent.restart.policy import NEVER, RestartPolicy
from ecsauth.app.migrate import MigrateRequest
from ecsauth.app.migrate import migrate as run
from ecsauth.app.requests import AgentAccess, MergeOptions, SourceOptions, VerifyPolicy
from ecsauth.cli import options
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.text import render_agent, render_migrated
from ecsauth.cli.restart_options import restarting
from ecsauth.errors import UsageError


@click.command(short_help="Copy a docker login file's logins into ecs.config, once.")
@click.argument("login_file", metavar="[LOGIN_FILE]", required=False)
@options.targets(
    "A path (one that ends in .json is the agent's JSON file), or - for standard output."
)
@options.source_options
@options.merging(
    "Drop the registries that the login file does not name.",
    "Write nothing; print what would change, secrets hidden.",
)
@options.verifying
@options.lock_timeout
@options.state_dir
@restarting(NEVER, is_timed=False)
@options.quiet
@options.common
def migrate(
    login_file: str | None,
    targets: tuple[str, ...],
    options: SourceOptions,
    merge: MergeOptions,
    verify: VerifyPolicy | None,
    lock_timeout: float,
    state_dir: Path,
    restart: RestartPolicy,
    access: AgentAccess,
    quiet: bool,
) -> int:
    """Copy the logins of a docker login file into the agent's configuration, once.

    LOGIN_FILE is any SOURCE of convert; by default $DOCKER_CONFIG/config.json, else
    ~/.docker/config.json, else ~/.dockercfg. Registries in TARGET that the login file does not
    name are kept.
    """
    if len(targets) != 1:
        raise UsageError(
            f"migrate writes one target, but {len(targets)} are given", reference="usage-target"
        )
    request = MigrateRequest(
        login_file or "",
        targets[0],
        options,
        merge,
        verify,
        restart,
        access,
        lock_timeout,
        state_dir,
    )
    result = run(
        request,
        console_ports(quiet=quiet),
        lambda written: render_migrated(written, dry_run=merge.dry_run, quiet=quiet),
    )
    render_agent(result.agent, quiet=quiet)
    return result.exit_code
