"""The ``ecsauth`` command: parse, wire, call, print. No logic."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    sys.stderr.write(
        "ecsauth: error: ecsauth does not run on Windows, where the agent reads machine environment"
        " variables; run ecsauth convert --output powershell on Linux, and its output here as"
        " Administrator\n"
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
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP: keep it so
            signal.signal(number, _end)
    sys.unraisablehook = lambda _: None  # no traceback from closing streams at exit
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
    """Run one command; the only place that catches every exception."""
    try:
        code = _invoke(_with_values(arguments))
    except EcsauthError as error:
        say_error(error)
        return error.exit_code
    except click.ClickException as error:
        text = f"{_usage_words(error)}; see {_help_command(error)}"
        say("error", text, reference=UsageError.reference)
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("error", "interrupted; no file is half-written: run it again", reference="interrupted")
        return _INTERRUPTED
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:
        return _BROKEN_PIPE
    except OSError as error:  # all others are wrapped where they occur
        if error.filename is not None:
            say("error", f"{error.filename}: {error.strerror}", reference="host-failed")
            return EcsauthError.exit_code
        text = f"the output was not written: {error.strerror}"
        say("error", text, reference="output-not-written")
        return TargetError.exit_code
    except (MemoryError, SystemError):  # an import may raise the latter
        text = "out of memory; no file is half-written: raise the limit (MemoryMax)"
        say("error", text, reference="out-of-memory")
        return EcsauthError.exit_code
    except Exception as error:
        say("error", _last_words(error), reference=EcsauthError.reference)
        return EcsauthError.exit_code
    return code if isinstance(code, int) else 0


def _last_words(error: Exception) -> str:
    place = fault_place(error)
    if isinstance(error, ImportError) or "<frozen importlib" in place:
        what = getattr(error, "name", None) or "a part of ecsauth or Python"
        return (
            f"{what} could not be loaded; check memory, the disk and ulimit -n, or reinstall"
            " ecsauth"
        )
    return f"unexpected: {place}; this is a bug in ecsauth: report it"


def _invoke(arguments: list[str]) -> object:
    """Run the group without click's own ``main``, which exits the process on a broken pipe."""
    if "_ECSAUTH_COMPLETE" in os.environ:
        cli.main(arguments, prog_name="ecsauth")
    with cli.make_context("ecsauth", list(arguments)) as context:
        keep_arguments(context, arguments)
        return cli.invoke(context)


def _end(number: int, _: object) -> NoReturn:
    """End on a signal with an exception, so that temporary files and helpers are cleaned up."""
    raise SystemExit(128 + number)


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Give a bare ``--verify`` its value; click would take the next argument as its value."""
    return ["--verify=refuse" if item == "--verify" else item for item in arguments]


def _usage_words(error: click.ClickException) -> str:
    """Return click's message, unless it repeats an argument that may hold a secret."""
    words = error.format_message().rstrip(".")
    if "{" in words or len(words) > 500:
        return "an argument looks like a document, not a name or a path"
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
