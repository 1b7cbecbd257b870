"""Standard output as a target: the settings are printed, nothing is there before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from ecsauth.errors import TargetError
from ecsauth.layout import Layout


class Stdout:
    """A stream that takes the settings once; `update.Target` says what the methods promise."""

    name = "standard output"

    def __init__(self, stream: BinaryIO, layout: Layout) -> None:
        self.layout = layout
        self._stream = stream

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Do nothing: nobody else writes our output."""
        yield

    def read(self) -> bytes:
        """Return no bytes."""
        return b""

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:  # noqa: ARG002 - it says nothing of it
        """Print it, to the last byte."""
        write_stream(self._stream, text)
        return ()


def write_stream(stream: BinaryIO, text: bytes) -> None:
    """Write and flush.

    Raises:
        BrokenPipeError: the reader went away.
        TargetError: the bytes could not be written (a full disk).

    """
    try:
        rest = memoryview(text)
        while rest:  # an unbuffered stream (PYTHONUNBUFFERED) writes a part at a time
            rest = rest[stream.write(rest) or 0 :]
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise TargetError(f"standard output was not written: {error.strerror}") from error
