"""An outcome in words. Nothing here sees a secret but to leave it out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.cli.console import print_lines, say_all, say_error
from ecsauth.engine_auth import EngineAuth, redact
from ecsauth.errors import SourceError
from ecsauth.files import is_directory
from ecsauth.targets.stdout import Stdout
from ecsauth.update import Outcome, Target

if TYPE_CHECKING:
    from ecsauth.plan import Plan

_SIGNS = {"added": "+", "updated": "~", "unchanged": "=", "kept": "=", "removed": "-"}
_WORDS = {"kept": "kept as it is"}


def summary_lines(outcome: Outcome, plan: Plan, target: str) -> list[str]:
    """Say what became of the target and of each registry."""
    count = len(plan.credentials)
    registries = f"{count} registr{'y' if count == 1 else 'ies'}"
    done = "written" if outcome.written else "would be written" if plan.changed else "up to date"
    size = len(plan.engine_auth.auth_data.encode())
    head = f"{target}: {done}: {registries}, {plan.engine_auth.auth_type}, {size:,} bytes"
    width = max((len(change.credential.auth_key.text) for change in plan.changes), default=0)
    rows = [
        f"  {_SIGNS[change.kind]} {change.credential.auth_key.text:<{width}}"
        f"  {_WORDS.get(change.kind, change.kind)}{_user(change.credential.username)}"
        for change in plan.changes
    ]
    return [head, *rows]


def diff_lines(outcome: Outcome, plan: Plan, target: str, names: tuple[str, str]) -> list[str]:
    """Return a diff of the two settings, secrets hidden; empty if nothing would change."""
    if not plan.changed:
        return []
    before, after = outcome.current, plan.engine_auth
    lines = [f"--- {target}", f"+++ {target} (dry run, secrets hidden)"]
    rows = zip(
        names, _values(before), _values(redact(before)), _values(after), _values(redact(after))
    )
    for name, old, old_shown, new, new_shown in rows:
        if old == new:
            lines.append(f" {name}={new_shown}")
            continue
        lines += [f"-{name}={old_shown}"] if old else []
        lines += [f"+{name}={new_shown}"]
    return lines


def restart_advice() -> str:
    """Say how to make the agent read the file: it does so only when it starts."""
    import shutil  # takes longer than all of this module

    reason = "the agent reads this only when it starts"
    if is_directory(Path("/run/systemd/system")):
        return f"{reason}: sudo systemctl restart ecs (with --no-block in EC2 user data)"
    if shutil.which("initctl"):
        return f"{reason}: sudo stop ecs && sudo start ecs"
    return f"{reason}: sudo systemctl restart ecs (docker restart does not read it again)"


def _values(engine_auth: EngineAuth) -> tuple[str, str]:
    return engine_auth.auth_type, engine_auth.auth_data


def _user(username: str) -> str:
    return f", user {username}" if username else ""


def summarize(outcome: Outcome, target: Target, dry_run: bool) -> None:
    """Print what became of the target; to stderr if the settings themselves went to stdout."""
    if outcome.plan is None:
        return
    lines = summary_lines(outcome, outcome.plan, target.name)
    if dry_run:
        lines = [*diff_lines(outcome, outcome.plan, target.name, target.layout.names), *lines]
    holds_settings = isinstance(target, Stdout) and not dry_run
    print_lines(lines, sys.stderr if holds_settings else sys.stdout)


def report(outcome: Outcome, quiet: bool) -> int:
    """Print the words of an outcome to stderr and return the exit code."""
    say_all("note", [] if quiet else outcome.notes)
    say_all("warning", outcome.warnings)
    for problem in outcome.problems:
        say_error(problem)
    return SourceError.exit_code if outcome.problems else 0
