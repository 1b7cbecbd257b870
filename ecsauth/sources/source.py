"""What every source offers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ecsauth.credentials.credential import Fetched


class Source(Protocol):
    """Where credentials come from.

    Attributes:
        name: for people.
        fingerprint: changes with anything that the answer depends on, and may hold secrets;
            empty for a source that costs nothing to ask and is asked each time.

    """

    name: str
    fingerprint: str

    def fetch(self) -> Fetched:
        """Return what there is; raise SourceError if there is nothing at all."""


@runtime_checkable
class ConditionalSource(Protocol):
    """A source that can tell whether it has anything new."""

    def fetch_unless(self, version: str) -> Fetched | None:
        """As `Source.fetch`; None if `version` is still the current one."""
