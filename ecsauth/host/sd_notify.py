"""Reports a service's state to systemd (sd_notify(3)); does nothing outside of systemd."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends datagrams to the socket that systemd names in NOTIFY_SOCKET.

    Attributes:
        watchdog_seconds: interval of the watchdog messages; 0 if systemd expects none.

    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds = _watchdog_seconds(environment) if self._address else 0.0

    def send(self, message: str) -> None:
        """Send lines such as ``READY=1``; failures are ignored."""
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # the abstract namespace
            address = f"\0{address[1:]}"
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as stream,
        ):
            stream.sendto(message.encode(), address)


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Return half of systemd's watchdog timeout; 0 if this process has none."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0, int(environment.get("WATCHDOG_USEC", "0"))) / 2e6
    except ValueError:
        return 0.0
