"""systemd as the agent's keeper: a job whose client fails, a unit that cannot start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ecsauth.agent.systemd import Systemd
from ecsauth.errors import AgentError, RestartRefusedError
from ecsauth.host.programs import Completed
from tests.unit.agent.test_service import ACTIVE, Recorder

RESTART = "systemctl --job-mode=ignore-dependencies restart ecs.service"
SHOW_JOB = "systemctl show -p Job ecs.service"
LOST = Completed(1, "Failed to get D-Bus connection: Connection timed out")


@dataclass
class FollowedJob(Recorder):
    """A systemctl whose restart fails at once, with a clock that only moves in its sleeps.

    Attributes:
        looks: what it says of the unit's job, look by look; the last one stays.
        now: of the clock, seconds.

    """

    looks: list[Completed] = field(default_factory=list)
    now: float = 1000.0

    def __call__(self, command: Sequence[str]) -> Completed:
        found = super().__call__(command)
        if self.commands[-1] == SHOW_JOB:
            return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return found

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def systemd(self) -> Systemd:
        return Systemd(self, self.sleep, lambda: self.now)


def followed(active: str, *looks: str, client: Completed = LOST) -> FollowedJob:
    return FollowedJob(
        {RESTART: client, ACTIVE: Completed(0 if active == "active" else 3, active)},
        looks=[Completed(0, look) for look in looks],
    )


@pytest.mark.parametrize("active", ["active", "activating"])
@pytest.mark.parametrize("client", [LOST, Completed(124, "timed out after 150 s")])
def test_job_is_followed_when_its_client_fails(active: str, client: Completed) -> None:
    run = followed(active, "Job=17", "Job=17", "Job=0", client=client)
    assert run.systemd().restart() is True
    assert run.commands.count(SHOW_JOB) >= 3
    assert run.commands.count(RESTART) == 1
    assert run.now > 1000


@pytest.mark.parametrize("active", ["failed", "inactive"])
def test_job_that_leaves_the_unit_down_has_failed(active: str) -> None:
    run = followed(active, "Job=17", "Job=17", "Job=0")
    with pytest.raises(AgentError, match=r"failed \(1\): Failed to get D-Bus") as caught:
        run.systemd().restart()
    assert caught.value.reference == "service-failed"
    assert run.now > 1000


@pytest.mark.parametrize("none", ["Job=0", "Job="])
@pytest.mark.parametrize("active", ["active", "failed"])
def test_without_a_job_the_failure_is_one_at_once(active: str, none: str) -> None:
    run = followed(active, none)
    with pytest.raises(AgentError, match="Failed to get D-Bus"):
        run.systemd().restart()
    assert run.now == 1000


def test_job_without_end_is_given_up() -> None:
    run = followed("active", "Job=17")
    with pytest.raises(AgentError, match="Failed to get D-Bus"):
        run.systemd().restart()
    assert 1600 <= run.now <= 1601


def test_client_that_succeeds_is_believed() -> None:
    run = followed("failed", "Job=17", client=Completed(0))
    assert run.systemd().restart() is True
    assert SHOW_JOB not in run.commands


def test_job_of_a_way_back_is_followed_too() -> None:
    run = followed("active", "Job=17", "Job=0")
    run.systemd().roll_back()
    assert run.commands[:2] == ["systemctl reset-failed ecs.service", RESTART]
    down = followed("failed", "Job=17", "Job=0")
    with pytest.raises(AgentError):
        down.systemd().roll_back()


def test_systemctl_that_is_not_there_is_not_waited_for() -> None:
    gone = Completed(127, "No such file or directory")
    run = FollowedJob({RESTART: gone, ACTIVE: gone}, looks=[gone])
    with pytest.raises(AgentError, match=r"failed \(127\)"):
        run.systemd().restart()
    assert run.now == 1000


def test_look_that_fails_says_nothing_of_a_job() -> None:
    """The bus that fails one client may fail the next: the job goes on all the same."""
    run = followed("active", "Job=0")
    run.looks[:0] = [LOST, Completed(0, "Job=17"), LOST]
    assert run.systemd().restart() is True
    assert len(run.looks) == 1


LOAD_STATE = "systemctl show -p LoadState ecs.service"


@pytest.mark.parametrize(
    ("state", "words", "cure"),
    [
        ("masked", "ecs.service is masked", "sudo systemctl unmask ecs"),
        ("not-found", "ecs.service does not exist", "install ecs-init"),
    ],
)
def test_unit_that_cannot_start_is_named(
    monkeypatch: pytest.MonkeyPatch, state: str, words: str, cure: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    run = Recorder({LOAD_STATE: Completed(0, f"LoadState={state}")})
    with pytest.raises(RestartRefusedError, match=words) as caught:
        Systemd(run).check()
    assert cure in caught.value.hint
    assert caught.value.reference == f"unit-{state}"
    assert run.commands == [LOAD_STATE]  # without --value, which systemd 219 does not have


@pytest.mark.parametrize(
    "said",
    [Completed(0, "LoadState=loaded"), Completed(0, ""), LOST, Completed(1, "masked by accident")],
)
def test_unit_of_which_nothing_bad_is_known_is_tried(
    monkeypatch: pytest.MonkeyPatch, said: Completed
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    run = Recorder({LOAD_STATE: said})
    Systemd(run).check()
    assert run.commands == [LOAD_STATE]
