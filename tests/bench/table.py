"""One line of the table: what was measured, against whom, and the goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """A measurement.

    Attributes:
        what: in words.
        ours: our figure.
        unit: of both figures.
        theirs: the peer's figure; None if there is none.
        peer: who that is.
        goal: the largest ratio (or figure, without a peer) that is good enough; None for scale.

    """

    what: str
    ours: float
    unit: str
    theirs: float | None = None
    peer: str = ""
    goal: float | None = None

    @property
    def compared(self) -> float:
        """Return the ratio to the peer; without one the figure itself."""
        return self.ours / self.theirs if self.theirs else self.ours

    @property
    def is_missed(self) -> bool:
        """Return whether the goal is missed."""
        return self.goal is not None and self.compared > self.goal

    @property
    def figures(self) -> str:
        """Return both figures in words."""
        text = f"{self.ours:,.4g} {self.unit}"
        if self.theirs is None:
            return text
        return f"{text} / {self.theirs:,.4g} {self.unit} ({self.peer}) = {self.compared:.2f}"

    @property
    def verdict(self) -> str:
        """Return how that compares with the goal."""
        if self.goal is None:
            return "for scale"
        return f"{'MISSED' if self.is_missed else 'ok'}, goal {self.goal:g}"

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "what": self.what,
            "ours": self.ours,
            "theirs": self.theirs,
            "peer": self.peer,
            "unit": self.unit,
            "ratio": self.compared if self.theirs else None,
            "goal": self.goal,
            "ok": not self.is_missed,
        }
