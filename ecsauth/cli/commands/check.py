"""The command check."""

from __future__ import annotations

import click

from ecsauth.app.inspect import CheckRequest
from ecsauth.app.inspect import check as run
from ecsauth.app.requests import DEFAULT_TARGET
from ecsauth.cli import options
from ecsauth.cli.console import print_json, print_result
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.json import checked_document
from ecsauth.cli.render.text import checked_lines


@click.command(short_help="Report what is wrong with the settings, as the agent reads them.")
@click.argument("target", required=False, default=DEFAULT_TARGET)
@options.option("--fix", is_flag=True, help="Fix what is safe to fix; report the rest.")
@options.as_json
@options.lock_timeout
@options.common
def check(target: str, fix: bool, as_json: bool, lock_timeout: float) -> int:
    """Report what is wrong with TARGET, and for which of its readers.

    TARGET is a path (by default /etc/ecs/ecs.config; one that ends in .json is the agent's JSON
    file), s3://BUCKET/KEY, or - for standard input. An error means that credentials are lost; a
    warning, that it works here but breaks elsewhere: ecs-init, docker run --env-file and systemd
    read the file by different rules, and none of them reports it. Exit code 7 if there is an error.
    """
    result = run(CheckRequest(target, fix, lock_timeout), console_ports())
    if as_json:
        print_json(checked_document(result))
    else:
        print_result(checked_lines(result))
    return result.exit_code
