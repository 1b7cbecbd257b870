"""The command run: refresh on a schedule, for containers and hosts without systemd timers."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import click

from ecsauth.cli import options
from ecsauth.cli.console import is_json_log, say
from ecsauth.cli.environment import (
    raw_arguments,
    restore_environment,
)
from ecsauth.cli.refresh import prepare, refresh
from ecsauth.errors import EcsauthError, UsageError
from ecsauth.notify import Notifier
from ecsauth.scheduler import Child, Loop, Pace

_PROGRAM = (
    "import sys; sys.path[:] = filter(None, sys.path); from ecsauth.__main__ import main; main()"
)
"""Like ``python -m ecsauth``, but never from the folder that we happen to be in."""

_LIMIT_SECONDS = 600.0
_GRACE_SECONDS = 8.0
"""Less than the 10 s that docker stop gives."""


@click.command(
    short_help="Refresh on a schedule, for hosts without systemd timers and for containers.",
    context_settings={"ignore_unknown_options": True},
)
@options.option(
    "--every",
    type=options.Seconds(1, 43200),
    metavar="SECONDS",
    default=900.0,
    show_default=True,
    help="How often to look whether anything is due.",
)
@options.option(
    "--jitter",
    type=options.Seconds(0, 43200),
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    help="Up to so many seconds more, by chance.",
)
@options.common
@click.argument("arguments", metavar="[REFRESH OPTION|SOURCE]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(context: click.Context, every: float, jitter: float, arguments: tuple[str, ...]) -> int:
    """Refresh at once and then on a schedule, until SIGTERM.

    Takes the options and SOURCEs of refresh, and runs each refresh in a process of its own. A
    refresh that fails is tried again after 30 s, then after pauses that grow up to --every.
    SIGTERM: what is being written is finished first. SIGHUP: the settings are read again, and a
    refresh follows. Under systemd (Type=notify) it reports READY and feeds the watchdog. With
    --prometheus FILE every refresh writes its metrics.
    """
    limit = _check(context, arguments)
    environment = _child_environment()
    service = _Service(context, Pace(every, jitter), list(arguments), environment, limit)
    return service.run()


class _Service:
    """The schedule, its signals and its children."""

    def __init__(
        self,
        context: click.Context,
        pace: Pace,
        arguments: list[str],
        environment: dict[str, str],
        limit: float,
    ) -> None:
        self._limit = limit
        self._context = context
        self._arguments = arguments
        self._environment = environment
        self._notifier = Notifier(os.environ)
        self._is_stopping = False
        self._is_reloading = False
        watchdog = self._notifier.watchdog_seconds
        self._loop = Loop(
            self._refresh,
            pace,
            say=lambda text: say("warning", text),
            on_tick=self._tick,
            tick=min(30.0, watchdog or 30.0),
        )

    def run(self) -> int:
        os.environ["TZ"] = "UTC"  # the schedule package plans in local time, which jumps
        time.tzset()
        signals = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._hup}
        before = {number: signal.signal(number, action) for number, action in signals.items()}
        try:
            self._loop.run()
        finally:
            for number, action in before.items():
                signal.signal(number, action)
        self._notifier.send("STOPPING=1")
        say("note", "ended, as asked; every file is whole")
        return 0

    def _stop(self, *_: Any) -> None:
        self._is_stopping = True
        self._loop.stop()

    def _hup(self, *_: Any) -> None:
        self._is_reloading = True
        self._loop.wake()

    def _tick(self) -> None:
        self._notifier.send("WATCHDOG=1")

    def _refresh(self) -> bool:
        if self._is_reloading:
            self._is_reloading = False
            self._reload()
        child = Child(
            [sys.executable, "-c", _PROGRAM, "refresh", "--env-file=", *self._arguments],
            self._environment,
            self._limit,
            _GRACE_SECONDS,
            lambda: self._is_stopping,
            self._tick,
        )
        code = child.run()
        self._notifier.send(f"READY=1\nWATCHDOG=1\nSTATUS=the last refresh ended with {code}")
        return code == 0

    def _reload(self) -> None:
        """Take the settings as they are now; if they make no sense, go on with those before."""
        before = dict(os.environ)
        restore_environment(self._context)
        try:
            with run.make_context("run", raw_arguments(self._context)) as context:
                self._limit = _check(context, context.params["arguments"])
                self._loop.pace = Pace(context.params["every"], context.params["jitter"])
                self._environment = _child_environment()
        except Exception as error:  # whatever is in the settings, the service goes on
            os.environ.clear()
            os.environ.update(before)
            say("error", f"the settings were not read again: {_words(error)}")
        else:
            say("note", "the settings were read again")


def _words(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    return str(error) if isinstance(error, EcsauthError) else type(error).__name__


def _check(context: click.Context, arguments: tuple[str, ...]) -> float:
    """Refuse now what every refresh would refuse; return the seconds that one may take.

    Raises:
        UsageError: an option, SOURCE or TARGET makes no sense.

    """
    with refresh.make_context("refresh", list(arguments), parent=context) as inner:
        given = inner.params
        if "-" in given["sources"]:
            raise UsageError("standard input can be read only once", "name a file")
        prepare(**given)
        # Draining, the restart and its proof, the way back and its proof come on top.
        draining = given["drain_timeout"] if given["drain"] else 0.0
        return _LIMIT_SECONDS + float(draining) + 2 * float(given["timeout"])


def _child_environment() -> dict[str, str]:
    """Return the environment for each refresh: the settings as they are now are in it."""
    environment = dict(os.environ)
    environment["ECSAUTH_LOG_FORMAT"] = "json" if is_json_log() else "text"
    environment.pop("ECSAUTH_ENV_FILE", None)
    environment.pop("NOTIFY_SOCKET", None)
    return environment
