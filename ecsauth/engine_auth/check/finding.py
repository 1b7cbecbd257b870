"""A finding: one thing that is wrong with a target."""

from __future__ import annotations

from dataclasses import dataclass

ERROR = "error"
WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """What is wrong, its effect and the cure; never holds a secret.

    Attributes:
        code: a stable name, for programs.
        severity: ``error``: the agent loses credentials; ``warning``: another reader may fail.
        what: what is wrong, naming the setting, registry or variable.
        effect: what happens as a result.
        cure: how to fix it.
        line: where, from 1; 0 for the whole file.
        fixable: whether ``check --fix`` fixes it.

    """

    code: str
    severity: str
    what: str
    effect: str
    cure: str
    line: int = 0
    fixable: bool = False


def error(
    code: str, what: str, effect: str, cure: str, line: int = 0, fixable: bool = False
) -> Finding:
    """Return a finding that costs the agent credentials."""
    return Finding(code, ERROR, what, effect, cure, line, fixable)


def warning(
    code: str, what: str, effect: str, cure: str, line: int = 0, fixable: bool = False
) -> Finding:
    """Return a finding that some reader of the file may fail on."""
    return Finding(code, WARNING, what, effect, cure, line, fixable)
