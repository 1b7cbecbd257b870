"""Run a program of the system to its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_LIMIT_SECONDS = 150.0
"""Longer than a unit has by default to stop (90 s, systemd-system.conf(5))."""


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Completed:
    """What a program did: its exit code, and the first line of what it said."""

    code: int
    said: str = ""


RunProgram = Callable[[Sequence[str]], Completed]


def run_program(command: Sequence[str]) -> Completed:
    """Run a program of the system to its end; never raises."""
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
        return Completed(124, f"no end within {_LIMIT_SECONDS:g} s")
    except OSError as error:
        return Completed(127, error.strerror or "cannot be run")
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return Completed(done.returncode, lines[0][:200] if lines else "")
