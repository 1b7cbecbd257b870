"""What is done about the agent: pending restarts, proofs, and what to go back to."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ecsauth.agent import paths
from ecsauth.agent.datadir import NOT_RUNNING, SAFE, RestartVerdict
from ecsauth.agent.paths import is_in_sync
from ecsauth.agent.restart.policy import AGENT_FILES, ANY_FILE, AUTO, NEVER, RestartPolicy
from ecsauth.agent.restart.ports import Drainer, Observation
from ecsauth.app.agent import AgentRestartRequest, AgentRestartResult, restart_agent
from ecsauth.app.refresh import RefreshRequest, RefreshResult, refresh
from ecsauth.app.requests import MergeOptions
from ecsauth.engine_auth.codec import EngineAuth
from ecsauth.engine_auth.layouts import AGENT_JSON, ENV_FILE
from ecsauth.errors import AgentError, RestartRefusedError
from ecsauth.host import atomic_file
from ecsauth.host.atomic_file import previous_path
from ecsauth.state import store as store_module
from ecsauth.state.records import AgentRestarts, TargetRecord
from ecsauth.state.store import StateStore
from tests.builders import b64
from tests.unit.fakes import FakeEdges, Heard, fake_ports

UP = Observation(
    RestartVerdict(SAFE, "fine"),
    answers=True,
    settings=EngineAuth("", ""),
    incarnation="1",
    started_at=1.0,
    arn="arn",
    cluster="c",
    running_tasks=1,
)


@dataclass
class FakeAgent:
    """An agent that reads its file when it is restarted, unless the file has `poison`."""

    file: Path
    look_now: Observation = UP
    poison: str = "poison"
    restarts: int = 0
    looks: int = 0
    refusal: RestartRefusedError | None = None
    stopped: bool = False
    before_restart: Callable[[], object] = lambda: None
    after_restart: Callable[[], object] = lambda: None
    command: str = "restart it"
    manager: str = "systemd"

    def read(self) -> None:
        settings = ENV_FILE.read(self.file.read_bytes() if self.file.exists() else b"")
        self.restarts += 1
        if self.poison in settings.auth_data:
            self.look_now = Observation(RestartVerdict(NOT_RUNNING, "it has ended"))
        else:
            incarnation = str(self.restarts + 1)
            self.look_now = replace(UP, settings=settings, incarnation=incarnation)

    def observe(self) -> Observation:
        self.looks += 1
        return self.look_now

    def repair(self) -> str:
        return ""

    def check(self) -> None:
        if self.refusal:
            raise self.refusal

    def start_if_blocked(self) -> None:
        pass

    def is_stopped(self) -> bool:
        return self.stopped

    def is_supervised(self) -> bool:
        return True

    def restart(self) -> bool:
        self.before_restart()
        self.read()
        self.after_restart()
        return True

    def roll_back(self) -> None:
        self.read()

    def discard_rollback(self) -> None:
        pass


@dataclass
class Bench:
    """A file, its agent, and what refreshes it."""

    login_file: Callable[..., Path]
    file: Path
    agent: FakeAgent
    state_dir: Path
    said: Heard = field(default_factory=Heard)
    make_drainer: Any = None
    now: float = 1_800_000_000.0
    show: Callable[[RefreshResult], None] = lambda _: None

    def refresh(
        self,
        *hosts: str,
        scope: str = ANY_FILE,
        when: str = AUTO,
        policy: RestartPolicy | None = None,
        **request: Any,
    ) -> RefreshResult:
        login = self.login_file({host: {"auth": b64("u:p")} for host in hosts})
        request = {"targets": (str(self.file),), "state_dir": self.state_dir, **request}
        policy = policy or RestartPolicy(min_interval=0)
        return refresh(
            RefreshRequest(
                (str(login),),
                merge=request.pop("merge", MergeOptions(replace=True)),
                restart=replace(policy, scope=scope, when=when, timeout=1),
                **request,
            ),
            self.ports,
            self.show,
        )

    def restart(self, when: str = AUTO) -> AgentRestartResult:
        policy = RestartPolicy(ANY_FILE, when)
        request = AgentRestartRequest(str(self.file), policy, state_dir=self.state_dir)
        return restart_agent(request, self.ports)

    @property
    def ports(self) -> Any:
        edges = FakeEdges(
            os.environ,
            io.BytesIO(),
            io.BytesIO,
            the_agent=self.agent,
            make_drainer=self.make_drainer,
        )
        self.now += 1
        return fake_ports(edges, self.said, lambda: self.now)

    @property
    def known(self) -> TargetRecord:
        return StateStore(self.state_dir).target(str(self.file))

    @property
    def restarts(self) -> AgentRestarts:
        return StateStore(self.state_dir).agent


@pytest.fixture
def bench(login_file: Callable[..., Path], tmp_path: Path) -> Bench:
    file = tmp_path / "ecs.config"
    file.write_text("ECS_CLUSTER=x\n")
    return Bench(login_file, file, FakeAgent(file), tmp_path / "state")


def error_of(done: RefreshResult) -> str:
    assert done.agent
    assert done.agent.error
    return str(done.agent.error)


def test_idle_run_does_not_observe_the_agent(bench: Bench) -> None:
    assert bench.refresh("a.io").exit_code == 0
    assert bench.agent.restarts == 1
    assert not bench.known.delivery.is_pending
    looks = bench.agent.looks
    assert bench.restarts.confirm
    assert bench.refresh("a.io").exit_code == 0
    assert bench.agent.looks == looks + 1  # once more after a restart
    assert not bench.restarts.confirm
    assert bench.refresh("a.io").exit_code == 0
    assert bench.agent.looks == looks + 1


def test_agent_that_fell_after_its_proof_gets_the_file_before(bench: Bench) -> None:
    bench.refresh("a.io")
    bench.refresh("a.io")
    good = bench.file.read_bytes()
    bench.refresh("b.io")
    assert bench.agent.restarts == 2
    fallen = Observation(RestartVerdict(NOT_RUNNING, "exited (1)"))
    up, bench.agent.look_now = bench.agent.look_now, fallen
    bench.agent.stopped = True  # by intention: nothing is to be done
    bench.refresh("b.io")
    assert not bench.restarts.confirm
    assert bench.agent.restarts == 2
    bench.agent.look_now, bench.agent.stopped = up, False
    bench.refresh("c.io")
    bench.agent.look_now = fallen
    with pytest.raises(AgentError, match=r"exited.*the file before is restored"):
        bench.refresh("c.io")
    assert b"b.io" in bench.file.read_bytes()
    assert good != bench.file.read_bytes()


def test_idle_run_parses_the_state_once_and_writes_it_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = count_state(monkeypatch)
    bench.refresh("a.io")
    assert bench.agent.restarts == 1
    assert counts == {"read": 1, "write": 4}
    bench.refresh("a.io")
    counts.update(read=0, write=0)
    bench.refresh("a.io")
    assert counts == {"read": 1, "write": 1}


def test_edited_file_is_brought_to_the_agent(bench: Bench) -> None:
    bench.refresh("a.io")
    bench.file.write_text(bench.file.read_text().replace("a.io", "b.io"))
    bench.refresh("a.io", merge=MergeOptions())
    assert bench.agent.look_now.settings
    assert "b.io" in bench.agent.look_now.settings.auth_data


def test_failed_restart_goes_back_to_what_the_agent_ran_with(bench: Bench) -> None:
    assert bench.refresh("a.io").exit_code == 0
    good = bench.file.read_bytes()
    assert bench.refresh("poison.io").exit_code == 6
    assert bench.file.read_bytes() == good
    assert not bench.known.delivery.is_pending
    assert bench.known.history.last_code == 6
    assert bench.restarts.failures == 1


def test_first_write_of_all_is_undone_by_removing_the_file(bench: Bench) -> None:
    bench.file.unlink()
    assert bench.refresh("poison.io").exit_code == 6
    assert not bench.file.exists()


def test_way_back_leads_past_what_was_never_read(bench: Bench) -> None:
    """A runs; B is written and its restart refused; C is written and fails: back to A."""
    bench.refresh("a.io")
    good = bench.file.read_bytes()
    before = bench.agent.look_now
    bench.agent.look_now = replace(before, verdict=RestartVerdict("unsafe", "no ECS_DATADIR"))
    assert bench.refresh("b.io").exit_code == RestartRefusedError.exit_code
    assert bench.known.delivery.is_pending
    assert b"b.io" in bench.file.read_bytes()
    bench.agent.look_now = before
    assert bench.refresh("poison.io").exit_code == 6
    assert bench.file.read_bytes() == good
    assert previous_path(bench.file).read_bytes() == good


def test_file_that_was_edited_since_is_not_restored(bench: Bench) -> None:
    bench.agent.after_restart = lambda: bench.file.write_text("ECS_CLUSTER=edited\n")
    done = bench.refresh("poison.io")
    assert done.exit_code == 6
    assert "has been changed since, and the agent runs again" in error_of(done)
    assert bench.file.read_text() == "ECS_CLUSTER=edited\n"


def test_way_back_needs_no_state_directory(bench: Bench, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    good = bench.file.read_bytes()
    done = bench.refresh("poison.io", state_dir=blocked / "x")
    assert done.exit_code == 6
    assert "the file before is restored" in error_of(done)
    assert bench.file.read_bytes() == good
    assert "cannot be written" in bench.said.of("warning")


def test_other_files_do_not_concern_the_agent_by_default(bench: Bench) -> None:
    done = bench.refresh("a.io", scope=AGENT_FILES)
    assert (done.exit_code, bench.agent.looks) == (0, 0)
    assert done.care[0].next_step.startswith("the agent reads this only when it starts")
    done = bench.refresh("b.io", when=NEVER)
    assert (done.exit_code, bench.agent.looks) == (0, 0)
    assert bench.refresh("c.io").exit_code == 0
    assert bench.agent.restarts == 1


def test_agent_s_own_file_is_delivered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ENV_FILES", ("/nonexistent", str(bench.file)))
    done = bench.refresh("a.io", scope=AGENT_FILES)
    assert (done.exit_code, bench.agent.restarts) == (0, 1)
    assert done.agent
    assert "runs with this, the same instance" in done.agent.said
    assert done.care[0].next_step == ""
    bench.refresh("a.io", scope=AGENT_FILES)
    looks = bench.agent.looks
    done = bench.refresh("b.io", scope=AGENT_FILES, when=NEVER)
    assert (done.exit_code, bench.agent.looks) == (0, looks)
    assert bench.known.delivery.is_pending
    assert done.care[0].next_step
    bench.refresh("b.io", scope=AGENT_FILES)
    assert bench.agent.restarts == 2
    assert not bench.known.delivery.is_pending


def test_dry_run_does_not_touch_the_agent(bench: Bench) -> None:
    done = bench.refresh("a.io", merge=MergeOptions(dry_run=True))
    assert (done.exit_code, bench.agent.looks) == (0, 0)


def test_interrupted_restart_is_remembered_and_proved_by_the_next_run(bench: Bench) -> None:
    bench.agent.before_restart = interrupt
    with pytest.raises(KeyboardInterrupt):
        bench.refresh("a.io")
    assert bench.known.delivery.is_pending
    assert bench.restarts.last_restart
    bench.agent.before_restart = lambda: None
    bench.agent.look_now = replace(UP, settings=ENV_FILE.read(bench.file.read_bytes()))
    assert bench.refresh("a.io").exit_code == 0
    assert not bench.known.delivery.is_pending


def test_what_was_written_before_an_error_in_the_block_is_noted(bench: Bench) -> None:
    def fail(_: RefreshResult) -> None:
        raise KeyboardInterrupt

    bench.show = fail
    with pytest.raises(KeyboardInterrupt):
        bench.refresh("a.io")
    assert b"a.io" in bench.file.read_bytes()
    assert bench.known.delivery.is_pending
    assert bench.agent.restarts == 0


def test_restart_command_says_whether_the_agent_was_restarted(bench: Bench) -> None:
    bench.refresh("a.io", when=NEVER)
    done = bench.restart()
    assert (done.exit_code, done.outcome.is_done, bench.agent.restarts) == (0, True, 1)
    done = bench.restart()
    assert (done.exit_code, done.outcome.is_done, bench.agent.restarts) == (0, False, 1)
    assert bench.restart(NEVER).exit_code == 0
    assert bench.agent.restarts == 1


@pytest.mark.parametrize(
    ("started", "settings", "env_file", "expected"),
    [
        (0.0, UP.settings, "", False),
        (4e9, UP.settings, "", True),
        (None, UP.settings, "", None),
        # The environment counts more than the file: no restart makes the agent read it,
        (0.0, EngineAuth("docker", "{}"), "ECS_ENGINE_AUTH_TYPE=docker\n", True),
        # but if the env file no longer sets anything, a restart does.
        (0.0, EngineAuth("docker", "{}"), "ECS_CLUSTER=c\n", False),
        (4e9, EngineAuth("docker", "{}"), "", False),
    ],
)
def test_json_file_goes_by_time(
    tmp_path: Path,
    started: float | None,
    settings: EngineAuth,
    env_file: str,
    expected: bool | None,
) -> None:
    path = tmp_path / "ecs.config.json"
    path.write_text("{}")
    (tmp_path / "ecs.config").write_text(env_file)
    seen = replace(UP, started_at=started, settings=settings)
    assert is_in_sync(path, AGENT_JSON, EngineAuth("", ""), seen) is expected


def test_nothing_new_is_written_while_the_agent_recovers_from_a_failure(bench: Bench) -> None:
    bench.refresh("a.io")
    bench.refresh("poison.io")
    good = bench.file.read_bytes()
    with pytest.raises(AgentError) as caught:
        bench.refresh("poison.io", policy=RestartPolicy())
    assert caught.value.reference == "agent-backing-off"
    assert bench.file.read_bytes() == good
    other = str(bench.file.with_name("other.config"))
    done = bench.refresh("b.io", policy=RestartPolicy(), scope=AGENT_FILES, targets=(other,))
    assert done.exit_code == 0


def test_other_targets_are_written_while_the_agent_recovers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ENV_FILES", ("/nonexistent", str(bench.file)))
    bench.refresh("a.io", scope=AGENT_FILES)
    bench.refresh("poison.io", scope=AGENT_FILES)
    good, other = bench.file.read_bytes(), bench.file.with_name("other.config")
    done = bench.refresh(
        *("b.io",), policy=RestartPolicy(), scope=AGENT_FILES, targets=(str(bench.file), str(other))
    )
    assert done.codes == [6, 0]
    assert bench.file.read_bytes() == good
    assert b"b.io" in other.read_bytes()


def test_line_that_was_added_while_a_restart_was_pending_is_not_lost(bench: Bench) -> None:
    bench.refresh("a.io")
    ready = bench.agent.look_now
    bench.agent.look_now = replace(ready, verdict=RestartVerdict("unsafe", "no ECS_DATADIR"))
    assert bench.refresh("b.io").exit_code == 5
    bench.file.write_text(bench.file.read_text() + "ECS_RESERVED_MEMORY=256\n")
    bench.agent.look_now = ready
    assert bench.refresh("poison.io").exit_code == 6
    assert "ECS_RESERVED_MEMORY=256" in bench.file.read_text()
    assert "poison.io" not in bench.file.read_text()


def test_restart_by_hand_is_noticed_before_the_next_write(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A; B is written, and read after a restart by hand; so with C the way back leads to B."""
    monkeypatch.setattr(paths, "ENV_FILES", ("/nonexistent", str(bench.file)))
    bench.refresh("a.io", scope=AGENT_FILES)
    bench.refresh("b.io", scope=AGENT_FILES, when=NEVER)
    assert bench.known.delivery.is_pending
    bench.agent.read()
    bench.refresh("c.io", scope=AGENT_FILES, when=NEVER)
    assert b"b.io" in previous_path(bench.file).read_bytes()
    bench.refresh("d.io", scope=AGENT_FILES, when=NEVER)  # nobody has read C: what runs is B
    assert b"b.io" in previous_path(bench.file).read_bytes()


