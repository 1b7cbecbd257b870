"""What every target offers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from ecsauth.engine_auth.layouts import Layout


class Target(Protocol):
    """Where the settings go. Each method raises TargetError.

    Attributes:
        name: for people.
        key: what it is remembered under: an absolute path, or a URL.
        layout: of its text.

    """

    name: str
    key: str
    layout: Layout

    def locked(self) -> AbstractContextManager[None]:
        """Keep other writers away for the ``with`` block; raise LockTimeoutError."""

    def read(self) -> bytes:
        """Return its text; empty if there is none."""

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:
        """Replace the text that `read` returned, whole or not at all; return notes for the user.

        Args:
            text: the new one.
            expires_at: when the first of its logins expires (Unix seconds), if that is known.

        Raises:
            ConflictError: another writer has changed the text since `read`.

        """
