"""The agent as a service of systemd."""

from __future__ import annotations

from ecsauth.agent.constants import SYSTEMD
from ecsauth.agent.service import check_root, checked
from ecsauth.host.programs import RunProgram

_UNIT = "ecs.service"


_ALONE = "--job-mode=ignore-dependencies"


class Systemd:
    """``ecs.service``, started by ecs-init's unit or one like it."""

    name = SYSTEMD
    command = "sudo systemctl restart ecs"

    def __init__(self, run: RunProgram) -> None:
        self._run = run

    def is_down(self) -> bool:
        """Return whether the unit is neither up nor on its way."""
        return self._run(["systemctl", "is-active", _UNIT]).said in ("inactive", "failed")

    def repair(self) -> str:
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
        check_root()

    def start_if_blocked(self) -> None:
        """Start the unit at once if its own restart waits: it may be our unit that it awaits."""
        if self._run(["systemctl", "show", "-p", "Job", _UNIT]).said not in ("", "Job=", "Job=0"):
            self._run(["systemctl", "--no-block", _ALONE, "start", _UNIT])

    def discard_rollback(self) -> None:
        """Do nothing: nothing is kept."""

    def roll_back(self) -> None:
        """Restart the unit, however often it has failed."""
        self._run(["systemctl", "reset-failed", _UNIT])
        self._do(_ALONE, "restart", _UNIT)

    def _do(self, *arguments: str) -> None:
        checked(self._run, ["systemctl", *arguments])
