"""What starts the agent on this host: systemd, upstart or Docker alone.

``docker restart ecs-agent`` would not read the settings again; the service does, because ecs-init
removes and re-creates the container at each start (aws/amazon-ecs-agent ``ecs-init``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ecsauth.agent.constants import DOCKER, SYSTEMD, UPSTART
from ecsauth.errors import AgentError, RestartRefusedError
from ecsauth.host.atomic_file import is_directory
from ecsauth.host.programs import Completed, RunProgram

_UNIT = "ecs.service"


class Service(Protocol):
    """Starts and stops the agent. Methods that change something raise AgentError."""

    name: str
    command: str

    def is_down(self) -> bool:
        """Return whether the service manager reports the agent as not running."""

    def is_stopped(self) -> bool:
        """Return whether the agent was stopped deliberately."""

    def repair(self) -> str:
        """As `restart.Agent`."""

    def restart(self) -> bool:
        """Restart the agent so that it reads its settings; False if that is only queued."""

    def check(self) -> None:
        """As `restart.Agent`."""

    def start_if_blocked(self) -> None:
        """As `restart.Agent`."""

    def discard_rollback(self) -> None:
        """Discard what was kept for `roll_back`."""

    def roll_back(self) -> None:
        """Start it as before the restart."""


def choose(
    run: RunProgram, forced: str = "", *, is_container_up: bool, root: Path = Path("/")
) -> str:
    """Return the name of the service manager that starts the agent here.

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


def check_root() -> None:
    """Refuse if not root.

    Raises:
        RestartRefusedError: we are not root.

    """
    if os.geteuid() != 0:
        raise RestartRefusedError(
            "only root can restart the agent", "run it with sudo", reference="restart-needs-root"
        )


def checked(run: RunProgram, command: Sequence[str]) -> None:
    """Run a command.

    Raises:
        AgentError: it failed; its own words are in it.

    """
    done = run(command)
    if done.code:
        raise failed(command, done)


def failed(command: Sequence[str], done: Completed) -> AgentError:
    """Return the error for a failed program, with its own message."""
    said = f": {done.said}" if done.said else ""
    hint = "run it with sudo" if os.geteuid() else "check journalctl -u ecs"
    return AgentError(
        f"{' '.join(command)} failed ({done.code}){said}", hint, reference="service-failed"
    )
