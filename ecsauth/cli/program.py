"""The ``ecsauth`` command: parse, wire, call, print. No logic."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    sys.stderr.write(
        "ecsauth: error: on Windows the agent takes its logins from machine environment variables;"
        " [Environment]::SetEnvironmentVariable('ECS_ENGINE_AUTH_DATA', VALUE, 'Machine') sets one"
        " (VALUE from ecsauth convert on Linux), then Restart-Service AmazonECS\n"
    )
    raise SystemExit(4)

import os
import signal
from collections.abc import Sequence
from typing import NoReturn

import click
from click.core import ParameterSource

from ecsauth.cli.console import say, say_error, set_log_format, settle_streams
from ecsauth.cli.environment import keep_arguments, own_environment, place_of
from ecsauth.cli.group import cli
from ecsauth.errors import EcsauthError, TargetError, UsageError, fault_place

_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main() -> NoReturn:
    """Run the command of the process and exit with its code."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, and so do we then
            signal.signal(number, _end)
    sys.unraisablehook = lambda _: None  # a traceback of Python's own, on closing what is done
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    set_log_format("text")
    try:
        with own_environment():
            return _run(arguments)
    finally:
        settle_streams()


def _run(arguments: Sequence[str]) -> int:
    """Run one command. The only place that catches everything."""
    try:
        code = _invoke(_with_values(arguments))
    except EcsauthError as error:
        say_error(error)
        return error.exit_code
    except click.ClickException as error:
        say("error", f"{_usage_words(error)}; see {_help_command(error)}")
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("error", "interrupted; every file is whole: run it again")
        return _INTERRUPTED
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:
        return _BROKEN_PIPE
    except OSError as error:  # all others are wrapped where they happen
        if error.filename is not None:
            say("error", f"{error.filename}: {error.strerror}; this is no fault of what you typed")
            return EcsauthError.exit_code
        say("error", f"the output was not written: {error.strerror}")
        return TargetError.exit_code
    except (MemoryError, SystemError):  # the latter is what an import may come to without memory
        say("error", "there is too little memory; every file is whole: raise the limit (MemoryMax)")
        return EcsauthError.exit_code
    except Exception as error:
        say("error", _last_words(error))
        return EcsauthError.exit_code
    return code if isinstance(code, int) else 0


def _last_words(error: Exception) -> str:
    place = fault_place(error)
    if isinstance(error, ImportError) or "<frozen importlib" in place:
        what = getattr(error, "name", None) or "a part of ecsauth or Python"
        return (
            f"{what} could not be loaded; look at memory, the disk and ulimit -n, or install"
            " ecsauth again"
        )
    return f"unexpected: {place}; this is a fault of ecsauth: report it"


def _invoke(arguments: list[str]) -> object:
    """Run the group without click's own ``main``, which ends the process when a pipe breaks."""
    if "_ECSAUTH_COMPLETE" in os.environ:
        cli.main(arguments, prog_name="ecsauth")
    with cli.make_context("ecsauth", list(arguments)) as context:
        keep_arguments(context, arguments)
        return cli.invoke(context)


def _end(number: int, _: object) -> NoReturn:
    """End on a signal as an exception does: temporary files and helpers go first."""
    raise SystemExit(128 + number)


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Give a bare ``--verify`` its value, for click would take the next argument for one."""
    return ["--verify=refuse" if item == "--verify" else item for item in arguments]


def _usage_words(error: click.ClickException) -> str:
    """Return click's words, unless they repeat an argument that is some text with a secret."""
    words = error.format_message().rstrip(".")
    if "{" in words or len(words) > 500:
        return "an argument is some text, not a name"
    parameter, context = getattr(error, "param", None), getattr(error, "ctx", None)
    if parameter is None or context is None or not parameter.envvar:
        return words
    place = place_of(context, parameter.envvar)
    source = context.get_parameter_source(parameter.name)
    if not place and source is ParameterSource.ENVIRONMENT and parameter.envvar not in words:
        place = str(parameter.envvar)
    return f"{place}: {words}" if place else words


def _help_command(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'ecsauth'} --help"
