"""The commands install units and install helper."""

from __future__ import annotations

from pathlib import Path

import click

from ecsauth.app.install import UnitsRequest, install_units
from ecsauth.app.install_helper import BLOCKS, HelperRequest, install_helper, print_block
from ecsauth.cli import options
from ecsauth.cli.console import print_result, say, say_all, show_help
from ecsauth.cli.environment import settings_path
from ecsauth.cli.ports import console_ports


@click.group(
    invoke_without_command=True, short_help="Install the systemd units or the credential helper."
)
@click.pass_context
def install(context: click.Context) -> int:
    """Install the systemd units or the credential helper on this host."""
    return show_help(context)


@install.command(short_help="Install the systemd units and enable the timer.")
@options.targets()
@options.path_option("--prometheus", help="As for refresh: the units are allowed to write there.")
@options.state_dir
@options.option("--uninstall", is_flag=True, help="Stop and remove the units.")
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
    """Install the systemd units for this installation, and enable the timer.

    ecsauth-refresh.service runs "ecsauth refresh" before the agent starts; ecsauth-refresh.timer
    runs it every 15 minutes; ecsauth-run.service runs "ecsauth run" as an alternative, and is not
    enabled. The units may write only what TARGET, --prometheus and --state-dir name, usually in
    the settings file: repeat this command when they change. Drop-ins are kept.
    """
    settings = settings_path(context)
    request = UnitsRequest(targets, settings, prometheus, state_dir, uninstall, dry_run)
    result = install_units(request, console_ports(quiet=quiet))
    say_all("note", [] if quiet else result.notes)
    nothing = "no unit is installed" if uninstall else "everything is in place"
    print_result(result.changes or [f"nothing to do: {nothing}"])
    say_all("next", [] if quiet else [result.next_step])
    return result.exit_code


@install.command(short_help="Install docker-credential-ecr-login, and add it to docker's config.")
@click.argument("registries", metavar="[REGISTRY]...", nargs=-1)
@options.option(
    "--user", metavar="NAME", default="", help="Whose docker config; by default your own."
)
@options.path_option(
    "--bin-dir",
    metavar="DIRECTORY",
    help="Where the program goes, on PATH; by default /usr/local/bin for root, else ~/.local/bin.",
)
@options.option("--store", is_flag=True, help="Use the helper for all registries (credsStore).")
@options.option(
    "--logout", is_flag=True, help="Remove logins for these registries from the docker config."
)
@options.option(
    "--print",
    "kind",
    type=click.Choice(BLOCKS),
    help="Only print the block for a configuration managed elsewhere: docker, podman"
    " (auth.json), registries-conf, gitlab-runner (config.toml).",
)
@options.option(
    "--uninstall",
    is_flag=True,
    help="Remove the program and its docker config entries; with REGISTRY only these entries.",
)
@options.dry_run("Change nothing; print what would be done.")
@options.quiet
@options.common
def helper(
    registries: tuple[str, ...],
    user: str,
    bin_dir: Path | None,
    *,
    store: bool,
    logout: bool,
    kind: str | None,
    uninstall: bool,
    dry_run: bool,
    quiet: bool,
) -> int:
    """Install docker-credential-ecr-login in a directory on PATH, for docker, podman and the like.

    REGISTRY is an ECR host (123456789012.dkr.ecr.us-west-2.amazonaws.com, public.ecr.aws); each
    gets an entry in credHelpers of the docker config (~/.docker/config.json). Other members are
    kept. The program is a small launcher: it prints cached logins itself, without starting Python,
    and leaves every other case to this installation of ecsauth.
    """
    ports = console_ports()
    if kind is not None:
        print_block(kind, registries, ports, store=store)
        return 0
    request = HelperRequest(registries, user, bin_dir, store, logout, uninstall, dry_run)
    result = install_helper(request, ports)
    print_result(result.changes or ["nothing to do"])
    if not quiet:
        say_all("next", result.next_steps)
        for warning in result.warnings:
            say("warning", warning)
        say_all("note", result.notes)
    return result.exit_code
