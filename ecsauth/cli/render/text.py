"""Results as text: the summary to stdout, everything else to stderr. They hold no secret."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ecsauth.app.requests import HELPER
from ecsauth.cli.console import is_json_log, print_lines, say, say_all, say_error
from ecsauth.cli.render.words import columns, count, expiry, moment
from ecsauth.engine_auth.codec import EngineAuth, redact

if TYPE_CHECKING:
    from ecsauth.agent.restart.ports import AgentOutcome
    from ecsauth.app.convert import ConvertResult
    from ecsauth.app.inspect import CheckResult, ExplainResult
    from ecsauth.app.migrate import MigrateResult
    from ecsauth.app.pipeline import TargetResult
    from ecsauth.app.pull import CopyResult
    from ecsauth.app.refresh import RefreshResult
    from ecsauth.app.update import Outcome
    from ecsauth.app.verify import VerifyResult
    from ecsauth.app.warm_cache import Warmed
    from ecsauth.engine_auth.explain import Explanation
    from ecsauth.engine_auth.merge import Plan
    from ecsauth.errors import EcsauthError

_SIGNS = {"added": "+", "updated": "~", "unchanged": "=", "kept": "=", "removed": "-"}
_WORDS = {"kept": "kept as it is"}
_APPLYING = {
    "docker-config": "use it as ~/.docker/config.json or podman's auth.json; for Kubernetes:"
    " kubectl create secret generic NAME --type=kubernetes.io/dockerconfigjson"
    " --from-file=.dockerconfigjson=FILE",
    "bottlerocket": "put it into the instance's user data, or run in the control container:"
    " apiclient apply < FILE, which restarts the agent",
    "powershell": "run it on the Windows instance as Administrator; tasks keep running",
}
"""How to apply each export."""


def render_converted(result: ConvertResult, output: str, *, quiet: bool) -> None:
    """Report on a conversion; the settings themselves are printed already."""
    say_all("warning", result.warnings)
    if result.target is not None:
        _say_outcome(result.target, quiet=quiet)
        if result.target.outcome.written and not quiet:
            say_all("next", [_APPLYING.get(output, "")])


def render_migrated(result: MigrateResult, *, dry_run: bool, quiet: bool) -> None:
    """Report on the target of migrate."""
    render_target(result.target, dry_run=dry_run, quiet=quiet)
    care = result.care
    say_all("warning", care.warnings)
    say_all("note", [] if quiet else care.notes)
    say_all("next", [] if quiet else [care.next_step])


def render_target(result: TargetResult, *, dry_run: bool, quiet: bool) -> None:
    """Report on one target; to stderr if the settings themselves went to stdout."""
    plan = result.outcome.plan
    if plan is not None:
        lines = summary_lines(result.outcome, plan, result.target.name)
        if dry_run:
            lines = [*_diff_lines(result, plan), *lines]
        holds_settings = result.is_stdout and not dry_run
        print_lines(lines, sys.stderr if holds_settings else sys.stdout)
    _say_outcome(result, quiet=quiet)


def _say_outcome(result: TargetResult, *, quiet: bool) -> None:
    say_all("note", [] if quiet else result.outcome.notes)
    say_all("warning", result.outcome.warnings)
    for problem in [*result.outcome.problems, *filter(None, [result.error])]:
        say_error(problem)


def render_refreshed(result: RefreshResult, *, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Report on the targets of refresh or pull; the same line only once."""
    done, said = result.brought, _Said()
    if verbose:
        say_all("note", [f"{item.source}: asked, {item.why}" for item in done.asked])
    is_same = bool(done.asked) and all(item.answer.is_unchanged for item in done.asked)
    for item, care in zip(done.results, result.care):
        outcome = item.outcome
        said.lines("note", [] if quiet else outcome.notes)
        lines = _refreshed_lines(item, done.next_at, dry_run=result.is_dry, is_same=is_same)
        _print_or_log(lines, to_stdout=not as_json, quiet=quiet)
        if item.error is None:
            said.lines("warning", [*outcome.warnings, *care.warnings])
            said.lines("note", [] if quiet else care.notes)
        said.errors([*outcome.problems, *filter(None, [item.error])])
        say_all("next", [] if quiet else [care.next_step])


class _Said:
    """Prints each line once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def lines(self, kind: str, lines: Sequence[str]) -> None:
        """Print the lines not yet printed."""
        say_all(kind, [line for line in lines if line not in self._said])
        self._said.update(lines)

    def errors(self, errors: Sequence[EcsauthError]) -> None:
        """Print the errors not yet printed."""
        for error in errors:
            if str(error) not in self._said:
                self._said.add(str(error))
                say_error(error)


def _refreshed_lines(
    result: TargetResult, next_at: int | None, *, dry_run: bool, is_same: bool
) -> list[str]:
    if result.error is not None:
        return []
    name, plan = result.target.name, result.outcome.plan
    later = f"; next at {moment(next_at)}" if next_at is not None else ""
    if plan is None:
        what = "nothing has changed" if is_same else "nothing is due"
        what = "nothing could be fetched" if result.outcome.problems else what
        return [f"{name}: {what}{later}"]
    lines = summary_lines(result.outcome, plan, name)
    if not result.outcome.written and not plan.changed:
        return [f"{lines[0]}{later}"]
    return [*_diff_lines(result, plan), *lines] if dry_run else lines


def render_warmed(warmed: Warmed, *, to_stdout: bool) -> None:
    """Report on the credential helper's cache."""
    if warmed.problems and not warmed.renewed and not warmed.kept:
        line = f"{HELPER} nothing could be fetched"
    elif warmed.renewed:
        would = "would fetch " if warmed.is_dry else ""
        line = f"{HELPER} {would}a new token for {', '.join(warmed.renewed)}"
    else:
        line = f"{HELPER} nothing is due"
    _print_or_log([line], to_stdout=to_stdout)
    for problem in warmed.problems:
        say_error(problem)


