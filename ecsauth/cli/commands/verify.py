"""The command verify."""

from __future__ import annotations

from pathlib import Path

import click

from ecsauth.app.requests import DEFAULT_TARGET, SourceOptions, VerifyPolicy
from ecsauth.app.verify import VerifyRequest
from ecsauth.app.verify import verify as run
from ecsauth.cli import options
from ecsauth.cli.console import print_json, print_result, say_error
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.json import verified_document
from ecsauth.cli.render.text import verified_lines


@click.command(short_help="Log in to each registry, as docker would; writes nothing.")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@options.option(
    "--from",
    "target",
    metavar="TARGET",
    help=f"Where the logins are, if there is no SOURCE.  [default: {DEFAULT_TARGET}]",
)
@options.verify_timeout
@options.insecure_registry
@options.ca_file
@options.source_options
@options.as_json
@options.common
def verify(
    sources: tuple[str, ...],
    target: str | None,
    verify_timeout: float,
    insecure_registry: tuple[str, ...],
    ca_file: Path | None,
    options: SourceOptions,
    as_json: bool,
) -> int:
    """Log in to the registry of each login and show the answer.

    As docker does: /v2/, then Basic, or Bearer with the token server that the registry names.
    Nothing is sent anywhere else, and plain HTTP is used only for an insecure registry. Exit code
    3 unless all are accepted.
    """
    policy = VerifyPolicy(verify_timeout, insecure_registry, ca_file)
    request = VerifyRequest(sources, target or DEFAULT_TARGET, options, policy)
    result = run(request, console_ports())
    if as_json:
        print_json(verified_document(result))
    else:
        print_result(verified_lines(result))
    for problem in result.problems:
        say_error(problem)
    return result.exit_code
