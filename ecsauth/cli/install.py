"""The commands install units and install helper."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import click

from ecsauth import units as unit_files
from ecsauth.agent.service import run_program
from ecsauth.cli import host_options, options
from ecsauth.cli.agent_files import check_host
from ecsauth.cli.console import print_lines, say, say_all, show_help
from ecsauth.cli.environment import settings_path
from ecsauth.cli.install_helper import helper
from ecsauth.errors import TargetError
from ecsauth.files import is_directory, target_error
from ecsauth.helper.program import cache_path
from ecsauth.targets import HELPER

_SYSTEMD = Path("/run/systemd/system")
"""Is there if systemd is the first process (sd_booted(3))."""


@click.group(invoke_without_command=True, short_help="Put in place what a host needs.")
@click.pass_context
def install(context: click.Context) -> int:
    """Put in place what a host needs."""
    return show_help(context)


install.add_command(helper)


@install.command(short_help="Put the systemd units in place and enable the timer.")
@host_options.targets()
@options.option(
    "--prometheus",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="As for refresh: the units have to be allowed to write there.",
)
@host_options.state_dir
@options.option("--uninstall", is_flag=True, help="Stop the units and take them away.")
@options.dry_run("Change nothing; print what would be done.")
@options.quiet
@options.common
@click.pass_context
def units(
    context: click.Context,
    targets: tuple[str, ...],
    prometheus: Path | None,
    state_dir: Path,
    uninstall: bool,
    dry_run: bool,
    quiet: bool,
) -> int:
    """Put the systemd units in place for this installation, and enable the timer.

    ecsauth-refresh.service runs "ecsauth refresh" before the agent starts; ecsauth-refresh.timer
    runs it every 15 minutes; ecsauth-run.service is for those who want "ecsauth run" instead, and
    is not enabled. What they may write follows from TARGET, --prometheus and --state-dir, in
    general from the settings file. To be repeated when these change. Drop-ins are kept.
    """
    if not is_directory(_SYSTEMD):
        raise TargetError("systemd does not run here", "ecsauth run does the same without it")
    if uninstall:
        changes = unit_files.uninstall(run_program, dry_run=dry_run)
    else:
        check_host(targets)
        settings = settings_path(context)
        written = [Path(item) for item in targets if "://" not in item and item != HELPER]
        # The units have no HOME, so that they use the cache of root's own.
        if HELPER in targets and (cache := cache_path({**os.environ, "HOME": ""})):
            written.append(cache / "log")  # what is named is its folder
            if not dry_run:
                _make_directory(cache)
        written += [prometheus] if prometheus else []
        command = _command()
        installation = unit_files.Installation(
            command=command,
            settings=settings,
            writable=[folder for path in written for folder in _folders(path)],
            state=str(state_dir.absolute()),
        )
        say_all("warning", _writable_by_others(Path(command[0])))
        if not dry_run:
            _make_directory(state_dir)
        changes = unit_files.install(installation, run_program, dry_run=dry_run)
    say_all("note", [] if quiet else changes.notes)
    lines = changes.lines or [
        "nothing to do: everything is in place"
        if not uninstall
        else "nothing to do: no unit is in place"
    ]
    print_lines(lines, sys.stdout)
    if not uninstall and not quiet:
        _say_next(settings)
    return 0


def _make_directory(path: Path) -> None:
    """Make it, for a unit may write only where something is.

    Raises:
        TargetError: it cannot be made.

    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise target_error(path, error, "was not made") from error


def _say_next(settings: str) -> None:
    if not Path(settings).exists():
        say("next", f"name the sources in {settings} (ECSAUTH_SOURCES=…); without it nothing runs")
    elif not os.environ.get("ECSAUTH_SOURCES"):
        say("next", f"name the sources in {settings} (ECSAUTH_SOURCES=…)")


def _command() -> list[str]:
    """Return what runs this installation of ecsauth, whoever calls it."""
    beside = Path(sys.executable).with_name("ecsauth")
    if beside.is_file() and os.access(beside, os.X_OK):
        return [str(beside)]
    return [sys.executable, "-m", "ecsauth"]


def _folders(path: Path) -> list[str]:
    """Return the folder of a file, and that of the file behind a symlink."""
    return sorted({str(path.absolute().parent), str(path.resolve().parent)})


def _writable_by_others(program: Path) -> list[str]:
    """Warn of a program that somebody but root can change: systemd runs it as root."""
    for path in (program, program.resolve(), *program.resolve().parents):
        try:
            status = path.stat()
        except OSError:
            continue
        is_open = (
            status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        )
        if status.st_uid != 0 or is_open:
            return [
                f"{path} can be changed by others than root, and systemd runs {program} as root:"
                " install ecsauth into /opt/ecsauth"
            ]
    return []
