"""The command refresh: what the timer runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import click

from ecsauth.cli import host_options, options
from ecsauth.cli.agent_files import check_host
from ecsauth.cli.console import (
    is_json_log,
    print_json,
    print_lines,
    result_stream,
    say,
    say_all,
    say_error,
)
from ecsauth.cli.context import make_context, make_request, s3_maker
from ecsauth.cli.memory import StateMemory, run_lock
from ecsauth.cli.report import diff_lines, restart_advice, summary_lines
from ecsauth.cli.restarting import AgentWork, is_restarting, say_restarted
from ecsauth.cli.restarting import as_json as restarted_as_json
from ecsauth.errors import AgentError, EcsauthError, SourceError, UsageError
from ecsauth.files import is_there
from ecsauth.refresh import Refreshed, RefreshRequest, TargetResult
from ecsauth.refresh import refresh as refresh_targets
from ecsauth.sources import AnySource, parse_source
from ecsauth.targets import HELPER, parse_target
from ecsauth.targets.local_file import LocalFile
from ecsauth.targets.stdout import Stdout

if TYPE_CHECKING:
    from ecsauth.cli.warming import Warmed
    from ecsauth.restart.ports import Restarted
    from ecsauth.targets.s3 import S3Target

AnyTarget = Union[LocalFile, "S3Target"]


@click.command(short_help="Fetch what is due, and only that: the timer's command.")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1, envvar="ECSAUTH_SOURCES")
@host_options.targets(
    "A path (one that ends in .json is the agent's JSON file), s3://BUCKET/KEY, or helper: (the"
    " cache of docker-credential-ecr-login, for sources in ECR). May be repeated."
)
@options.publishing
@options.auth_format
@options.select
@options.option("--force", is_flag=True, help="Fetch everything, due or not.")
@options.option(
    "--prune-expired",
    is_flag=True,
    help="Take out every login that is known to have expired, wherever it came from.",
)
@options.replacing("Drop the registries that no SOURCE gives a login for.")
@options.option(
    "--recheck",
    type=options.Seconds(1, 2_592_000),
    metavar="SECONDS",
    default=3600.0,
    show_default=True,
    help="How often a secret that tells no end of its life is looked at again.",
)
@options.dry_run("Write nothing; print what would change, secrets hidden.")
@options.verify_first
@options.verify_timeout
@options.insecure_registry
@options.ca_file
@options.helper_timeout
@options.lock_timeout
@host_options.state_dir
@host_options.restarting("auto")
@options.option(
    "--prometheus",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write metrics of the run there (mode 0644), for node_exporter's textfile collector.",
)
@options.as_json
@options.option("--verbose", "-v", is_flag=True, help="Say also why each source was asked.")
@options.quiet
@options.common
def refresh(sources: tuple[str, ...], targets: tuple[str, ...], **given: Any) -> int:
    """Fetch the logins that are due from each SOURCE and bring them into every TARGET.

    Due is a token at half its life, a secret after --recheck, a login that is missing in TARGET
    or was changed there, a SOURCE that is new or was changed itself. Login files are read each
    time. Nothing due: nothing is asked of AWS and nothing is written. A login whose source fails
    stays until it expires. SOURCE as for convert.

    If the agent of this host is to read what was written, it is restarted when that loses no
    task (ECS_DATADIR), and has to prove that it came back; else the content before is restored.
    """
    check_host(targets)
    parsed, files = prepare(sources, targets, **given)
    if HELPER in targets:
        from ecsauth.cli.warming import check_sources

        check_sources(parsed)
    return run_refresh(parsed, files, given, warms=HELPER in targets)


def run_refresh(
    parsed: Sequence[AnySource],
    files: Sequence[AnyTarget],
    given: dict[str, Any],
    *,
    warms: bool = False,
) -> int:
    """Refresh, say what came of it and return the exit code.

    Args:
        parsed: sources.
        files: targets.
        given: values of the options of refresh.
        warms: whether the credential helper's cache is a target too.

    """
    request = RefreshRequest(
        update=make_request(given),
        force=given["force"],
        prune_expired=given["prune_expired"],
        recheck=given["recheck"],
        spread=_chance(),
    )
    memory = StateMemory(given["state_dir"])
    local = [item for item in files if isinstance(item, LocalFile)]
    work = AgentWork(local, given)
    with run_lock(given["state_dir"], given["lock_timeout"]):
        now = time.time()
        left_alone: list[TargetResult] = []
        if not given["dry_run"]:
            work.mend()
            work.settle_begun()
            left_alone = _left_alone(work, files, now, raises=not warms)
            if left_alone:
                files = [item for item in files if item not in work.files]
                work = AgentWork([], given)
            work.prepare()
        done = refresh_targets(parsed, files, request, memory, now=now)
        done = replace(done, results=(*left_alone, *done.results))
        codes = [_code(result) for result in done.results]
        _say(done, **given)
        restarted = None
        if not given["dry_run"]:
            restarted = _finish(work, done, codes, memory, now, given)
        warmed = None
        if warms:
            from ecsauth.cli.warming import warm

            # last: nobody waits for it, and AWS may take its time
            warmed = warm(parsed, force=given["force"], dry_run=given["dry_run"])
            codes.append(warmed.code)
            _say_warmed(warmed, given["as_json"])
    if given["as_json"]:
        document = _as_json(done, codes)
        document["targets"] += [warmed.as_json()] if warmed else []
        print_json({**document, "agent": restarted_as_json(restarted)})
    if given["prometheus"] is not None:
        from ecsauth.cli.state import write_metrics  # with the Docker SDK

        write_metrics(local, given["prometheus"], given["state_dir"], given["introspection_url"])
    return max(codes)


def _chance() -> float:
    """Return a number from 0 to 1; random takes longer to load than all of this to run."""
    return int.from_bytes(os.urandom(7), "big") / 2**56


def _finish(
    work: AgentWork,
    done: Refreshed,
    codes: list[int],
    memory: StateMemory,
    now: float,
    given: dict[str, Any],
) -> Restarted | None:
    """Restart the agent if that is due; remember what became of each target, codes included."""
    for result in done.results:
        if result.outcome.written:  # known even if what follows is cut off
            memory.remember(result, None, int(now))
    work.note_written()
    restarted = work.finish()
    agents = say_restarted(restarted, quiet=given["quiet"], to_stdout=not given["as_json"])
    for index, result in enumerate(done.results):
        if result.target in work.files:
            codes[index] = max(codes[index], agents)
        memory.remember(result, codes[index], int(now))
    return restarted


def _left_alone(
    work: AgentWork, targets: Sequence[AnyTarget], now: float, *, raises: bool
) -> list[TargetResult]:
    """Return the agent's files with an error, if it has to recover from a failure first.

    Raises:
        AgentError: it has, there are no other targets, and `raises`.

    """
    try:
        work.check_back_off(now)
    except AgentError as error:
        if raises and all(item in work.files for item in targets):
            raise
        return [TargetResult(item, error=error) for item in work.files]
    return []


def prepare(
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    helper_timeout: float,
    select: str,
    lock_timeout: float,
    **given: Any,
) -> tuple[list[AnySource], list[AnyTarget]]:
    """Understand sources and targets; nothing is asked or opened yet.

    Raises:
        UsageError: one of them makes no sense, or there is none.

    """
    if not sources:
        raise UsageError("no SOURCE is given", "name one, such as ecr:, or set ECSAUTH_SOURCES")
    if len(set(targets)) != len(targets) or "-" in targets:
        raise UsageError("each TARGET is a file or an object in S3, given once")
    context = make_context(helper_timeout, select, given["expected_bucket_owner"])
    parsed = [parse_source(text, context) for text in sources]
    make_s3 = s3_maker(given)
    found = [
        parse_target(text, lock_timeout, result_stream(), make_s3)
        for text in targets
        if text != HELPER
    ]
    if len({item.name for item in found}) != len(found):
        raise UsageError("a TARGET is given twice")
    return parsed, [item for item in found if not isinstance(item, Stdout)]


def _code(result: TargetResult) -> int:
    if result.error is not None:
        return result.error.exit_code
    return SourceError.exit_code if result.outcome.problems else 0


def _say(
    done: Refreshed, *, policy: str, quiet: bool, verbose: bool, as_json: bool, **given: Any
) -> None:
    """Say what was done: notes and errors to stderr, the summary to stdout."""
    said: set[str] = set()
    if verbose:
        say_all("note", [f"{item.source}: asked, {item.why}" for item in done.asked])
    for result in done.results:
        outcome = result.outcome
        _say_once(said, "note", [] if quiet else outcome.notes)
        is_same = bool(done.asked) and all(item.answer.is_unchanged for item in done.asked)
        lines = _summary(result, done.next_at, dry_run=given["dry_run"], is_same=is_same)
        if is_json_log():
            say_all("note", [] if quiet else [line.strip() for line in lines])
        else:
            print_lines(lines, None if as_json else sys.stdout)
        target = result.target
        if result.error is None:
            more: tuple[str, ...] = ()
            if isinstance(target, LocalFile):
                narrowed = () if given["dry_run"] or outcome.written else _narrow(target)
                more = (*target.warnings(), *narrowed)
            _say_once(said, "warning", [*outcome.warnings, *more])
        for problem in [*outcome.problems, *filter(None, [result.error])]:
            if str(problem) not in said:
                said.add(str(problem))
                say_error(problem)
        advises = outcome.written and not quiet
        if advises and isinstance(target, LocalFile) and not is_restarting(target, policy):
            say("next", restart_advice())


def _say_warmed(warmed: Warmed, as_json: bool) -> None:
    if is_json_log():
        say("note", warmed.line)
    else:
        print_lines([warmed.line], None if as_json else sys.stdout)
    for problem in warmed.problems:
        say_error(problem)


def _say_once(said: set[str], kind: str, lines: Sequence[str]) -> None:
    say_all(kind, [line for line in lines if line not in said])
    said.update(lines)


def _narrow(target: LocalFile) -> tuple[str, ...]:
    try:
        return target.narrow() if is_there(target.path) else ()
    except EcsauthError as error:
        return (str(error),)


def _summary(
    result: TargetResult, next_at: int | None, *, dry_run: bool, is_same: bool
) -> list[str]:
    if result.error is not None:
        return []
    name, plan = result.target.name, result.outcome.plan
    later = ""
    if next_at is not None:
        later = f"; next at {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(next_at))}"
    if plan is None:
        what = "nothing has changed" if is_same else "nothing is due"
        what = "nothing could be fetched" if result.outcome.problems else what
        return [f"{name}: {what}{later}"]
    lines = summary_lines(result.outcome, plan, name)
    if not result.outcome.written and not plan.changed:
        return [f"{lines[0]}{later}"]
    if dry_run:
        lines = [*diff_lines(result.outcome, plan, name, result.target.layout.names), *lines]
    return lines


def _as_json(done: Refreshed, codes: Sequence[int]) -> dict[str, Any]:
    return {
        "asked": [
            {
                "source": item.source,
                "why": item.why,
                "version": item.answer.version,
                "problems": [str(problem) for problem in item.answer.problems],
            }
            for item in done.asked
        ],
        "targets": [
            {
                "target": result.target.name,
                "written": result.outcome.written,
                "registries": {
                    change.credential.registry: change.kind
                    for change in (result.outcome.plan.changes if result.outcome.plan else ())
                },
                "code": code,
                "error": None if result.error is None else str(result.error),
            }
            for result, code in zip(done.results, codes)
        ],
        "next_at": done.next_at,
    }
