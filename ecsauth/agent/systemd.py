"""The agent as a service of systemd."""

from __future__ import annotations

import time
from typing import Callable

from ecsauth.agent.constants import SYSTEMD
from ecsauth.agent.service import check_root, failed
from ecsauth.errors import RestartRefusedError
from ecsauth.host.programs import RunProgram

_UNIT = "ecs.service"
_ALONE = "--job-mode=ignore-dependencies"
_JOB_SECONDS = 600.0
"""How long to follow a job whose client gave up; an agent may take minutes to stop."""

_POLL_SECONDS = 1.0


class Systemd:
    """``ecs.service``, started by ecs-init's unit or one like it.

    Args:
        run: runs systemctl.
        sleep: waits that many seconds.
        monotonic: seconds.

    """

    name = SYSTEMD
    command = "sudo systemctl restart ecs"

    def __init__(
        self,
        run: RunProgram,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._sleep = sleep
        self._monotonic = monotonic

    def is_down(self) -> bool:
        """Return whether the unit is neither active nor starting."""
        return self._run(["systemctl", "is-active", _UNIT]).said in ("inactive", "failed")

    def is_stopped(self) -> bool:
        """Return whether the unit was stopped deliberately, not by a failure."""
        return self._run(["systemctl", "is-active", _UNIT]).said == "inactive"

    def repair(self) -> str:
        """Do nothing: systemd completes its jobs by itself."""
        return ""

    def restart(self) -> bool:
        """Restart the unit; only queue that while cloud-init is still at work.

        The unit starts after cloud-final.service, which runs EC2's user data: from there, waiting
        for the restart would never end (aws/amazon-ecs-agent issues 1707, 4818). Otherwise only the
        unit itself is waited for: our own units start before it, and it would wait for the end of
        the run that restarts it.
        """
        if self._run(["systemctl", "is-active", "cloud-final.service"]).said == "activating":
            self._do("--no-block", "restart", _UNIT)
            return False
        self._do(_ALONE, "restart", _UNIT)
        return True

    def check(self) -> None:
        """Refuse if not root, or if the unit cannot be started.

        Raises:
            RestartRefusedError: names the reason.

        """
        check_root()
        # Without --value, which systemd 219 of Amazon Linux 2 does not know.
        said = self._run(["systemctl", "show", "-p", "LoadState", _UNIT]).said
        state = said.partition("=")[2]
        if state in ("masked", "not-found"):
            reason = "is masked" if state == "masked" else "does not exist"
            cure = "sudo systemctl unmask ecs" if state == "masked" else "install ecs-init"
            raise RestartRefusedError(
                f"not restarting the agent: {_UNIT} {reason}", cure, reference=f"unit-{state}"
            )

    def start_if_blocked(self) -> None:
        """Start the unit if another unit's job blocks it: that may be the unit that we run in."""
        if self._has_job():
            self._run(["systemctl", "--no-block", _ALONE, "start", _UNIT])

    def discard_rollback(self) -> None:
        """Do nothing: nothing is kept."""

    def roll_back(self) -> None:
        """Restart the unit, however often it has failed."""
        self._run(["systemctl", "reset-failed", _UNIT])
        self._do(_ALONE, "restart", _UNIT)

    def _do(self, *arguments: str) -> None:
        """Run systemctl; if the client fails while its job goes on, follow the job to its end.

        Raises:
            AgentError: the job failed, or did not end in time.

        """
        command = ["systemctl", *arguments]
        done = self._run(command)
        if done.code == 0:
            return
        is_job = is_going_on = self._has_job()
        end = self._monotonic() + _JOB_SECONDS
        while is_going_on and self._monotonic() < end:
            self._sleep(_POLL_SECONDS)
            is_going_on = self._has_job()
        if not is_job or is_going_on or self.is_down():
            raise failed(command, done)

    def _has_job(self) -> bool:
        """Return whether systemd has a job for the unit (org.freedesktop.systemd1(5))."""
        done = self._run(["systemctl", "show", "-p", "Job", _UNIT])
        # A look that fails says nothing of the job, unless there is no systemctl at all.
        return done.code != 127 and done.said not in ("", "Job=", "Job=0")
