"""Servers that the tests start, and end."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from typing import Callable


def wait_for(ready: Callable[[], bool], what: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers; fail with its log if it does not."""
    for _ in range(400):
        if process.poll() is not None:
            break
        if ready():
            return
        time.sleep(0.05)
    log = Path(str(process.args[-1])).read_text()[-3000:] if isinstance(process.args, list) else ""
    raise RuntimeError(f"{what} did not start: {log}")


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a server whose output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    process.args = [*command, str(log)]
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server that we started."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
