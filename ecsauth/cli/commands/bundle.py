"""The command bundle."""

from __future__ import annotations

import click

from ecsauth.app.bundle import BundleRequest
from ecsauth.app.bundle import bundle as run
from ecsauth.cli import options
from ecsauth.cli.console import print_result, say
from ecsauth.cli.ports import console_ports


@click.command(short_help="Write the archive that Marathon fetches: a docker config.")
@click.argument("archive", metavar="ARCHIVE")
@click.argument("registries", metavar="[REGISTRY]...", nargs=-1)
@options.dry_run("Write nothing; print what would be written.")
@options.quiet
@options.common
def bundle(archive: str, registries: tuple[str, ...], *, dry_run: bool, quiet: bool) -> int:
    """Write ARCHIVE (docker.tar.gz; - is standard output), which Marathon fetches for a task.

    It contains .docker/config.json, which uses docker-credential-ecr-login for every registry, or
    only for each REGISTRY given (123456789012.dkr.ecr.us-west-2.amazonaws.com, public.ecr.aws). It
    holds no secret, so anyone may read it. The same arguments give the same bytes, dated 1970 or
    SOURCE_DATE_EPOCH.
    """
    request = BundleRequest(archive, registries, dry_run)
    result = run(request, console_ports(quiet=quiet))
    name = "standard output" if request.is_stdout else archive
    if dry_run:
        would = f"would be written: {result.config}" if result.is_changed else "up to date"
        print_result([f"{name}: {would}"])
    elif not request.is_stdout:
        print_result([f"{name}: {'written' if result.is_changed else 'up to date'}"])
        if not quiet:
            say(
                "next",
                'put it on each agent and add it to the app: "fetch": [{"uri": "file:///…"}]',
            )
    return result.exit_code
