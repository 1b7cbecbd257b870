"""The restart on its ports: when, what is proved, and the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ecsauth.agent.datadir import NOT_RUNNING, SAFE, UNKNOWN, UNSAFE, RestartVerdict
from ecsauth.agent.restart.policy import RestartPolicy
from ecsauth.agent.restart.ports import (
    AgentOutcome,
    Observation,
    RestartHistory,
    RestartPorts,
    UnprovedRestart,
)
from ecsauth.agent.restart.procedure import is_refused, make_agent_read
from ecsauth.engine_auth.codec import EngineAuth
from ecsauth.errors import AgentError, RestartRefusedError, TargetError

OLD, NEW = EngineAuth("dockercfg", "old"), EngineAuth("dockercfg", "new")
ARN = "arn:aws:ecs:us-west-2:123456789012:container-instance/c/1"
START = 1_800_000_000.0


def up(settings: EngineAuth | None = OLD, incarnation: str = "1", **changes: Any) -> Observation:
    """The agent as it runs when all is well."""
    usual = Observation(
        RestartVerdict(SAFE, "fine"),
        answers=True,
        settings=settings,
        incarnation=incarnation,
        started_at=START,
        arn=ARN,
        cluster="c",
        running_tasks=3,
    )
    return replace(usual, **changes)


DOWN = Observation(RestartVerdict(NOT_RUNNING, "exited"))


def unsafe(**changes: Any) -> Observation:
    return up(verdict=RestartVerdict(UNSAFE, "no ECS_DATADIR"), **changes)


@dataclass
class World:
    """Time, words, and an agent that comes back as it is told to."""

    now_look: Observation = field(default_factory=up)
    after: Callable[[], Observation] = lambda: up(NEW, "2")
    after_back: Callable[[], Observation] = lambda: up(OLD, "3")
    events: list[str] = field(default_factory=list)
    time: float = START
    restart_error: AgentError | None = None
    is_queued: bool = False
    left: str = ""
    why_not_back: str = ""

    command = "restart it"
    manager = "systemd"

    def observe(self) -> Observation:
        return self.now_look

    def repair(self) -> str:
        if self.left == "fails":
            raise AgentError("Docker refuses")
        return self.left

    check_error: RestartRefusedError | None = None

    def check(self) -> None:
        if self.check_error:
            raise self.check_error

    def start_if_blocked(self) -> None:
        self.events.append("nudge")

    def restart(self) -> bool:
        self.events.append("restart")
        if self.restart_error:
            raise self.restart_error
        self.tick = self.after
        return not self.is_queued

    is_supervised_now: bool = True

    def is_stopped(self) -> bool:
        return False

    def is_supervised(self) -> bool:
        return self.is_supervised_now

    def discard_rollback(self) -> None:
        self.events.append("settle")

    def roll_back(self) -> None:
        self.events.append("bring back")
        self.tick = self.after_back

    tick: Callable[[], Observation] | None = None

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        if self.tick:
            self.now_look = self.tick()

    def restore(self) -> str:
        self.events.append("put back")
        return self.why_not_back

    def run(
        self,
        history: RestartHistory | None = None,
        *,
        begun: UnprovedRestart | None = None,
        has_memory: bool = True,
        drainer: Any = None,
        **rules: Any,
    ) -> AgentOutcome:
        return make_agent_read(
            self,
            lambda seen: None if seen.settings is None else seen.settings == NEW,
            self.restore,
            RestartPolicy(**rules),
            history or RestartHistory(),
            RestartPorts(
                now=lambda: self.time,
                monotonic=lambda: self.time - START,
                sleep=self.sleep,
                note=lambda text: self.events.append(f"note {text}"),
                warn=lambda text: self.events.append(f"warn {text}"),
                begin=lambda history, begun: self.events.append(
                    f"begin {history.last} {history.failures} {begun.incarnation} {begun.arn}"
                ),
                shield=self.shield,
                has_memory=has_memory,
                drainer=drainer,
            ),
            begun,
        )

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        self.shields += 1
        yield
        self.shields -= 1

    shields: int = 0

    @property
    def acts(self) -> list[str]:
        """What was done, without words."""
        return [item for item in self.events if not item.startswith(("n", "warn", "begin"))]


@pytest.fixture
def world() -> World:
    return World()


def test_agent_that_has_to_read_is_restarted_and_proved(world: World) -> None:
    done = world.run()
    assert world.acts == ["restart", "settle"]
    assert (done.is_done, done.is_pending, done.error) == (True, False, None)
    assert done.history == RestartHistory(START, 0)
    assert "the same instance" in done.said
    assert world.time - START >= 2  # it has to stay up


def test_history_is_kept_before_the_agent_is_touched(world: World) -> None:
    world.run(RestartHistory(START - 9999, 3))
    assert world.events.index(f"begin {START} 3 1 {ARN}") < world.events.index("restart")


def test_agent_that_runs_with_it_is_left_alone_unless_always(world: World) -> None:
    world.now_look = up(NEW)
    done = world.run()
    assert (world.acts, done.is_pending, done.said) == (["settle"], False, "")
    world.after = lambda: up(NEW, "2")
    assert world.run(when="always").is_done


def test_never_says_what_to_run(world: World) -> None:
    done = world.run(when="never")
    assert (world.acts, done.is_pending) == ([], True)
    assert "restart it" in done.said
    world.now_look = up(NEW)
    assert not world.run(when="never").is_pending


def test_agent_that_does_not_run_is_started_only_if_that_is_asked_for(world: World) -> None:
    world.now_look = DOWN
    done = world.run()
    assert (world.acts, done.is_pending, done.error) == ([], True, None)
    assert world.run(when="always").is_done
    assert world.acts == ["restart", "settle"]


@pytest.mark.parametrize(
    ("seen", "refused"),
    [
        (unsafe(), True),
        (unsafe(running_tasks=None), True),
        (unsafe(running_tasks=0), False),
        (up(verdict=RestartVerdict(UNKNOWN, "no Docker"), settings=None), True),
        (up(verdict=RestartVerdict(UNKNOWN, "no Docker"), settings=None, running_tasks=0), True),
        (up(), False),
        (DOWN, False),
    ],
)
def test_restart_that_could_lose_tasks_is_refused(
    world: World, seen: Observation, refused: bool
) -> None:
    world.now_look = seen
    done = world.run()
    assert isinstance(done.error, RestartRefusedError) is refused
    assert is_refused(seen) is refused
    if refused:
        assert (world.acts, done.is_pending, done.error and done.error.exit_code) == ([], True, 5)
        hint = done.error.hint if done.error else ""
        expected = "Docker is up" if seen.verdict.outcome == UNKNOWN else "--drain moves tasks"
        assert expected in hint


def test_force_says_what_it_may_cost(world: World) -> None:
    world.now_look = unsafe()
    done = world.run(force=True)
    assert done.is_done
    assert any("which could lose 3 running tasks: no ECS_DATADIR" in item for item in world.events)


@pytest.mark.parametrize(
    ("failures", "seconds", "waits"),
    [(0, 299, True), (0, 300, False), (1, 599, True), (1, 600, False), (99, 64 * 300 - 1, True)],
)
def test_restarts_keep_their_distance(
    world: World, failures: int, seconds: float, waits: bool
) -> None:
    done = world.run(RestartHistory(START - seconds, failures))
    assert (world.acts == []) is waits
    assert done.is_pending is waits
    assert done.error is None
    assert World().run(RestartHistory(START - seconds, failures), force=True).is_done


def test_clock_that_was_set_back_does_not_forbid_restarts(world: World) -> None:
    assert world.run(RestartHistory(START + 1)).is_done


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (up(OLD, "2"), "does not carry the new"),
        (up(NEW, "1"), "not started again"),
        (up(NEW, "2", answers=False), "does not answer"),
        (up(NEW, "2", arn=None), "has not registered"),
        (DOWN, "exited"),
    ],
)
def test_agent_that_does_not_come_back_is_rolled_back(
    world: World, seen: Observation, words: str
) -> None:
    world.after = lambda: seen
    done = world.run(RestartHistory(None, 2))
    assert world.acts == ["restart", "put back", "bring back"]
    assert isinstance(done.error, AgentError)
    assert words in done.error.message
    assert "the file before is restored, and the agent runs again" in done.error.message
    assert (done.is_pending, done.history.failures) == (False, 3)
    assert done.history.last == START + 60
    assert 60 <= world.time - START < 70


def test_agent_that_flaps_has_not_come_back(world: World) -> None:
    starts = iter(range(2, 10_000))
    world.after = lambda: up(NEW, str(next(starts)))
    done = world.run()
    assert done.error
    assert "it does not stay up" in done.error.message


def test_agent_that_comes_back_late_but_in_time_is_proved(world: World) -> None:
    world.after = lambda: up(NEW, "2") if world.time >= START + 59.5 else DOWN
    assert world.run().is_done
    world = World()
    world.after = lambda: up(NEW, "2") if world.time >= START + 61 else DOWN
    assert world.run().error


def test_both_facts_are_said_if_the_way_back_fails_too(world: World) -> None:
    world.after = world.after_back = lambda: DOWN
    world.why_not_back = "it was changed"
    done = world.run()
    assert done.error
    assert done.error.exit_code == 6
    assert "the file stays: it was changed, and it does not come back" in done.error.message
    assert done.is_pending


def test_target_that_cannot_be_restored_is_said(world: World) -> None:
    def fails() -> str:
        raise TargetError("disk full")

    world.after = lambda: DOWN
    world.restore = fails  # type: ignore[method-assign]
    done = world.run()
    assert done.error
    assert "the file stays: disk full, and the agent runs again" in done.error.message


def test_new_instance_is_an_error_without_a_way_back(world: World) -> None:
    world.after = lambda: up(NEW, "2", arn=f"{ARN}2")
    done = world.run()
    assert world.acts == ["restart", "settle"]
    assert done.error
    assert done.error.exit_code == 6
    assert f"{ARN}2" in done.error.message
    assert "orphaned" in done.error.message
    assert not done.is_pending


def test_agent_that_had_not_registered_need_not(world: World) -> None:
    world.now_look = up(arn=None)
    world.after = lambda: up(NEW, "2", arn=None)
    done = world.run()
    assert done.is_done
    assert "same instance" not in done.said


def test_restart_that_did_not_happen_is_refused_and_nothing_is_restored(world: World) -> None:
    world.restart_error = AgentError("systemctl failed", "are you root?")
    done = world.run()
    assert world.acts == ["restart"]
    assert isinstance(done.error, RestartRefusedError)
    assert "runs as before: systemctl failed" in done.error.message
    assert (done.is_pending, done.history) == (True, RestartHistory(START, 0, 1))


def test_restart_that_failed_half_way_is_rolled_back(world: World) -> None:
    world.restart_error = AgentError("the unit failed")

    def gone() -> bool:
        world.events.append("restart")
        world.now_look = DOWN
        raise AgentError("the unit failed")

    world.restart = gone  # type: ignore[method-assign]
    done = world.run()
    assert world.acts == ["restart", "put back", "bring back"]
    assert done.error
    assert "the unit failed" in done.error.message


def test_queued_restart_stays_pending_without_a_proof(world: World) -> None:
    world.is_queued = True
    done = world.run()
    assert world.acts == ["restart"]
    assert (done.is_pending, done.error, done.history.last) == (True, None, START)
    assert "queued" in done.said


def test_what_was_cut_off_is_mended_first_and_said(world: World) -> None:
    world.left = "mended"
    world.now_look = up(NEW)
    world.run()
    assert "warn mended" in world.events
    assert "warn mended" not in World(left="mended", now_look=up(NEW)).events


@dataclass
class FakeDrainer:
    """Notes what it is asked; `stay` are tasks without a service."""

    world: World
    stay: Sequence[str] = ()
    error: BaseException | None = None

    def drain(self, cluster: str, arn: str) -> Sequence[str]:
        self.world.events.append(f"drain {cluster}")
        if self.error:
            raise self.error
        return self.stay

    def activate(self, cluster: str, arn: str) -> None:
        self.world.events.append("activate")


def test_drained_instance_is_active_again_after_the_restart(world: World) -> None:
    world.now_look = unsafe()
    world.after = lambda: replace(unsafe(), settings=NEW, incarnation="2")
    done = world.run(drainer=FakeDrainer(world))
    assert world.acts == ["drain c", "restart", "settle", "activate"]
    assert done.is_done


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
def test_instance_is_active_again_after_an_interruption(world: World, error: BaseException) -> None:
    with pytest.raises(type(error)):
        world.run(drainer=FakeDrainer(world, error=error))
    assert world.acts == ["drain c", "activate"]


def test_instance_that_is_not_drained_is_not_restarted(world: World) -> None:
    drainer = FakeDrainer(world, error=RestartRefusedError("denied"))
    done = world.run(drainer=drainer)
    assert world.acts == ["drain c", "activate"]
    assert (done.is_pending, done.error) == (True, drainer.error)
    assert done.history == RestartHistory(START, 0, 1)  # not again at the next tick of a timer
    again = World()
    assert again.run(RestartHistory(START - 599, 0, 1)).is_pending
    assert World().run(RestartHistory(START - 600, 0, 1)).is_done
    forced = World()
    forced.run(drainer=FakeDrainer(forced, error=RestartRefusedError("denied")), force=True)
    assert forced.acts == ["drain c", "restart", "settle", "activate"]


def test_tasks_that_stay_matter_only_if_the_restart_loses_them(world: World) -> None:
    done = world.run(drainer=FakeDrainer(world, ["t1 (family:1)"]))
    assert done.is_done
    assert any("t1 (family:1); they keep running" in item for item in world.events)
    other = World(now_look=unsafe())
    done = other.run(drainer=FakeDrainer(other, ["t1 (family:1)"]))
    assert other.acts == ["drain c", "activate"]
    assert done.error
    assert "t1 (family:1)" in done.error.message


def test_instance_that_nobody_knows_is_not_drained(world: World) -> None:
    world.now_look = up(arn=None)
    done = world.run(drainer=FakeDrainer(world))
    assert world.acts == []
    assert isinstance(done.error, RestartRefusedError)


CUT_OFF = UnprovedRestart("1", ARN)


def test_restart_that_was_cut_off_is_proved_by_the_next_run(world: World) -> None:
    world.now_look = up(NEW, "2")
    done = world.run(RestartHistory(START - 1, 0), begun=CUT_OFF)
    assert world.acts == ["settle"]
    assert (done.is_done, done.is_pending) == (True, False)


@pytest.mark.parametrize("seen", [DOWN, up(NEW, "2", answers=False), up(NEW, "2", arn=None)])
def test_restart_that_was_cut_off_and_failed_is_rolled_back(
    world: World, seen: Observation
) -> None:
    world.now_look = seen
    done = world.run(RestartHistory(START - 1, 0), begun=CUT_OFF)
    assert world.acts == ["put back", "bring back"]
    assert done.error
    assert done.error.exit_code == 6


def test_restart_that_was_cut_off_before_it_did_anything_is_begun_anew(world: World) -> None:
    assert world.run(RestartHistory(START - 300, 0), begun=CUT_OFF).is_done
    assert world.acts == ["restart", "settle"]
    again = World()
    assert again.run(RestartHistory(START - 1, 0), begun=CUT_OFF).is_pending
    assert again.acts == []


def test_agent_that_could_not_be_proved_is_not_touched(world: World) -> None:
    world.now_look = up(answers=False, arn=None, running_tasks=None)
    done = world.run()
    assert (world.acts, done.is_pending) == ([], True)
    assert isinstance(done.error, RestartRefusedError)
    assert "--introspection-url" in done.error.hint
    world.after = lambda: up(NEW, "2", answers=False, arn=None)
    assert world.run(force=True).is_done


def test_what_cannot_be_restarted_from_here_is_not_drained_either(world: World) -> None:
    world.check_error = RestartRefusedError("only root")
    done = world.run(drainer=FakeDrainer(world))
    assert (world.acts, done.error) == ([], world.check_error)


def test_leftover_that_cannot_be_mended_is_a_refusal(world: World) -> None:
    world.left = "fails"
    done = world.run()
    assert isinstance(done.error, RestartRefusedError)
    assert world.acts == []


@pytest.mark.parametrize("how", ["no tasks", "drained", "forced"])
def test_new_instance_is_expected_where_nothing_was_kept(world: World, how: str) -> None:
    world.now_look = unsafe(running_tasks=0 if how == "no tasks" else 3)
    world.after = lambda: replace(unsafe(), settings=NEW, incarnation="2", arn=f"{ARN}2")
    drainer = FakeDrainer(world) if how == "drained" else None
    done = world.run(drainer=drainer, force=how == "forced")
    assert (done.is_done, done.error) == (True, None)
    assert f"as expected, the agent has registered as a new container instance, {ARN}2" in done.said


def test_without_a_memory_the_agent_s_own_start_keeps_the_distance(world: World) -> None:
    world.now_look = up(started_at=START - 299)
    assert world.run(has_memory=False).is_pending
    assert world.run(has_memory=True).is_done
    other = World(now_look=up(started_at=START - 300))
    assert other.run(has_memory=False).is_done


def test_agent_that_is_held_up_is_nudged(world: World) -> None:
    world.after = lambda: DOWN if "nudge" not in world.events else up(NEW, "2")
    assert world.run().is_done
    assert world.events.count("nudge") == 1


def test_signals_are_held_off_where_half_done_is_worse_than_late(world: World) -> None:
    seen: dict[str, int] = {}

    def noted(name: str, action: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            seen[name] = world.shields
            return action(*arguments)

        return run

    world.after = lambda: DOWN
    drainer = FakeDrainer(world)
    for one, name in (
        (world, "restart"),
        (world, "restore"),
        (world, "roll_back"),
        (world, "observe"),
    ):
        setattr(one, name, noted(name, getattr(one, name)))
    drainer.activate = noted("activate", drainer.activate)  # type: ignore[method-assign]
    drainer.drain = noted("drain", drainer.drain)  # type: ignore[method-assign]
    world.run(drainer=drainer)
    assert seen == {
        **dict.fromkeys(("restart", "restore", "roll_back", "activate"), 1),
        **dict.fromkeys(("drain", "observe"), 0),
    }


def test_unknown_verdict_is_not_helped_by_draining(world: World) -> None:
    world.now_look = up(verdict=RestartVerdict(UNKNOWN, "no Docker"), settings=None)
    done = world.run(drainer=FakeDrainer(world))
    assert (world.acts, done.is_pending) == ([], True)


def test_way_back_that_cannot_be_gone_is_said(world: World) -> None:
    def fails() -> None:
        raise AgentError("Docker is gone")

    world.after = lambda: DOWN
    world.roll_back = fails  # type: ignore[method-assign]
    done = world.run()
    assert done.error
    assert "it does not come back with that either: Docker is gone" in done.error.message
