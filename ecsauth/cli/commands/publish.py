"""The command publish."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from ecsauth.app.publish import PublishRequest
from ecsauth.app.publish import publish as run
from ecsauth.app.requests import MergeOptions, PublishOptions, SourceOptions, VerifyPolicy
from ecsauth.cli import options
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.text import render_target


@click.command(short_help="Write the two settings into an env file in S3, for a fleet.")
@click.argument("arguments", metavar="[SOURCE]... s3://BUCKET/KEY", nargs=-1)
@options.base
@options.publishing
@options.source_options
@options.merging(
    "Drop the registries for which no SOURCE has a login.",
    "Write nothing; print what would change, secrets hidden.",
)
@options.verifying
@options.state_dir
@options.quiet
@options.common
def publish(
    arguments: tuple[str, ...],
    base: Path | None,
    publishing: PublishOptions,
    options: SourceOptions,
    merge: MergeOptions,
    verify: VerifyPolicy | None,
    state_dir: Path,
    quiet: bool,
) -> int:
    """Fetch from each SOURCE and write the two settings into the env file s3://BUCKET/KEY.

    Every other line of the object is kept, and so are logins of other publishers: if the object
    changes meanwhile, it is read again before it is written. A bucket or object with public read
    access is refused. SOURCE as for convert; by default ECSAUTH_SOURCES. To publish only what is
    due, on a timer: refresh --to s3://BUCKET/KEY.
    """
    url = arguments[-1] if arguments else ""
    request = PublishRequest(
        arguments[:-1] or tuple(os.environ.get("ECSAUTH_SOURCES", "").split()),
        url,
        replace(options, bucket_owner=publishing.bucket_owner),
        replace(publishing, base=base),
        merge,
        verify,
        state_dir,
    )
    result = run(request, console_ports(quiet=quiet))
    render_target(result, dry_run=merge.dry_run, quiet=quiet)
    return result.exit_code
