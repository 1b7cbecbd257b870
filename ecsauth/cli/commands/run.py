"""The command run: refresh on a schedule, for containers and hosts without systemd timers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from ecsauth.app.refresh import make_ends
from ecsauth.app.schedule import Pace, Plan, serve
from ecsauth.cli import options
from ecsauth.cli.commands.refresh import parse_request
from ecsauth.cli.console import is_json_log
from ecsauth.cli.environment import raw_arguments, restore_environment
from ecsauth.cli.ports import console_ports
from ecsauth.errors import UsageError

_PROGRAM = (
    "import sys; sys.path[:] = filter(None, sys.path); from ecsauth.__main__ import main; main()"
)
"""Like ``python -m ecsauth``, but never with the working directory on sys.path."""


@click.command(
    short_help="Refresh on a schedule, for hosts without systemd timers and for containers.",
    context_settings={"ignore_unknown_options": True},
)
@options.seconds_option("--every", 1, 43200, 900.0, "How often to check whether anything is due.")
@options.seconds_option("--jitter", 0, 43200, 60.0, "Random extra wait, at most this long.")
@options.common
@click.argument("arguments", metavar="[REFRESH OPTION|SOURCE]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(context: click.Context, every: float, jitter: float, arguments: tuple[str, ...]) -> int:
    """Refresh at once and then on a schedule, until SIGTERM.

    Takes the options and SOURCEs of refresh, and runs each refresh in a process of its own. A
    failed refresh is retried after 30 s, then after pauses that grow up to --every. SIGTERM lets a
    write in progress finish. SIGHUP reads the settings again and refreshes. Under systemd
    (Type=notify) it reports READY and feeds the watchdog. With --prometheus FILE every refresh
    writes its metrics.
    """
    plans = [_plan(context, Pace(every, jitter), arguments)]

    def load() -> Plan:
        return plans.pop() if plans else _reloaded(context)

    return serve(load, console_ports())


def _reloaded(context: click.Context) -> Plan:
    """Return the plan for the current settings; restore the environment if they are invalid.

    Raises:
        UsageError: they are invalid.

    """
    before = dict(os.environ)
    restore_environment(context)
    try:
        with run.make_context("run", raw_arguments(context)) as inner:
            pace = Pace(inner.params["every"], inner.params["jitter"])
            return _plan(inner, pace, inner.params["arguments"])
    except BaseException as error:
        os.environ.clear()
        os.environ.update(before)
        if isinstance(error, click.ClickException):
            raise UsageError(error.format_message(), reference="usage-settings") from error
        raise


def _plan(context: click.Context, pace: Pace, arguments: Sequence[str]) -> Plan:
    """Return how to run each refresh; refuse now what every refresh would refuse.

    Raises:
        UsageError: an option, SOURCE or TARGET is invalid.

    """
    request = parse_request(arguments, context)
    if "-" in request.sources:
        raise UsageError(
            "standard input can be read only once", "name a file", reference="usage-stdin"
        )
    make_ends(request, console_ports())
    command = [sys.executable, "-c", _PROGRAM, "refresh", "--env-file=", *arguments]
    return Plan(pace, command, _child_environment(), request.time_limit)


def _child_environment() -> dict[str, str]:
    """Return the environment for each refresh; it contains the current settings."""
    environment = dict(os.environ)
    environment["ECSAUTH_LOG_FORMAT"] = "json" if is_json_log() else "text"
    environment.pop("ECSAUTH_ENV_FILE", None)
    environment.pop("NOTIFY_SOCKET", None)
    return environment
