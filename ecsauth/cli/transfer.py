"""The commands that move credentials: convert and migrate."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from ecsauth.cli import options
from ecsauth.cli.agent_files import check_host
from ecsauth.cli.console import (
    print_lines,
    result_stream,
    say,
    say_all,
    say_error,
)
from ecsauth.cli.context import account_of, make_context, make_request
from ecsauth.cli.report import diff_lines, restart_advice, summary_lines
from ecsauth.cli.restarting import AgentWork, is_restarting, say_restarted
from ecsauth.errors import SourceError, UsageError
from ecsauth.layout import AGENT_JSON, DATA, ENV_FILE, Layout
from ecsauth.restart import NEVER
from ecsauth.sources import DockerConfigSource, find_login_file, parse_source
from ecsauth.targets import parse_target
from ecsauth.targets.local_file import LocalFile
from ecsauth.targets.stdout import Stdout, write_stream
from ecsauth.update import Outcome, Request, Target, raw_settings, update

_OUTPUTS = {"env": ENV_FILE, "data": DATA, "agent-json": AGENT_JSON}
_APPLYING = {
    "docker-config": "it is a login file: ~/.docker/config.json, auth.json of podman, or for"
    " Kubernetes: kubectl create secret generic NAME --type=kubernetes.io/dockerconfigjson"
    " --from-file=.dockerconfigjson=FILE",
    "bottlerocket": "it goes into the instance's user data, or in the control container:"
    " apiclient apply < FILE; the agent is restarted by that",
    "powershell": "run it on the Windows instance as Administrator; tasks go on meanwhile",
}
"""How to apply what other programs take."""


@click.command(short_help="Print the two settings that SOURCE comes to.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, envvar="ECSAUTH_SOURCES")
@options.auth_format
@options.option(
    "--output",
    type=click.Choice([*_OUTPUTS, *_APPLYING]),
    default="env",
    show_default=True,
    help="env: two lines for ecs.config; data: the value of ECS_ENGINE_AUTH_DATA alone;"
    " agent-json: for ecs.config.json; docker-config: a login file for docker, podman, Kubernetes;"
    " bottlerocket: settings in TOML; powershell: commands for Windows.",
)
@options.select
@options.option(
    "--raw",
    is_flag=True,
    help="Print what jq -c would: nothing mended, no credential store asked.",
)
@options.helper_timeout
@options.quiet
@options.common
def convert(
    sources: tuple[str, ...],
    auth_format: str,
    output: str,
    select: str,
    raw: bool,
    helper_timeout: float,
    quiet: bool,
) -> int:
    """Print the two settings that SOURCE comes to, secrets included.

    SOURCE is a docker login file (config.json, .dockercfg, auth.json, a decoded
    .dockerconfigjson), docker-config:PATH, env:VARIABLE, or - for standard input; in AWS ecr:,
    ecr:REGION, ecr:HOST, ecr-public:, secretsmanager:ID or ssm:NAME (?registry=HOST and more may
    follow). Of two sources with a login for the same registry, the later counts.
    """
    context = make_context(helper_timeout, select)
    if sources.count("-") > 1:
        raise UsageError("- (standard input) is given twice")
    parsed = [parse_source(text, context) for text in sources]
    if raw:
        if output in _APPLYING:
            raise UsageError(f"--raw does not go with --output {output}")
        if len(parsed) > 1 or not isinstance(parsed[0], DockerConfigSource):
            raise UsageError("--raw takes one SOURCE, a login file")
        text, warnings = raw_settings(
            parsed[0].document(), select or "auths", auth_format, _OUTPUTS[output]
        )
        write_stream(result_stream(), text)
        say_all("warning", warnings)
        return 0
    target = Stdout(result_stream(), _layout(output))
    outcome = update(parsed, target, Request(auth_format), now=time.time())
    code = report(outcome, quiet)
    if outcome.written and not quiet:
        say_all("next", [_APPLYING.get(output, "")])
    return code


def _layout(output: str) -> Layout:
    if output in _OUTPUTS:
        return _OUTPUTS[output]
    from ecsauth.printed import BOTTLEROCKET, DOCKER_CONFIG, POWERSHELL

    others = {"docker-config": DOCKER_CONFIG, "bottlerocket": BOTTLEROCKET}
    return others.get(output, POWERSHELL)


@click.command(short_help="Bring a docker login file's logins into ecs.config, once.")
@click.argument("login_file", metavar="[LOGIN_FILE]", required=False)
@options.targets(
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
@options.state_dir
@options.restarting("never")
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


def summarize(outcome: Outcome, target: Target, dry_run: bool) -> None:
    """Print what became of the target; to stderr if the settings themselves went to stdout."""
    if outcome.plan is None:
        return
    lines = summary_lines(outcome, outcome.plan, target.name)
    if dry_run:
        lines = [*diff_lines(outcome, outcome.plan, target.name, target.layout.names), *lines]
    holds_settings = isinstance(target, Stdout) and not dry_run
    print_lines(lines, sys.stderr if holds_settings else sys.stdout)


def _say_after(target: LocalFile, outcome: Outcome, dry_run: bool, advises: bool) -> None:
    say_all("warning", target.warnings())
    if not dry_run and not outcome.written:
        say_all("note", target.narrow())
    if outcome.written and advises:
        say("next", restart_advice())


def report(outcome: Outcome, quiet: bool) -> int:
    """Print the words of an outcome to stderr and return the exit code."""
    say_all("note", [] if quiet else outcome.notes)
    say_all("warning", outcome.warnings)
    for problem in outcome.problems:
        say_error(problem)
    return SourceError.exit_code if outcome.problems else 0
