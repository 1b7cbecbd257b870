"""One thing that is wrong with a target."""

from __future__ import annotations

from dataclasses import dataclass

ERROR = "error"
WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """What is wrong, what it does and how to mend it; never a secret.

    Attributes:
        code: a stable name, for programs.
        severity: ``error``: credentials are lost; ``warning``: works here, breaks there.
        what: what is wrong, naming the setting, registry or variable.
        effect: what happens because of it.
        cure: how to mend it.
        line: where, from 1; 0 for the file as a whole.
        fixable: True if ``check --fix`` mends it.

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
    """Make a finding that costs credentials."""
    return Finding(code, ERROR, what, effect, cure, line, fixable)


def warning(
    code: str, what: str, effect: str, cure: str, line: int = 0, fixable: bool = False
) -> Finding:
    """Make a finding that some reader of the file would trip over."""
    return Finding(code, WARNING, what, effect, cure, line, fixable)
