"""The ``ecsauth`` command: parse, wire, call, print. No logic."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from ecsauth.cli.console import say, say_error, settle_stdout
from ecsauth.cli.group import cli
from ecsauth.errors import EcsauthError, UsageError

_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main() -> NoReturn:
    """Run the command of the process and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        return _run(arguments)
    finally:
        settle_stdout()


def _run(arguments: Sequence[str]) -> int:
    """Run one command. The only place that catches everything."""
    try:
        code = cli.main(_with_values(arguments), prog_name="ecsauth", standalone_mode=False)
    except EcsauthError as error:
        say_error(error)
        return error.exit_code
    except click.ClickException as error:
        say("error", f"{error.format_message().rstrip('.')}; see {_help_command(error)}")
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("error", "interrupted; every file is whole, and as it was unless said otherwise")
        return _INTERRUPTED
    except BrokenPipeError:
        return _BROKEN_PIPE
    except Exception as error:
        say("error", f"unexpected: {_where(error)}; this is a fault of ecsauth: report it")
        return EcsauthError.exit_code
    return code if isinstance(code, int) else 0


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Give a bare ``--verify`` its value, for click would take the next argument for one."""
    return ["--verify=refuse" if item == "--verify" else item for item in arguments]


def _help_command(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'ecsauth'} --help"


def _where(error: Exception) -> str:
    """Name the type and the place; the message and the values may hold a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f" at {Path(last.filename).name}:{last.lineno}" if last else ""
    return f"{type(error).__name__}{place}"
