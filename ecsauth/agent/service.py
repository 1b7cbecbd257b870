"""What starts the agent on this host: systemd, upstart, or nobody but Docker.

``docker restart ecs-agent`` would not read the settings again; the service does, because ecs-init
removes and re-creates the container at each start (aws/amazon-ecs-agent ``ecs-init``).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Protocol

from ecsauth.agent import DOCKER, SYSTEMD, UPSTART
from ecsauth.errors import AgentError, RestartRefusedError
from ecsauth.files import is_directory

_UNIT = "ecs.service"
_ALONE = "--job-mode=ignore-dependencies"
_LIMIT_SECONDS = 150.0
"""Longer than a unit has by default to stop (90 s, systemd-system.conf(5))."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Done:
    """What a program did: its exit code, and the first line of what it said."""

    code: int
    said: str = ""


Run = Callable[[Sequence[str]], Done]


class Service(Protocol):
    """Starts and stops the agent. What changes something raises AgentError."""

    name: str
    command: str

    def is_down(self) -> bool:
        """Return whether it says that the agent does not run."""

    def recover(self) -> str:
        """As `restart.Agent`, and so are the others."""

    def restart(self) -> bool:
        """Restart the agent so that it reads its settings; False if that is only queued."""

    def check(self) -> None:
        """As `restart.Agent`."""

    def nudge(self) -> None:
        """As `restart.Agent`."""

    def settle(self) -> None:
        """Let go of what was kept."""

    def bring_back(self) -> None:
        """Run it as before."""


def run_program(command: Sequence[str]) -> Done:
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
        return Done(124, f"no end within {_LIMIT_SECONDS:g} s")
    except OSError as error:
        return Done(127, error.strerror or "cannot be run")
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return Done(done.returncode, lines[0][:200] if lines else "")


class Systemd:
    """``ecs.service``, started by ecs-init's unit or one like it."""

    name = SYSTEMD
    command = "sudo systemctl restart ecs"

    def __init__(self, run: Run) -> None:
        self._run = run

    def is_down(self) -> bool:
        """Return whether the unit is neither up nor on its way."""
        return self._run(["systemctl", "is-active", _UNIT]).said in ("inactive", "failed")

    def recover(self) -> str:
        """Do nothing: systemd does not leave things half done."""
        return ""

    def restart(self) -> bool:
        """Restart the unit; only queue that while cloud-init is still at work.

        The unit starts after cloud-final.service, which runs EC2's user data: from there a
        restart that is waited for would never end (aws/amazon-ecs-agent issues 1707, 4818).
        Otherwise nothing is waited for but the unit itself: our own units start before it, and
        it would wait for the end of the run that restarts it.
        """
        if self._run(["systemctl", "is-active", "cloud-final.service"]).said == "activating":
            self._do("--no-block", "restart", _UNIT)
            return False
        self._do(_ALONE, "restart", _UNIT)
        return True

    def check(self) -> None:
        """Refuse what only root may do."""
        _check_root()

    def nudge(self) -> None:
        """Start the unit at once if its own restart waits: it may be our unit that it awaits."""
        if self._run(["systemctl", "show", "-p", "Job", _UNIT]).said not in ("", "Job=", "Job=0"):
            self._run(["systemctl", "--no-block", _ALONE, "start", _UNIT])

    def settle(self) -> None:
        """Do nothing: nothing is kept."""

    def bring_back(self) -> None:
        """Restart the unit, however often it has failed."""
        self._run(["systemctl", "reset-failed", _UNIT])
        self._do(_ALONE, "restart", _UNIT)

    def _do(self, *arguments: str) -> None:
        _checked(self._run, ["systemctl", *arguments])


class Upstart:
    """The job ``ecs`` of Amazon Linux 1."""

    name = UPSTART
    command = "sudo stop ecs && sudo start ecs"

    def __init__(self, run: Run) -> None:
        self._run = run

    def is_down(self) -> bool:
        """Return whether the job is stopped."""
        return "stop/waiting" in self._run(["initctl", "status", "ecs"]).said

    def recover(self) -> str:
        """Do nothing: a job that is stopped may be so by somebody's will."""
        return ""

    def restart(self) -> bool:
        """Stop the job and start it: upstart's own restart would keep the old configuration."""
        if not self.is_down():
            _checked(self._run, ["initctl", "stop", "ecs"])
        _checked(self._run, ["initctl", "start", "ecs"])
        return True

    def check(self) -> None:
        """Refuse what only root may do."""
        _check_root()

    def nudge(self) -> None:
        """Do nothing: upstart makes it wait for nobody."""

    def settle(self) -> None:
        """Do nothing: nothing is kept."""

    def bring_back(self) -> None:
        """Stop and start it again."""
        self.restart()


def choose(run: Run, forced: str = "", *, is_container_up: bool, root: Path = Path("/")) -> str:
    """Return the name of what starts the agent here.

    1. what is forced; 2. systemd, if it knows the unit and it is up, or nothing is; 3. upstart, if
    it knows the job; 4. Docker.

    Args:
        run: runs systemctl and initctl.
        forced: one of `MANAGERS`, or empty.
        is_container_up: whether the agent's container runs.
        root: of the file system.

    """
    if forced:
        return forced
    if is_directory(root / "run/systemd/system"):
        state = run(["systemctl", "is-active", _UNIT])
        is_up = state.said in ("active", "activating", "reloading", "deactivating")
        is_known = run(["systemctl", "cat", _UNIT]).code == 0
        if is_up or (is_known and not is_container_up):
            return SYSTEMD
    elif run(["initctl", "status", "ecs"]).said.startswith("ecs "):
        return UPSTART
    return DOCKER


def _check_root() -> None:
    """Refuse what only root may do.

    Raises:
        RestartRefusedError: we are not root.

    """
    if os.geteuid() != 0:
        raise RestartRefusedError("only root can restart the agent", "run it with sudo")


def _checked(run: Run, command: Sequence[str]) -> None:
    """Run it.

    Raises:
        AgentError: it failed; its own words are in it.

    """
    done = run(command)
    if done.code:
        said = f": {done.said}" if done.said else ""
        raise AgentError(f"{' '.join(command)} failed ({done.code}){said}", "are you root?")
