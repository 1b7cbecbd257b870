"""The command fleet refresh."""

from __future__ import annotations

import click

from ecsauth.app.fleet import FleetRequest, FleetResult, refresh_fleet
from ecsauth.cli import options
from ecsauth.cli.console import print_json, print_result, say, show_help
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.fleet import followed, row_said, summary, table
from ecsauth.cli.render.json import fleet_document
from ecsauth.cli.render.words import count
from ecsauth.fleet.values import FAILED, NOT_LINUX, NOT_MANAGED, UNREACHABLE

_CURES = {
    NOT_MANAGED: (
        "SSM does not manage {}",
        "check that they run the SSM agent, with a role that has AmazonSSMManagedInstanceCore",
    ),
    NOT_LINUX: (
        "the document does nothing on {} with Windows",
        "there the agent takes its logins from variables: ecsauth convert --output powershell",
    ),
    UNREACHABLE: (
        "SSM does not reach {}",
        "check that the SSM agent runs there (systemctl status amazon-ssm-agent) and reaches SSM",
    ),
}


@click.group(invoke_without_command=True, short_help="Run ecsauth on many instances, through SSM.")
@click.pass_context
def fleet(context: click.Context) -> int:
    """Run ecsauth on many instances, through SSM Run Command."""
    return show_help(context)


@fleet.command(short_help="Run ecsauth refresh on the instances of a cluster, or with a tag.")
@options.option(
    "--cluster", metavar="CLUSTER", default="", help="An ECS cluster, by its name or ARN."
)
@options.option(
    "--tag",
    "tags",
    metavar="KEY=VALUE",
    multiple=True,
    help="Instances with this tag. May be repeated: any value of a key, and every key, must match.",
)
@options.option(
    "--max-concurrency",
    metavar="NUMBER|PERCENT",
    default="10%",
    show_default=True,
    help="How many instances to run on at the same time; at least one.",
)
@options.option(
    "--max-errors",
    metavar="NUMBER|PERCENT",
    default="10%",
    show_default=True,
    help="Start on no further instance after more failures than that.",
)
@options.option(
    "--document",
    metavar="NAME",
    default="ecsauth-refresh",
    show_default=True,
    help="The SSM document (samples/ssm-refresh.json).",
)
@options.option("--region", metavar="REGION", default="", help="By default that of the AWS SDK.")
@options.option("--profile", metavar="NAME", default="", help="A profile of the AWS SDK.")
@options.option("--role-arn", metavar="ARN", default="", help="A role to assume.")
@options.option(
    "--timeout",
    envvar="ECSAUTH_FLEET_TIMEOUT",
    type=options.Seconds(1, 86_400),
    metavar="SECONDS",
    default=900.0,
    show_default=True,
    help="How long the whole run may take; what has not ended by then is cancelled.",
)
@options.dry_run("Send nothing; print the instances that would run it.")
@options.as_json
@options.quiet
@options.common
@click.pass_context
def refresh(
    context: click.Context,
    /,
    cluster: str,
    tags: tuple[str, ...],
    max_concurrency: str,
    max_errors: str,
    document: str,
    region: str,
    profile: str,
    role_arn: str,
    timeout: float,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run ecsauth refresh on many instances, with an SSM document.

    The table shows each instance's status and the last line that it printed, unfiltered: the
    document in samples/ prints no secret. Exit code 3 unless all are done. Instances of the
    cluster that SSM does not manage are listed, and count as failed. With --tag, SSM knows only
    the instances that it manages. Ctrl-C cancels what was sent.
    """
    if cluster and tags:  # the command line overrides variables
        if options.is_from_environment(context, "tags"):
            tags = ()
        elif options.is_from_environment(context, "cluster"):
            cluster = ""
    limits = (max_concurrency, max_errors)
    where = (document, region, profile, role_arn)
    request = FleetRequest(cluster, tags, *limits, *where, timeout, dry_run)
    result = refresh_fleet(
        request,
        console_ports(quiet=quiet),
        lambda rollout: followed(rollout, quiet=quiet),
        lambda ended: _show(ended, as_json=as_json, quiet=quiet),
    )
    return result.exit_code


def _show(result: FleetResult, *, as_json: bool, quiet: bool) -> None:
    """Print the result, and what to do about instances that failed."""
    rollout = result.rollout
    rows, counts = rollout.rows, rollout.counts()
    if as_json:
        shown = [(row.instance, row.status, row_said(row), row.command) for row in rows]
        print_json(fleet_document(result.region, shown, counts))
    else:
        print_result([*table(rows), summary(rollout)])
    for status, (words, cure) in _CURES.items():
        if counts.get(status):
            say("warning", words.format(count(counts[status], "instance")), cure)
    failed = [row for row in rows if row.status == FAILED]
    if failed and not quiet:
        where = f"--region {result.region} --command-id {failed[0].command}"
        where += f" --instance-id {failed[0].instance}"
        say("next", f"for the full output: aws ssm get-command-invocation {where}")
