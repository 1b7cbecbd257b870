"""Writes to a stream completely."""

from __future__ import annotations

from typing import BinaryIO

from ecsauth.errors import TargetError


def write_stream(stream: BinaryIO, text: bytes) -> None:
    """Write all bytes and flush.

    Raises:
        BrokenPipeError: the reader has closed the stream.
        TargetError: the bytes could not be written (such as a full disk).

    """
    try:
        rest = memoryview(text)
        while rest:  # an unbuffered stream (PYTHONUNBUFFERED) may write only a part
            rest = rest[stream.write(rest) or 0 :]
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise TargetError(
            f"standard output was not written: {error.strerror}", reference="output-not-written"
        ) from error
