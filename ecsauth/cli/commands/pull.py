"""The command pull."""

from __future__ import annotations

from pathlib import Path

import click

from ecsauth.agent.restart.policy import AUTO, RestartPolicy
from ecsauth.app.pull import CopyResult, PullRequest
from ecsauth.app.pull import pull as run
from ecsauth.app.requests import AgentAccess, MergeOptions
from ecsauth.cli import options
from ecsauth.cli.console import print_json
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.json import copied_document, refreshed_document
from ecsauth.cli.render.text import render_agent, render_copied, render_refreshed
from ecsauth.cli.restart_options import restarting


@click.command(short_help="Copy the two settings from an env file in S3 to the target.")
@click.argument("source", metavar="s3://BUCKET/KEY")
@options.targets()
@options.expected_bucket_owner
@options.option(
    "--whole-file", is_flag=True, help="Copy the whole file, not only the two settings."
)
@options.merging(
    "Drop the registries that are not in the object.",
    "Write nothing; print what would change, secrets hidden.",
)
@options.lock_timeout
@options.state_dir
@restarting(AUTO, is_timed=True)
@options.as_json
@options.option("--verbose", "-v", is_flag=True, help="Also print why it was read.")
@options.quiet
@options.common
def pull(
    source: str,
    targets: tuple[str, ...],
    expected_bucket_owner: str,
    whole_file: bool,
    merge: MergeOptions,
    lock_timeout: float,
    state_dir: Path,
    restart: RestartPolicy,
    access: AgentAccess,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Copy the two settings from the env file s3://BUCKET/KEY to every TARGET.

    What is damaged, has expired, or could not be read by the agent is refused, and the present
    logins stay. If the object has not changed, it is not downloaded and nothing is written. The
    agent is restarted as by refresh.
    """
    request = PullRequest(
        source,
        targets,
        whole_file,
        expected_bucket_owner,
        merge,
        restart,
        access,
        lock_timeout,
        state_dir,
    )
    result = run(
        request,
        console_ports(quiet=quiet),
        lambda brought: render_refreshed(brought, as_json=as_json, verbose=verbose, quiet=quiet),
        lambda copied: render_copied(copied, to_stdout=not as_json, quiet=quiet),
    )
    render_agent(result.agent, quiet=quiet, to_stdout=not as_json)
    if as_json:
        if isinstance(result, CopyResult):
            print_json(copied_document(result))
        else:
            print_json(refreshed_document(result))
    return result.exit_code
