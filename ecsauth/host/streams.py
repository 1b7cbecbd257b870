"""Write to a stream, to the last byte."""

from __future__ import annotations

from typing import BinaryIO

from ecsauth.errors import TargetError


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