@dataclass
class FakeDrainer:
    """Notes its calls; does not forget that it has drained."""

    calls: list[str]

    def make(self, timeout: float, remember: Callable[[str], None], remembered: str) -> Drainer:
        self.calls.append(f"{timeout:g} {remembered}")
        remember("arn")
        return self

    def drain(self, cluster: str, arn: str) -> list[str]:
        self.calls.append(f"drain {cluster} {arn}")
        return []

    def activate(self, cluster: str, arn: str) -> None:
        self.calls.append(f"activate {arn}")


def test_policy_reaches_the_restart(bench: Bench) -> None:
    calls: list[str] = []
    bench.make_drainer = FakeDrainer(calls).make
    unsafe = replace(UP, verdict=RestartVerdict("unsafe", "no ECS_DATADIR"))
    bench.agent.look_now = unsafe
    assert bench.refresh("a.io").exit_code == 5
    assert calls == []
    done = bench.refresh("a.io", policy=RestartPolicy(min_interval=0, drain=7))
    assert (done.exit_code, bench.agent.restarts) == (0, 1)
    assert calls == ["7 ", "drain c arn", "activate arn"]
    bench.agent.look_now = replace(unsafe, settings=bench.agent.look_now.settings)
    calls.clear()  # it has not forgotten: the next run makes the instance active
    assert bench.refresh("a.io").exit_code == 0
    assert calls[1:] == ["activate arn"]
    done = bench.refresh("b.io", policy=RestartPolicy(min_interval=0, force=True))
    assert (done.exit_code, bench.agent.restarts) == (0, 2)
    assert "could lose 1 running task: no ECS_DATADIR" in bench.said.of("warning")


