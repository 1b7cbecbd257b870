"""The command fleet refresh."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click
from click.core import ParameterSource

from ecsauth.aws import Aws, Identity
from ecsauth.cli import options
from ecsauth.cli.console import print_json, print_lines, say, show_help
from ecsauth.cli.fleet_screen import followed, row_said, summary, table
from ecsauth.errors import SourceError, UsageError
from ecsauth.fleet import Rollout, Surroundings, run_rollout
from ecsauth.fleet.values import (
    FAILED,
    NOT_LINUX,
    NOT_MANAGED,
    UNREACHABLE,
    Instance,
    Limit,
    Limits,
    parse_limit,
)
from ecsauth.signals import signals_held_off
from ecsauth.ssm import Group, RunCommand, parse_tags

_CURES = {
    NOT_MANAGED: (
        "SSM does not manage {}",
        "do they run the SSM agent, with a role that has AmazonSSMManagedInstanceCore?",
    ),
    NOT_LINUX: (
        "{} run Windows, where the document does nothing",
        "there the agent takes its logins from variables: ecsauth convert --output powershell",
    ),
    UNREACHABLE: (
        "SSM does not reach {}",
        "does the SSM agent run there (systemctl status amazon-ssm-agent), and reach SSM?",
    ),
}


@click.group(invoke_without_command=True, short_help="The same on many instances, through SSM.")
@click.pass_context
def fleet(context: click.Context) -> int:
    """Do the same on many instances, through SSM Run Command."""
    return show_help(context)


@fleet.command(short_help="Run ecsauth refresh on the instances of a cluster, or with a tag.")
@options.option("--cluster", metavar="CLUSTER", help="An ECS cluster, by its name or ARN.")
@options.option(
    "--tag",
    "tags",
    metavar="KEY=VALUE",
    multiple=True,
    help="Instances with this tag. May be repeated: any of one key's values, all of the keys.",
)
@options.option(
    "--max-concurrency",
    metavar="NUMBER|PERCENT",
    default="10%",
    show_default=True,
    help="On how many instances at the same time; at least one.",
)
@options.option(
    "--max-errors",
    metavar="NUMBER|PERCENT",
    default="10%",
    show_default=True,
    help="Start nothing more after more failures than that.",
)
@options.option(
    "--document",
    metavar="NAME",
    default="ecsauth-refresh",
    show_default=True,
    help="The SSM document (samples/ssm-refresh.json).",
)
@options.option("--region", metavar="REGION", default="", help="Where; by default as the AWS SDK.")
@options.option("--profile", metavar="NAME", default="", help="A profile of the AWS SDK.")
@options.option("--role-arn", metavar="ARN", default="", help="A role to assume.")
@options.option(
    "--timeout",
    envvar="ECSAUTH_FLEET_TIMEOUT",
    type=options.Seconds(1, 86_400),
    metavar="SECONDS",
    default=900.0,
    show_default=True,
    help="How long all of it may take; what has not ended by then is cancelled.",
)
@options.dry_run("Send nothing; print which instances would get it.")
@options.as_json
@options.quiet
@options.common
@click.pass_context
def refresh(context: click.Context, /, **given: Any) -> int:
    """Run ecsauth refresh on many instances, by an SSM document.

    The table says for each instance how it ended, and the last line that it printed, as it is: the
    document of samples/ prints no secret. Exit code 3 unless all are done. Instances of the
    cluster that SSM does not manage are named, and count as failed. Of a tag, SSM knows only the
    instances that it manages. Ctrl-C cancels what was sent.
    """
    group = _group(context, given["cluster"], given["tags"])
    limits = Limits(
        _limit("--max-concurrency", given["max_concurrency"], 1),
        _limit("--max-errors", given["max_errors"], 0),
    )
    aws, identity = Aws(os.environ), Identity(given["profile"], given["role_arn"])
    runner = RunCommand(aws, identity, given["region"], group, given["document"], given["timeout"])
    found = _find(runner, group)
    rollout = Rollout(found, limits, is_by_tag=not group.cluster)
    try:
        if not given["dry_run"]:
            _run(rollout, runner, given["timeout"], given["quiet"])
    except BaseException:
        if rollout.commands:
            _show(rollout, runner, given)
        raise
    _show(rollout, runner, given)
    if given["dry_run"]:
        return SourceError.exit_code if any(item.problem for item in found) else 0
    return 0 if rollout.all_done() else SourceError.exit_code


def _group(context: click.Context, cluster: str | None, tags: tuple[str, ...]) -> Group:
    """Return which instances; what is on the command line counts more than variables.

    Raises:
        UsageError: it is not said, or said twice.

    """
    if cluster and tags:
        typed = {
            name
            for name in ("cluster", "tags")
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        if len(typed) != 1:
            raise UsageError("--cluster and --tag are both given", "name one of them")
        cluster, tags = (cluster, ()) if "cluster" in typed else ("", tags)
    if not cluster and not tags:
        raise UsageError("which instances?", "name --cluster CLUSTER or --tag KEY=VALUE")
    return Group(cluster or "", parse_tags(tags))


def _limit(name: str, text: str, least: int) -> Limit:
    try:
        return parse_limit(text, least=least)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", error.hint) from None


def _find(runner: RunCommand, group: Group) -> list[Instance]:
    found = runner.find()
    if not found and not group.cluster:
        raise SourceError(
            f"{group}: SSM manages no instance with it in {runner.region}",
            "look at the tag and --region; the instances need the SSM agent and"
            " AmazonSSMManagedInstanceCore",
        )
    return found


def _run(rollout: Rollout, runner: RunCommand, timeout: float, quiet: bool) -> None:
    with followed(rollout, quiet=quiet) as (on_change, warn):
        around = Surroundings(
            *(time.monotonic, time.sleep), on_change=on_change, warn=warn, whole=signals_held_off
        )
        run_rollout(rollout, runner, timeout, around)


def _show(rollout: Rollout, runner: RunCommand, given: dict[str, Any]) -> None:
    """Print the result, and what to do about instances that have not done it."""
    if given["as_json"]:
        rows = [
            {
                "instance": row.instance,
                "status": row.status,
                "said": row_said(row),
                "command": row.command,
            }
            for row in rollout.rows
        ]
        counts = rollout.counts()
        print_json({"region": runner.region, "instances": rows, "counts": counts})
    else:
        print_lines([*table(rollout.rows), summary(rollout)], sys.stdout)
    for status, (words, cure) in _CURES.items():
        count = rollout.counts().get(status, 0)
        if count:
            say("warning", words.format(f"{count} instance{'' if count == 1 else 's'}"), cure)
    for row in rollout.rows:
        if row.status == FAILED and not given["quiet"]:
            where = f"--region {runner.region} --command-id {row.command}"
            where += f" --instance-id {row.instance}"
            say("next", f"to see all that it said: aws ssm get-command-invocation {where}")
            break
