"""The command migrate."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import click

from ecsauth.cli import host_options, options
from ecsauth.cli.agent_files import check_host
from ecsauth.cli.console import (
    result_stream,
    say,
    say_all,
)
from ecsauth.cli.context import account_of, make_context, make_request
from ecsauth.cli.report import report, restart_advice, summarize
from ecsauth.cli.restarting import AgentWork, is_restarting, say_restarted
from ecsauth.errors import UsageError
from ecsauth.restart import NEVER
from ecsauth.sources import find_login_file, parse_source
from ecsauth.targets import parse_target
from ecsauth.targets.local_file import LocalFile
from ecsauth.update import Outcome, update


@click.command(short_help="Bring a docker login file's logins into ecs.config, once.")
@click.argument("login_file", metavar="[LOGIN_FILE]", required=False)
@host_options.targets(
    "A path (one that ends in .json is the agent's JSON file), or - for standard output."
)
@options.auth_format
@options.select
@options.replacing("Drop the registries that the login file does not name.")
@options.dry_run("Write nothing; print what would change, secrets hidden.")
@options.verify_first
@options.verify_timeout
@options.insecure_registry
@options.ca_file
@options.helper_timeout
@options.lock_timeout
@host_options.state_dir
@host_options.restarting("never")
@options.quiet
@options.common
def migrate(
    login_file: str | None,
    targets: tuple[str, ...],
    select: str,
    dry_run: bool,
    helper_timeout: float,
    lock_timeout: float,
    state_dir: Path,
    quiet: bool,
    **given: Any,
) -> int:
    """Bring the logins of a docker login file into the agent's configuration, once.

    LOGIN_FILE is anything that convert takes; by default $DOCKER_CONFIG/config.json, else
    ~/.docker/config.json, else ~/.dockercfg. Registries that are in TARGET already and not in
    the login file stay there.
    """
    if len(targets) != 1:
        raise UsageError(f"migrate writes one target, and {len(targets)} are given")
    check_host(targets)
    name = login_file or _default_login_file(quiet)
    source = parse_source(name, make_context(helper_timeout, select))
    destination = parse_target(targets[0], lock_timeout, result_stream())
    from ecsauth.cli.memory import remembered, run_lock

    files = [destination] if isinstance(destination, LocalFile) and not dry_run else []
    given = {**given, "state_dir": state_dir, "quiet": quiet, "dry_run": dry_run}
    work = AgentWork(files, given, is_once=True)
    with contextlib.ExitStack() as held:
        if work.policy != NEVER:
            held.enter_context(run_lock(state_dir, lock_timeout))
        if not dry_run:
            work.mend()
            work.settle_begun()
        work.prepare()
        with remembered(state_dir, destination, source.name, dry_run=dry_run) as run:
            outcome = run.outcome = update(
                [source], destination, make_request(given), now=time.time()
            )
            summarize(outcome, destination, dry_run)
            code = report(outcome, quiet)
            if isinstance(destination, LocalFile) and outcome.plan is not None:
                advises = not quiet and not is_restarting(destination, work.policy)
                _say_after(destination, outcome, dry_run, advises)
            work.note_written()
            run.code = max(code, say_restarted(work.finish(), quiet=quiet))
    return run.code


def _default_login_file(quiet: bool) -> str:
    found = find_login_file(os.environ, account_of)
    say_all("note", [] if quiet else [found.note])
    return f"docker-config:{found.path}"


def _say_after(target: LocalFile, outcome: Outcome, dry_run: bool, advises: bool) -> None:
    say_all("warning", target.warnings())
    if not dry_run and not outcome.written:
        say_all("note", target.narrow())
    if outcome.written and advises:
        say("next", restart_advice())
