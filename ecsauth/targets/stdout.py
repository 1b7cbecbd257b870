"""Standard output as a target: the settings are printed, nothing is there before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO, Callable

from ecsauth.engine_auth.layouts import Layout
from ecsauth.host.streams import write_stream


class Stdout:
    """A stream that takes the settings once; `update.Target` says what the methods promise."""

    name = key = "standard output"

    def __init__(self, open_stream: Callable[[], BinaryIO], layout: Layout) -> None:
        self.layout = layout
        self._open = open_stream

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Do nothing: nobody else writes our output."""
        yield

    def read(self) -> bytes:
        """Return no bytes."""
        return b""

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:  # noqa: ARG002 - it says nothing of it
        """Print it, to the last byte."""
        write_stream(self._open(), text)
        return ()
