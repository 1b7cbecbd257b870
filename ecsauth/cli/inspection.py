"""The commands that only look: check (which mends on request) and explain."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from ecsauth.check import ERROR, Finding, check_text, mend_text
from ecsauth.cli import options
from ecsauth.cli.console import print_json, print_lines, result_stream, say_all, stdin_stream
from ecsauth.engine_auth import decode, redact
from ecsauth.errors import CheckError, UsageError
from ecsauth.explain import Explanation, explain
from ecsauth.targets import DEFAULT_TARGET, parse_target
from ecsauth.targets.reading import Reading, read_target
from ecsauth.update import mend_target


@click.command(short_help="Say what is wrong with the settings, as the agent reads them.")
@click.argument("target", required=False, default=DEFAULT_TARGET)
@options.option("--fix", is_flag=True, help="Mend what is safe to mend; the rest is still said.")
@options.as_json
@options.lock_timeout
@options.common
def check(target: str, fix: bool, as_json: bool, lock_timeout: float) -> int:
    """Say what is wrong with TARGET, and with which of its readers.

    TARGET is a path (by default /etc/ecs/ecs.config; one that ends in .json is the agent's JSON
    file), s3://BUCKET/KEY, or - for standard input. An error means that credentials are lost; a
    warning, that it works here and breaks there: ecs-init, docker run --env-file and systemd read
    the file by different rules, and none of them says a word. Exit code 7 if there is an error.
    """
    if fix and (target == "-" or "://" in target):
        raise UsageError("--fix needs a file of this host")
    reading = read_target(target, stdin_stream(), os.environ)
    findings = check_text(reading.layout, reading.text, time.time(), reading.around)
    fixed = False
    if fix and any(item.fixable for item in findings):
        rewrite = any(item.code == "mode" for item in findings)
        destination = parse_target(target, lock_timeout, result_stream())
        fixed, notes = mend_target(destination, mend_text, rewrite=rewrite)
        say_all("note", notes)
        reading = read_target(target, stdin_stream(), os.environ)
        findings = check_text(reading.layout, reading.text, time.time(), reading.around)
    if as_json:
        print_json(_check_document(reading, findings, fixed))
    else:
        print_lines(_check_lines(reading, findings, fixed), sys.stdout)
    return CheckError.exit_code if any(item.severity == ERROR for item in findings) else 0


@click.command("explain", short_help="Say which login the agent uses for an image, and why.")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@options.option(
    "--from",
    "target",
    metavar="TARGET",
    default=DEFAULT_TARGET,
    show_default=True,
    help="Where the settings are: a path, s3://BUCKET/KEY, or - for standard input.",
)
@options.as_json
@options.common
def explain_images(images: tuple[str, ...], target: str, as_json: bool) -> int:
    """Say for each IMAGE which login of the settings the agent uses, and why this one.

    An IMAGE is written as in the task definition. No password is ever shown.
    """
    reading = read_target(target, stdin_stream(), os.environ)
    view = decode(reading.settings)
    found = [explain(view, image) for image in images]
    if as_json:
        print_json({"images": {item.image: _explanation_document(item) for item in found}})
    else:
        auth_type = redact(reading.settings).auth_type
        lines = [line for item in found for line in _explanation_lines(item, auth_type)]
        print_lines(lines, sys.stdout)
    return 0


def _check_document(reading: Reading, findings: Sequence[Finding], fixed: bool) -> dict[str, Any]:
    settings = reading.layout.read(reading.text) if not _is_broken(findings) else None
    errors = sum(1 for item in findings if item.severity == ERROR)
    return {
        "target": reading.name,
        "ok": errors == 0,
        "errors": errors,
        "warnings": len(findings) - errors,
        "fixed": fixed,
        "type": redact(settings).auth_type if settings else "",
        "registries": len(decode(settings).credentials) if settings else 0,
        "findings": [asdict(item) for item in findings],
    }


def _check_lines(reading: Reading, findings: Sequence[Finding], fixed: bool) -> list[str]:
    summary = _check_document(reading, findings, fixed)
    mended = "mended; " if fixed else ""
    if not summary["type"] and not findings:
        return [f"{reading.name}: {_not_there(reading)}"]
    usable = f"the agent reads {_count(summary['registries'], 'login')}"
    if not findings:
        return [f"{reading.name}: {mended}nothing wrong: {usable}, {summary['type']}"]
    counts = f"{_count(summary['errors'], 'error')}, {_count(summary['warnings'], 'warning')}"
    lines = [f"{reading.name}: {mended}{counts}; {usable}"]
    for item in findings:
        place = f"line {item.line}" if item.line else "file"
        lines.append(f"{place:<9} {item.severity:<8} {item.what}")
        lines.append(f"{'':18} {item.effect}")
        lines.append(f"{'':18} -> {item.cure}{' (or: check --fix)' if item.fixable else ''}")
    return lines


def _not_there(reading: Reading) -> str:
    if reading.settings.is_set:
        return "the settings are not in this file; the agent has them from another one"
    return "the settings are not there: the agent pulls anonymously"


def _is_broken(findings: Sequence[Finding]) -> bool:
    return any(item.code == "json" for item in findings)


def _explanation_document(item: Explanation) -> dict[str, Any]:
    names = ("key", "registry", "username", "auth", "ambiguous", "expires_at", "reason")
    return {name: getattr(item, name) for name in names}


def _explanation_lines(item: Explanation, auth_type: str) -> list[str]:
    if item.auth is None:
        maybe = ", or with another login" if item.ambiguous else ""
        return [item.image, f"  anonymous{maybe}", f"  {item.reason}"]
    user = f"user {item.username}, " if item.username else ""
    kind = item.auth.replace("_", " ")
    expiry = f", {_expiry(item.expires_at - time.time())}" if item.expires_at else ""
    random = ", or another" if item.ambiguous else ""
    return [
        item.image,
        f"  {user}{kind}, from {item.key}{random} ({auth_type}){expiry}",
        f"  {item.reason}",
    ]


def _expiry(seconds: float) -> str:
    hours, minutes = divmod(int(abs(seconds)) // 60, 60)
    return f"expires in {hours} h {minutes} min" if seconds > 0 else "expired"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
