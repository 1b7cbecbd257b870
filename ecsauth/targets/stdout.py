"""Standard output as a target: it starts empty, and the settings are printed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO, Callable

from ecsauth.engine_auth.layouts import Layout
from ecsauth.host.streams import write_stream


class Stdout:
    """A stream that takes the settings once; `target.Target` states the contract."""

    name = key = "standard output"

    def __init__(self, open_stream: Callable[[], BinaryIO], layout: Layout) -> None:
        self.layout = layout
        self._open = open_stream

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Do nothing: no other process writes our output."""
        yield

    def read(self) -> bytes:
        """Return no bytes."""
        return b""

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:  # noqa: ARG002 - the output does not mention it
        """Print the whole text."""
        write_stream(self._open(), text)
        return ()
