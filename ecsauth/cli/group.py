"""The ``ecsauth`` group: each command's module is loaded only when it is needed."""

from __future__ import annotations

from importlib import import_module

import click

from ecsauth import __version__
from ecsauth.cli.console import show_help

COMMANDS = {
    "convert": "convert",
    "migrate": "migrate",
    "refresh": "refresh",
    "run": "run",
    "publish": "publish",
    "pull": "pull",
    "check": "check",
    "explain": "explain_images",
    "verify": "verify",
    "status": "status",
    "agent": "agent",
    "fleet": "fleet",
    "install": "install",
    "bundle": "bundle",
}
"""Command, which is also its module → function in it, in the order of the help."""


class LazyGroup(click.Group):
    """A group that imports a command only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"ecsauth.cli.commands.{cmd_name}"), COMMANDS[cmd_name])
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is not a command")
        return command


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, also when there was nothing to do; 1 unexpected error; 2 usage;"
    " 3 a source, or a registry in it, gave no credentials (the others were still written);"
    " 4 the target was not written and is unchanged; 5 a restart of the agent was refused as unsafe"
    " (the file is written, the restart is pending); 6 the agent did not come back (the previous"
    " file is restored and in use, unless the message says otherwise); 7 check found an error.",
)
@click.version_option(__version__, "-V", "--version", message="ecsauth %(version)s")
@click.pass_context
def cli(context: click.Context) -> int:
    """Keep private-registry credentials in the ECS agent's configuration, correct and fresh."""
    return show_help(context)
