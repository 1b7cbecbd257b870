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
        "Drop the registries that no SOURCE gives a login for.",
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
            help="Take out every login that is known to have expired, wherever it came from.",
        ),
        options.seconds_option(
            "--recheck",
            *(1, 2_592_000, 3600.0),
            "How often a secret that tells no end of its life is looked at again.",
        ),
        options.lock_timeout,
        options.state_dir,
        options.path_option(
            "--prometheus",
            help="Write metrics of the run there (mode 0644), for node_exporter's textfile"
            " collector.",
        ),
    ),
    options.as_json,
    options.option("--verbose", "-v", is_flag=True, help="Say also why each source was asked."),
    options.quiet,
    options.common,
)


@click.command(short_help="Fetch what is due, and only that: the timer's command.")
@_options
def refresh(request: RefreshRequest, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Fetch the logins that are due from each SOURCE and bring them into every TARGET.

    Due is a token at half its life, a secret after --recheck, a login that is missing in TARGET
    or was changed there, a SOURCE that is new or was changed itself. Login files are read each
    time. Nothing due: nothing is asked of AWS and nothing is written. A login whose source fails
    stays until it expires. SOURCE as for convert.

    If the agent of this host is to read what was written, it is restarted when that loses no
    task (ECS_DATADIR), and has to prove that it came back; else the content before is restored.
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
    """Return the request that arguments of refresh, and its variables, make.

    Raises:
        UsageError, click.ClickException: they make no sense.

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
