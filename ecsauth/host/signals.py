"""Delays signals while an operation must not be interrupted."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def signals_held_off() -> Iterator[None]:
    """Delay SIGINT, SIGTERM and SIGHUP until the ``with`` block has ended."""
    caught: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda n, _: caught.append(n))
        for number in numbers
        if signal.getsignal(number) not in (None, signal.SIG_IGN)
    }
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
        if caught:
            signal.raise_signal(caught[0])
