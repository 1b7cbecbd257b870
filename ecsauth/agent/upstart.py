"""The agent as a job of upstart."""

from __future__ import annotations

from ecsauth.agent.constants import UPSTART
from ecsauth.agent.service import check_root, checked
from ecsauth.host.programs import RunProgram


class Upstart:
    """The job ``ecs`` of Amazon Linux 1."""

    name = UPSTART
    command = "sudo stop ecs && sudo start ecs"

    def __init__(self, run: RunProgram) -> None:
        self._run = run

    def is_down(self) -> bool:
        """Return whether the job is stopped."""
        return "stop/waiting" in self._run(["initctl", "status", "ecs"]).said

    def is_stopped(self) -> bool:
        """Return whether the job is stopped."""
        return self.is_down()

    def repair(self) -> str:
        """Do nothing: a stopped job may have been stopped deliberately."""
        return ""

    def restart(self) -> bool:
        """Stop the job and start it: upstart's own restart would keep the old configuration."""
        if not self.is_down():
            checked(self._run, ["initctl", "stop", "ecs"])
        checked(self._run, ["initctl", "start", "ecs"])
        return True

    def check(self) -> None:
        """Refuse if not root."""
        check_root()

    def start_if_blocked(self) -> None:
        """Do nothing: upstart has no jobs that block it."""

    def discard_rollback(self) -> None:
        """Do nothing: nothing is kept."""

    def roll_back(self) -> None:
        """Stop and start it again."""
        self.restart()
