"""The command refresh: what the timer runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from ecsauth.agent.restart.policy import AUTO, RestartPolicy
from ecsauth.app.refresh import RefreshRequest
from ecsauth.app.refresh import refresh as run
from ecsauth.app.requests import (
    AgentAccess,
    MergeOptions,
    PublishOptions,
    SourceOptions,
    VerifyPolicy,
)
from ecsauth.cli import options
from ecsauth.cli.console import print_json
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.json import refreshed_document
from ecsauth.cli.render.text import render_agent, render_refreshed, render_warmed
from ecsauth.cli.restart_options import restarting


def _request(
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    publishing: PublishOptions,
    options: SourceOptions,
    force: bool,
    prune_expired: bool,
    recheck: float,
    merge: MergeOptions,
    verify: VerifyPolicy | None,
    lock_timeout: float,
    state_dir: Path,
    restart: RestartPolicy,
    access: AgentAccess,
    prometheus: Path | None,
) -> RefreshRequest:
    return RefreshRequest(
        sources,
        targets,
        replace(options, bucket_owner=publishing.bucket_owner),
        publishing,
        merge,
        force,
        prune_expired,
        recheck,
        verify,
        restart,
        access,
        lock_timeout,
        state_dir,
        prometheus,
    )


_options = options.all_of(
    options.publishing,
    options.source_options,
    options.merging(
        "Drop the registries for which no SOURCE has a login.",
        "Write nothing; print what would change, secrets hidden.",
    ),
    options.verifying,
    restarting(AUTO, is_timed=True),
    options.part(
        "request",
        _request,
        click.argument("sources", metavar="[SOURCE]...", nargs=-1, envvar="ECSAUTH_SOURCES"),
        options.targets(
            "A path (one that ends in .json is the agent's JSON file), s3://BUCKET/KEY, or helper:"
            " (the cache of docker-credential-ecr-login, for sources in ECR). May be repeated."
        ),
        options.option("--force", is_flag=True, help="Fetch everything, due or not."),
        options.option(
            "--prune-expired",
            is_flag=True,
            help="Remove every login that is known to have expired, wherever it came from.",
        ),
        options.seconds_option(
            "--recheck",
            *(1, 2_592_000, 3600.0),
            "How often to read a secret without a known expiry again.",
        ),
        options.lock_timeout,
        options.state_dir,
        options.path_option(
            "--prometheus",
            help="Write metrics of the run to this file (mode 0644), for node_exporter's"
            " textfile collector.",
        ),
    ),
    options.as_json,
    options.option("--verbose", "-v", is_flag=True, help="Also print why each source was queried."),
    options.quiet,
    options.common,
)


@click.command(short_help="Fetch only what is due: the command for timers.")
@_options
def refresh(request: RefreshRequest, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Fetch the logins that are due from each SOURCE and write them to every TARGET.

    Due are: a token at half its life, a secret after --recheck, a login that is missing or changed
    in TARGET, a SOURCE that is new or has changed. Login files are read every time. If nothing is
    due, AWS is not called and nothing is written. A login whose source fails stays until it
    expires. SOURCE as for convert.

    If the agent of this host reads what was written, it is restarted if no task would be lost
    (ECS_DATADIR), and verified to be back; otherwise the previous content is restored.
    """
    result = run(
        request,
        console_ports(quiet=quiet),
        lambda brought: render_refreshed(brought, as_json=as_json, verbose=verbose, quiet=quiet),
    )
    render_agent(result.agent, quiet=quiet, to_stdout=not as_json)
    if result.warmed is not None:
        render_warmed(result.warmed, to_stdout=not as_json)
    if as_json:
        print_json(refreshed_document(result))
    return result.exit_code


def parse_request(arguments: Sequence[str], parent: click.Context | None = None) -> RefreshRequest:
    """Return the request made of refresh's arguments and variables.

    Raises:
        UsageError, click.ClickException: they are invalid.

    """
    with _parser.make_context("refresh", list(arguments), parent=parent) as context:
        request = _parser.invoke(context)
    if not isinstance(request, RefreshRequest):
        raise TypeError("the parser of refresh returns its request")
    return request


@click.command("refresh")
@_options
def _parser(request: RefreshRequest, as_json: bool, verbose: bool, quiet: bool) -> RefreshRequest:  # noqa: ARG001 - the options of refresh
    return request