def render_copied(result: CopyResult, *, to_stdout: bool, quiet: bool) -> None:
    """Report on a file that is a copy of an object."""
    written = "would be written" if result.is_dry else "written"
    what = f"{written} (whole file)" if result.is_changed else "up to date"
    say_all("note", [] if quiet else result.notes)
    print_lines([f"{result.name}: {what}"], sys.stdout if to_stdout else None)


def render_agent(outcome: AgentOutcome | None, *, quiet: bool, to_stdout: bool = True) -> None:
    """Report on the agent."""
    if outcome is None:
        return
    if outcome.said and outcome.is_done:
        _print_or_log([outcome.said], to_stdout=to_stdout)
    elif outcome.said and not quiet:
        say("next", outcome.said)
    if outcome.error is not None:
        say_error(outcome.error)


def summary_lines(outcome: Outcome, plan: Plan, target: str) -> list[str]:
    """Return what happened to a target and each registry."""
    registries = count(len(plan.credentials), "registry", "registries")
    done = "written" if outcome.written else "would be written" if plan.changed else "up to date"
    size = len(plan.engine_auth.auth_data.encode())
    head = f"{target}: {done}: {registries}, {plan.engine_auth.auth_type}, {size:,} bytes"
    rows = [
        (
            f"  {_SIGNS[change.kind]} {change.credential.auth_key.text}",
            f"{_WORDS.get(change.kind, change.kind)}{_user(change.credential.username)}",
        )
        for change in plan.changes
    ]
    return [head, *columns(rows)]


def _diff_lines(result: TargetResult, plan: Plan) -> list[str]:
    """Return a diff of the two settings, secrets hidden; empty if nothing would change."""
    if not plan.changed:
        return []
    name, before, after = result.target.name, result.outcome.current, plan.engine_auth
    lines = [f"--- {name}", f"+++ {name} (dry run, secrets hidden)"]
    shown_before, shown_after = _values(redact(before)), _values(redact(after))
    rows = zip(
        result.target.layout.names, _values(before), shown_before, _values(after), shown_after
    )
    for variable, old, old_shown, new, new_shown in rows:
        if old == new:
            lines.append(f" {variable}={new_shown}")
            continue
        lines += [f"-{variable}={old_shown}"] if old else []
        lines += [f"+{variable}={new_shown}"]
    return lines


def checked_lines(result: CheckResult) -> list[str]:
    """Return what check found."""
    name, fixed = result.name, "fixed; " if result.is_fixed else ""
    if not result.auth_type and not result.findings:
        if result.is_set_elsewhere:
            where = "the settings are not in this file; the agent gets them from another one"
        else:
            where = "the settings are missing: the agent pulls anonymously"
        return [f"{name}: {where}"]
    usable = f"the agent reads {count(result.logins, 'login')}"
    if not result.findings:
        return [f"{name}: {fixed}nothing wrong: {usable}, {result.auth_type}"]
    warnings = len(result.findings) - result.errors
    counts = f"{count(result.errors, 'error')}, {count(warnings, 'warning')}"
    lines = [f"{name}: {fixed}{counts}; {usable}"]
    for item in result.findings:
        place = f"line {item.line}" if item.line else "file"
        lines.append(f"{place:<9} {item.severity:<8} {item.what}")
        lines.append(f"{'':18} {item.effect}")
        lines.append(f"{'':18} -> {item.cure}{' (or: check --fix)' if item.fixable else ''}")
    return lines


def explained_lines(result: ExplainResult, now: float) -> list[str]:
    """Return which login the agent uses for each image, and why."""
    return [
        line for item in result.explanations for line in _explained(item, result.auth_type, now)
    ]


def _explained(item: Explanation, auth_type: str, now: float) -> list[str]:
    if item.auth is None:
        maybe = ", or with another login" if item.ambiguous else ""
        return [item.image, f"  anonymous{maybe}", f"  {item.reason}"]
    user = f"user {item.username}, " if item.username else ""
    kind = item.auth.replace("_", " ")
    ends = f", {expiry(item.expires_at - now)}" if item.expires_at else ""
    random = ", or another" if item.ambiguous else ""
    return [
        item.image,
        f"  {user}{kind}, from {item.key}{random} ({auth_type}){ends}",
        f"  {item.reason}",
    ]


def verified_lines(result: VerifyResult) -> list[str]:
    """Return what each registry answered."""
    rows = []
    for verdict in result.verdicts:
        elsewhere = f"tokens come from {verdict.realm}" if verdict.realm else ""
        detail = "; ".join(filter(None, [verdict.detail, elsewhere]))
        rows.append((verdict.registry, verdict.username, verdict.outcome, detail))
    return columns(rows)


def _print_or_log(lines: Sequence[str], *, to_stdout: bool, quiet: bool = False) -> None:
    """Print a summary; as notes if stderr is a JSON log."""
    if is_json_log():
        say_all("note", [] if quiet else [line.strip() for line in lines])
    else:
        print_lines(lines, sys.stdout if to_stdout else None)


def _values(engine_auth: EngineAuth) -> tuple[str, str]:
    return engine_auth.auth_type, engine_auth.auth_data


def _user(username: str) -> str:
    return f", user {username}" if username else ""