def test_cut_off_restart_is_proved_before_anything_new_is_written(bench: Bench) -> None:
    bench.refresh("a.io")
    bench.agent.after_restart = interrupt
    with pytest.raises(KeyboardInterrupt):
        bench.refresh("a.io", "b.io")
    assert bench.restarts.begun
    bench.agent.after_restart = lambda: None
    assert bench.refresh("a.io", "b.io", "c.io").exit_code == 0
    assert "proving it now" in bench.said.of("note")
    assert bench.agent.look_now.settings
    assert "c.io" in bench.agent.look_now.settings.auth_data
    assert (bench.restarts.failures, bench.restarts.begun) == (0, "")


def test_refused_restart_does_not_keep_new_logins_from_the_file(bench: Bench) -> None:
    bench.refresh("a.io")
    bench.agent.refusal = RestartRefusedError("only root")
    assert bench.refresh("b.io").exit_code == 5
    assert bench.refresh("c.io").exit_code == 5
    assert b"c.io" in bench.file.read_bytes()


def interrupt() -> None:
    raise KeyboardInterrupt


def count_state(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count how often the state file is parsed and written."""
    counts = {"read": 0, "write": 0}

    def read(path: Path) -> atomic_file.FileState:
        counts["read"] += 1
        return atomic_file.read_state(path)

    def write(path: Path, data: bytes) -> None:
        counts["write"] += 1
        atomic_file.write_atomic(path, data)

    monkeypatch.setattr(store_module, "read_file", read)
    monkeypatch.setattr(store_module, "write_atomic", write)
    return counts
