"""The port that every target implements."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from ecsauth.engine_auth.layouts import Layout


class Target(Protocol):
    """Where the settings go. Each method raises TargetError.

    Attributes:
        name: for messages.
        key: its key in the state: an absolute path or a URL.
        layout: of its text.

    """

    name: str
    key: str
    layout: Layout

    def locked(self) -> AbstractContextManager[None]:
        """Keep other writers out for the ``with`` block; raise LockTimeoutError if one stays."""

    def read(self) -> bytes:
        """Return its text; empty if there is none."""

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:
        """Replace the text that `read` returned, in full or not at all; return notes for the user.

        Args:
            text: the new text.
            expires_at: when its first login expires (Unix seconds); None if unknown.

        Raises:
            ConflictError: another writer has changed the text since `read`.

        """


@runtime_checkable
class RememberingTarget(Protocol):
    """A target that keeps a short text beside its logins, for a run without other memory.

    Attributes:
        memory: the text as `Target.read` found it; empty if there is none.

    """

    memory: str

    def remember(self, text: str) -> None:
        """Take the text that the next `Target.write` keeps."""
