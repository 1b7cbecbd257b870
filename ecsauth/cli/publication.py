"""The commands publish and pull: one env file in S3 for a fleet."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ecsauth.cli import host_options, options
from ecsauth.cli.agent_files import check_host
from ecsauth.cli.console import print_json, print_lines, result_stream, say_all
from ecsauth.cli.context import make_context, make_request, s3_maker
from ecsauth.cli.memory import remembered, run_lock
from ecsauth.cli.refresh import run_refresh
from ecsauth.cli.report import report, summarize
from ecsauth.cli.restarting import AgentWork, as_json, say_restarted
from ecsauth.errors import SourceError, UsageError
from ecsauth.fetch import fetch_source
from ecsauth.layout import AGENT_JSON
from ecsauth.lease import Leases
from ecsauth.sources import AnySource, parse_source
from ecsauth.state import new_salt, read_state, text_digest, write_state
from ecsauth.targets import parse_target
from ecsauth.targets.local_file import LocalFile
from ecsauth.update import mend_target, update

_SCHEME = "s3://"


@click.command(short_help="Write the two settings into an env file in S3, for a fleet.")
@click.argument("arguments", metavar="[SOURCE]... s3://BUCKET/KEY", nargs=-1)
@options.option(
    "--base",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where all other settings are; by default those in the object stay.",
)
@options.publishing
@options.auth_format
@options.select
@options.replacing("Drop the registries that no SOURCE gives a login for.")
@options.dry_run("Write nothing; print what would change, secrets hidden.")
@options.verify_first
@options.verify_timeout
@options.insecure_registry
@options.ca_file
@options.helper_timeout
@host_options.state_dir
@options.quiet
@options.common
def publish(arguments: tuple[str, ...], **given: Any) -> int:
    """Fetch from each SOURCE and write the two settings into the env file s3://BUCKET/KEY.

    Every other line of the object stays, and so do logins of other publishers: it is written only
    if nobody else has written it meanwhile, else read again. A bucket or object that the public
    can read is refused. SOURCE as for convert; by default ECSAUTH_SOURCES. To publish only what
    is due, on a timer: refresh --to s3://BUCKET/KEY.
    """
    names, url = _sources(arguments)
    context = make_context(given["helper_timeout"], given["select"], given["expected_bucket_owner"])
    sources = [parse_source(name, context) for name in names]
    target = parse_target(url, 0, result_stream(), s3_maker(given))
    with remembered(given["state_dir"], target, " ".join(names), dry_run=given["dry_run"]) as run:
        outcome = run.outcome = update(sources, target, make_request(given), now=time.time())
        summarize(outcome, target, given["dry_run"])
        run.code = report(outcome, given["quiet"])
    return run.code


@click.command(short_help="Take the two settings from an env file in S3 into the target.")
@click.argument("source", metavar="s3://BUCKET/KEY")
@host_options.targets()
@options.expected_bucket_owner
@options.option("--whole-file", is_flag=True, help="Take all of the text, not the two settings.")
@options.auth_format
@options.replacing("Drop the registries that are not in the object.")
@options.dry_run("Write nothing; print what would change, secrets hidden.")
@options.lock_timeout
@host_options.state_dir
@host_options.restarting("auto")
@options.as_json
@options.option("--verbose", "-v", is_flag=True, help="Say also why it was read.")
@options.quiet
@options.common
def pull(source: str, targets: tuple[str, ...], whole_file: bool, **given: Any) -> int:
    """Take the two settings from the env file s3://BUCKET/KEY into every TARGET.

    What is damaged, what the agent would not read, and what has expired is refused, and the
    present logins stay. If the object has not changed, it is not read and nothing is written. The
    agent is restarted as by refresh.
    """
    if not source.startswith(_SCHEME):
        raise UsageError("pull takes from s3://BUCKET/KEY", "for a login file there is migrate")
    check_host(targets)
    parsed = parse_source(source, make_context(0, "", given["expected_bucket_owner"]))
    found = [parse_target(text, given["lock_timeout"], result_stream()) for text in targets]
    files = [item for item in found if isinstance(item, LocalFile)]
    if len({item.name for item in files}) != len(found):
        raise UsageError("each TARGET is a file here, given once")
    if whole_file and len(files) != 1:
        raise UsageError("--whole-file takes one TARGET")
    if whole_file:
        return _pull_whole(parsed, files[0], given)
    usual = {"force": False, "prune_expired": False, "recheck": 0.0, "verify_first": None}
    return run_refresh([parsed], files, {**usual, "prometheus": None, **given})


def _pull_whole(source: AnySource, file: LocalFile, given: dict[str, Any]) -> int:
    """Take the whole text, if it is good and nothing in it has expired."""
    from ecsauth.sources.s3 import S3Source

    if not isinstance(source, S3Source):
        raise UsageError("--whole-file takes from s3://BUCKET/KEY")
    if source.name.endswith(".json") != (file.layout is AGENT_JSON):
        raise UsageError("--whole-file takes an env file into an env file, JSON into JSON")
    work = AgentWork([file], given)
    done = run_lock(given["state_dir"], given["lock_timeout"])
    noted = remembered(given["state_dir"], file, source.name, dry_run=given["dry_run"])
    with done, noted as run:
        etag = _known_etag(given["state_dir"], file)
        fetched = fetch_source(source, time.time(), etag)
        if fetched.problems:
            raise SourceError(
                f"nothing is taken from {source.name}: {fetched.problems[0].message}",
                fetched.problems[0].hint,
            )
        text = file.read() if fetched.is_unchanged else source.last_text
        if given["dry_run"]:
            would = "would be written, all of it" if file.read() != text else "up to date"
            if given["as_json"]:
                print_json({"written": False, "would": would, "agent": None})
            else:
                print_lines([f"{file.name}: {would}"], sys.stdout)
            run.code = 0
            return 0
        work.mend()
        work.settle_begun()
        work.check_back_off(time.time())
        work.prepare()
        is_written, notes = mend_target(file, lambda _, __: text, rewrite=False)
        say_all("note", [] if given["quiet"] else notes)
        what = "written, all of it" if is_written else "up to date"
        print_lines([f"{file.name}: {what}"], None if given["as_json"] else sys.stdout)
        _keep_etag(given["state_dir"], file, text, fetched.version or etag)
        work.note_written()
        restarted = work.finish()
        code = say_restarted(restarted, quiet=given["quiet"], to_stdout=not given["as_json"])
        run.code = code
    if given["as_json"]:
        print_json({"written": is_written, "agent": as_json(restarted)})
    return code


def _known_etag(directory: Path, file: LocalFile) -> str:
    """Return the ETag of the object that the file is a copy of; empty if it is none."""
    state = read_state(directory, str(file.path.absolute()))
    digest, _, etag = state.whole.partition(" ")
    return etag if digest == text_digest(state.leases.salt, file.read()) else ""


def _keep_etag(directory: Path, file: LocalFile, text: bytes, etag: str) -> None:
    name = str(file.path.absolute())
    state = read_state(directory, name)
    if not state.leases.salt:
        state = replace(state, leases=Leases(new_salt()))
    whole = f"{text_digest(state.leases.salt, text)} {etag}"
    write_state(directory, name, replace(state, whole=whole))


def _sources(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Split the arguments into sources and the object.

    Raises:
        UsageError: the last one is no object, or there is no source.

    """
    if not arguments or not arguments[-1].startswith(_SCHEME):
        raise UsageError("the last argument is s3://BUCKET/KEY, where to publish")
    names = list(arguments[:-1]) or os.environ.get("ECSAUTH_SOURCES", "").split()
    if not names:
        raise UsageError("no SOURCE is given", "name one, such as ecr:, or set ECSAUTH_SOURCES")
    return names, arguments[-1]
