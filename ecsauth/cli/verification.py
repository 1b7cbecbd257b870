"""The command verify, and the verification before migrate writes."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Callable

import click

from ecsauth.cli import options
from ecsauth.cli.console import print_json, print_lines, say_all, say_error, stdin_stream
from ecsauth.cli.context import make_context
from ecsauth.credential import Credential, Fetched
from ecsauth.engine_auth import decode, shown_key
from ecsauth.errors import SourceError
from ecsauth.fetch import Verifier, fetch_all
from ecsauth.sources import parse_source
from ecsauth.targets import DEFAULT_TARGET
from ecsauth.targets.reading import read_target
from ecsauth.verdict import ACCEPTED, Verdict
from ecsauth.verify import verify_all


@click.command(short_help="Log in to each registry, as docker would; writes nothing.")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@options.option(
    "--from",
    "target",
    metavar="TARGET",
    help=f"Without SOURCE: where the logins are.  [default: {DEFAULT_TARGET}]",
)
@options.verify_timeout
@options.insecure_registry
@options.ca_file
@options.select
@options.helper_timeout
@options.as_json
@options.common
def verify(
    sources: tuple[str, ...],
    target: str | None,
    verify_timeout: float,
    insecure_registry: tuple[str, ...],
    ca_file: Path | None,
    select: str,
    helper_timeout: float,
    as_json: bool,
) -> int:
    """Log in to the registry of each login and say what it answers.

    As docker does it: /v2/, then Basic, or Bearer with the token server that the registry names.
    Nothing is sent anywhere else, and nothing on plain HTTP but to an insecure registry. Exit
    code 3 unless all are accepted.
    """
    if sources:
        context = make_context(helper_timeout, select)
        fetched = fetch_all([parse_source(text, context) for text in sources], time.time())
    else:
        fetched = _from_target(target or DEFAULT_TARGET)
    say_all("note", fetched.notes)
    verifier = make_verifier(verify_timeout, insecure_registry, ca_file)
    verdicts = verifier(fetched.credentials)
    if as_json:
        print_json({"verdicts": [asdict(verdict) for verdict in verdicts]})
    else:
        print_lines(_lines(verdicts), sys.stdout)
    for problem in fetched.problems:
        say_error(problem)
    all_accepted = all(verdict.outcome == ACCEPTED for verdict in verdicts)
    return 0 if all_accepted and not fetched.problems else SourceError.exit_code


def make_verifier(timeout: float, insecure: Sequence[str], ca_file: Path | None) -> Verifier:
    """Return what logs in with each credential, progress shown on a terminal."""

    def verifier(credentials: Sequence[Credential]) -> list[Verdict]:
        with _progress(len(credentials)) as advance:
            return verify_all(
                credentials,
                timeout=timeout,
                insecure=insecure,
                ca_file=ca_file,
                on_verdict=advance,
            )

    return verifier


def _from_target(target: str) -> Fetched:
    reading = read_target(target, stdin_stream(), os.environ)
    view = decode(reading.settings)
    if view.fault or not view.credentials:
        why = view.fault or "no registries in it"
        raise SourceError(f"{reading.name}: there is no login: {why}", "see ecsauth check")
    problems = tuple(
        SourceError(f"{shown_key(key)}: the agent passes over it: {why}", "see ecsauth check")
        for key, why in view.skipped.items()
    )
    return Fetched(view.credentials, problems)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[Verdict], None]]:
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("logging in", total=total)
        yield lambda _: progress.advance(task)


def _lines(verdicts: Sequence[Verdict]) -> list[str]:
    widths = [
        max((len(getattr(verdict, name)) for verdict in verdicts), default=0)
        for name in ("registry", "username", "outcome")
    ]
    lines = []
    for verdict in verdicts:
        elsewhere = f"tokens come from {verdict.realm}" if verdict.realm else ""
        detail = "; ".join(filter(None, [verdict.detail, elsewhere]))
        columns = (verdict.registry, verdict.username, verdict.outcome)
        row = "  ".join(text.ljust(width) for text, width in zip(columns, widths))
        lines.append(f"{row}  {detail}".rstrip())
    return lines
