"""The command convert; it loads no code for the agent, for writing files or for AWS."""

from __future__ import annotations

import click

from ecsauth.app.convert import EXPORTS, SETTINGS, ConvertRequest
from ecsauth.app.convert import convert as run
from ecsauth.app.requests import SourceOptions
from ecsauth.cli import options
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.text import render_converted


@click.command(short_help="Print the two settings for the logins of SOURCE.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, envvar="ECSAUTH_SOURCES")
@options.auth_format
@options.option(
    "--output",
    type=click.Choice([*SETTINGS, *EXPORTS]),
    default="env",
    show_default=True,
    help="env: two lines for ecs.config; data: the value of ECS_ENGINE_AUTH_DATA alone;"
    " agent-json: for ecs.config.json; docker-config: a login file for docker, podman, Kubernetes;"
    " bottlerocket: settings in TOML; powershell: commands for Windows.",
)
@options.option(
    "--raw",
    is_flag=True,
    help="Print what jq -c would: nothing repaired, no credential store used.",
)
@options.source_options
@options.quiet
@options.common
def convert(
    sources: tuple[str, ...],
    auth_format: str,
    output: str,
    raw: bool,
    options: SourceOptions,
    quiet: bool,
) -> int:
    """Print the two settings for the logins of SOURCE, secrets included.

    SOURCE is a docker login file (config.json, .dockercfg, auth.json, a decoded
    .dockerconfigjson), docker-config:PATH, env:VARIABLE, or - for standard input; in AWS ecr:,
    ecr:REGION, ecr:HOST, ecr-public:, secretsmanager:ID or ssm:NAME (?registry=HOST and other
    parameters may follow). If two sources have a login for the same registry, the later one wins.
    """
    request = ConvertRequest(sources, output, auth_format, raw, options)
    result = run(request, console_ports(quiet=quiet))
    render_converted(result, output, quiet=quiet)
    return result.exit_code
