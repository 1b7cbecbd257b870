"""The command explain."""

from __future__ import annotations

import time

import click

from ecsauth.app.inspect import ExplainRequest
from ecsauth.app.inspect import explain_images as run
from ecsauth.app.requests import DEFAULT_TARGET
from ecsauth.cli import options
from ecsauth.cli.console import print_json, print_result
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.json import explained_document
from ecsauth.cli.render.text import explained_lines


@click.command("explain", short_help="Show which login the agent uses for an image, and why.")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@options.option(
    "--from",
    "target",
    metavar="TARGET",
    default=DEFAULT_TARGET,
    show_default=True,
    help="Where the settings are: a path, s3://BUCKET/KEY, or - for standard input.",
)
@options.as_json
@options.common
def explain_images(images: tuple[str, ...], target: str, as_json: bool) -> int:
    """Show for each IMAGE which login of the settings the agent uses, and why.

    Write IMAGE as in the task definition. Passwords are never shown.
    """
    result = run(ExplainRequest(images, target), console_ports())
    if as_json:
        print_json(explained_document(result))
    else:
        print_result(explained_lines(result, time.time()))
    return result.exit_code
