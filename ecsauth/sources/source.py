"""The ports that sources implement."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ecsauth.credentials.credential import Fetched


class Source(Protocol):
    """Where credentials come from.

    Attributes:
        name: for messages.
        fingerprint: changes with anything that the answer depends on, and may hold secrets;
            empty for a source that is cheap enough to fetch every time.

    """

    name: str
    fingerprint: str

    def fetch(self) -> Fetched:
        """Return the credentials found; raise SourceError if there are none at all."""


@runtime_checkable
class ConditionalSource(Protocol):
    """A source that can tell whether it has changed."""

    def fetch_unless(self, version: str) -> Fetched | None:
        """Return as `Source.fetch` does; None if `version` is still current."""
