"""Runs programs of the system."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_LIMIT_SECONDS = 150.0
"""Longer than systemd's default stop timeout (90 s, systemd-system.conf(5))."""


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Completed:
    """The result of a program: its exit code, and the first line of its output."""

    code: int
    said: str = ""


RunProgram = Callable[[Sequence[str]], Completed]


def run_program(command: Sequence[str]) -> Completed:
    """Run a program and wait for it; never raises."""
    path = f"{os.environ.get('PATH', '')}:{_PATH}"
    environment = {**os.environ, "PATH": path, "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, no shell
            list(command),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Completed(124, f"timed out after {_LIMIT_SECONDS:g} s")
    except OSError as error:
        return Completed(127, error.strerror or "cannot be run")
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return Completed(done.returncode, lines[0][:200] if lines else "")
