"""The command bundle."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import click

from ecsauth.cli import options
from ecsauth.cli.console import print_lines, result_stream, say
from ecsauth.cli.registries import ecr_hosts
from ecsauth.errors import UsageError
from ecsauth.files import read_state, write_atomic
from ecsauth.helper.bundle import MAX_MTIME, archive, config_text
from ecsauth.locks import locked
from ecsauth.targets.stdout import write_stream

_MODE = 0o644
_LOCK_SECONDS = 10.0
_STDOUT = "-"


@click.command(short_help="Write the archive that Marathon fetches: a docker config.")
@click.argument("target", metavar="ARCHIVE")
@click.argument("registries", metavar="[REGISTRY]...", nargs=-1)
@options.dry_run("Write nothing; print what would be written.")
@options.quiet
@options.common
def bundle(target: str, registries: tuple[str, ...], *, dry_run: bool, quiet: bool) -> int:
    """Write ARCHIVE (docker.tar.gz; - is standard output), which Marathon fetches for a task.

    In it is .docker/config.json, which asks docker-credential-ecr-login for every registry, or, if
    any REGISTRY is named (123456789012.dkr.ecr.us-west-2.amazonaws.com, public.ecr.aws), for these
    alone. It holds no secret: everybody may read it. The same arguments give the same bytes, dated
    1970 or SOURCE_DATE_EPOCH.
    """
    config = config_text(ecr_hosts(registries))
    data = archive(config, _mtime())
    if dry_run:
        shown = "standard output" if target == _STDOUT else target
        is_needed = target == _STDOUT or _differs(Path(target), data)
        what = f"would be written: {config.decode().strip()}" if is_needed else "up to date"
        print_lines([f"{shown}: {what}"], sys.stdout)
        return 0
    if target == _STDOUT:
        write_stream(result_stream(), data)
        return 0
    is_written = _write(Path(target), data)
    print_lines([f"{target}: {'written' if is_written else 'up to date'}"], sys.stdout)
    if not quiet:
        say("next", 'put it on each agent, and into the app: "fetch": [{"uri": "file:///…"}]')
    return 0


def _mtime() -> int:
    """Return the time that the members have (reproducible-builds.org/specs/source-date-epoch).

    Raises:
        UsageError: SOURCE_DATE_EPOCH is no time that an archive can carry.

    """
    text = os.environ.get("SOURCE_DATE_EPOCH") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 11 or int(text) > MAX_MTIME:
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}", f"it is seconds since 1970, at most {MAX_MTIME}"
        )
    return int(text)


def _differs(path: Path, data: bytes) -> bool:
    state = read_state(path)
    return state.data != data or stat.S_IMODE(state.path.stat().st_mode) != _MODE


def _write(path: Path, data: bytes) -> bool:
    """Write it if it is not there as it should be; return whether it was written.

    Raises:
        TargetError: it was not written, and is as it was.

    """
    if not _differs(path, data):
        return False
    real = read_state(path).path
    with locked(real, _LOCK_SECONDS):
        write_atomic(real, data, mode=_MODE)
    return True
