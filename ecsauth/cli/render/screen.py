"""The screen of status: rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ecsauth.agent.datadir import NOT_RUNNING, SAFE, UNSAFE
from ecsauth.app.facts import AgentStatus, RegistryStatus, TargetStatus
from ecsauth.app.status import StatusResult
from ecsauth.cli.console import print_result, printable
from ecsauth.cli.render.words import count, expiry, moment, span

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_BAR_CELLS = 10
_HOUR = 3600


def show_status(result: StatusResult) -> None:
    """Print the screen of status: in colour on a terminal, as lines elsewhere."""
    if _is_rich_terminal():
        from rich.console import Console  # only on a terminal

        print_screen(Console(), result.target, result.agent, result.now)
    else:
        print_result(plain_lines(result.target, result.agent, result.now))


def _is_rich_terminal() -> bool:
    """Return whether stdout is a terminal that can show the bars (UTF-8)."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def plain_lines(target: TargetStatus, agent: AgentStatus | None, now: float) -> list[str]:
    """Return the screen as lines for a pipe or a log; without an agent, the target alone."""
    lines = [f"{target.target}: {_target_words(target)}"]
    for item in target.registries:
        parts = [item.registry, item.username or "-", _kind(item)]
        if item.source:
            parts.append(f"from {item.source}")
        if item.expires_at is not None:
            parts += [expiry((item.expires_at or 0) - now), _refresh(item, now)]
        lines.append("  " + ", ".join(filter(None, parts)))
    return [*lines, *(agent_lines(agent) if agent else []), *_run_words(target)]


def agent_lines(agent: AgentStatus) -> list[str]:
    """Return the lines about the agent."""
    return [f"agent: {line}" for line, _ in _agent_words(agent)]


def print_screen(
    console: Console, target: TargetStatus, agent: AgentStatus | None, now: float
) -> None:
    """Print the screen to a terminal."""
    from rich.text import Text

    head = Text(printable(target.target), style="bold").append("  ")
    console.print(
        head.append(printable(_target_words(target)), style="red" if target.fault else "not bold")
    )
    for item in target.registries:
        console.print(_registry(item, now))
    for number, (line, is_bad) in enumerate(_agent_words(agent) if agent else []):
        label = "agent  " if number == 0 else "       "
        style = "red" if is_bad else ""
        console.print(Text(label, style="bold"), Text(printable(line), style=style), sep="")
    for line in _run_words(target):
        console.print(Text(line, style="" if target.last_code == 0 else "yellow"))


def _registry(item: RegistryStatus, now: float) -> Text:
    """Return the registry on a line of its own, because ECR's names are long, then its details."""
    from rich.text import Text

    text = Text("  ").append(printable(item.registry), style="cyan")
    text.append(f"\n    {printable(item.username or '-')}, {_kind(item)}")
    if item.source:
        text.append(f", from {printable(item.source)}", style="dim")
    if item.expires_at is not None:
        text.append("\n    ").append(_bar(item, now))
        hour = time.strftime("%H:%M UTC", time.gmtime(item.expires_at))
        text.append(f" {expiry((item.expires_at or 0) - now)} ({hour}), {_refresh(item, now)}")
    return text


def _bar(item: RegistryStatus, now: float) -> Text:
    from rich.text import Text

    left = item.life_left(now) or 0.0
    full = round(left * _BAR_CELLS)
    colour = "green" if left > 0.5 else "yellow" if left > 0 else "red"
    return Text("█" * full + "░" * (_BAR_CELLS - full), style=colour)


def _kind(item: RegistryStatus) -> str:
    return item.auth.replace("_", " ") if item.auth else "no login"


def _target_words(target: TargetStatus) -> str:
    if not target.exists:
        return "there is no such file"
    if not target.auth_type and not target.registries and not target.fault:
        return "the settings are missing: the agent pulls anonymously"
    parts = [
        target.auth_type,
        count(len(target.registries), "registry", "registries"),
        f"mode {target.mode}" if target.mode else "",
        f"written {moment(target.written_at)}" if target.written_at is not None else "",
        f"the agent reads no login: {target.fault}" if target.fault else "",
    ]
    return ", ".join(filter(None, parts))


def _run_words(target: TargetStatus) -> list[str]:
    if target.last_run is None:
        return []
    return [f"last run {moment(target.last_run)}, exit code {target.last_code}"]


def _agent_words(agent: AgentStatus) -> list[tuple[str, bool]]:
    """Return the lines about the agent, and whether each is bad news."""
    lines = []
    if agent.answers:
        tasks = "?" if agent.running_tasks is None else agent.running_tasks
        version = agent.version.removeprefix("Amazon ECS Agent - ")
        lines.append((f"{version}, cluster {agent.cluster}, {tasks} tasks running", False))
        lines.append((agent.arn or "not registered yet", False))
    else:
        lines.append(("does not answer", True))
    if agent.pending:
        lines.append(("RESTART PENDING: its logins differ from those in the file", True))
    elif agent.pending is False:
        lines.append(("runs with the logins in the file", False))
    if agent.started_at is not None:
        lines.append((f"started {moment(agent.started_at)}", False))
    word = _restart_word(agent.restart)
    lines.append((f"a restart is {word}: {agent.reason}", agent.restart == UNSAFE))
    if agent.last_restart is not None:
        failed = f", {agent.failures} failed since the last success" if agent.failures else ""
        often = count(agent.restarts_in_24_hours, "restart")
        said = f"last restarted by ecsauth {moment(agent.last_restart)}, {often} in 24 h{failed}"
        lines.append((said, False))
    if agent.runs_with:
        until = "" if agent.good_until is None else f", good until {moment(agent.good_until)}"
        lines.append((f"runs with {count(len(agent.runs_with), 'login')}{until}", False))
    if agent.next_restart is not None:
        when = moment(agent.next_restart)
        lines.append((f"next restart expected {when} {agent.next_restart_reason}", False))
    return lines


def _restart_word(outcome: str) -> str:
    words = {SAFE: "safe", UNSAFE: "UNSAFE", NOT_RUNNING: "harmless"}
    return words.get(outcome, "of unknown risk")


def _refresh(item: RegistryStatus, now: float) -> str:
    return f"refresh due {_due(item, now)}" if item.next_refresh_at is not None else ""


def _due(item: RegistryStatus, now: float) -> str:
    if item.next_refresh_at is None:
        return ""
    left = item.next_refresh_at - now
    return f"in {span(left)}" if left > 0 else "now"
