"""What is remembered for the agent's sake: pending restarts, and what to go back to."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ecsauth.cli import agent_files, install, restarting
from ecsauth.cli.restarting import AgentWork
from ecsauth.datadir import NOT_RUNNING, SAFE, RestartVerdict
from ecsauth.engine_auth import EngineAuth
from ecsauth.errors import RestartRefusedError, TargetError
from ecsauth.files import previous_path
from ecsauth.layout import AGENT_JSON, ENV_FILE
from ecsauth.restart.ports import AgentLook
from ecsauth.signals import signals_held_off
from ecsauth.state import read_agent_state, read_state
from ecsauth.targets.local_file import LocalFile
from tests.conftest import Result, b64

Run = Callable[..., Result]
UP = AgentLook(
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
    look_now: AgentLook = UP
    poison: str = "poison"
    restarts: int = 0
    looks: int = 0
    refuses: bool = False
    command: str = "restart it"

    def read(self) -> None:
        settings = ENV_FILE.read(self.file.read_bytes() if self.file.exists() else b"")
        self.restarts += 1
        if self.poison in settings.auth_data:
            self.look_now = AgentLook(RestartVerdict(NOT_RUNNING, "it has ended"))
        else:
            incarnation = str(self.restarts + 1)
            self.look_now = replace(UP, settings=settings, incarnation=incarnation)

    def look(self) -> AgentLook:
        self.looks += 1
        return self.look_now

    def recover(self) -> str:
        return ""

    def check(self) -> None:
        pass

    def nudge(self) -> None:
        pass

    def restart(self) -> bool:
        self.read()
        return True

    def bring_back(self) -> None:
        self.read()

    def settle(self) -> None:
        pass


@dataclass
class Bench:
    """A file, its agent, and the command."""

    ecsauth: Run
    login_file: Callable[..., Path]
    file: Path
    agent: FakeAgent
    state: Path
    options: list[str] = field(default_factory=list)

    def refresh(self, *hosts: str, restart: str = "always", more: Sequence[object] = ()) -> Result:
        login = self.login_file({host: {"auth": b64("u:p")} for host in hosts})
        return self.ecsauth(
            *("refresh", login, "--to", self.file, f"--restart={restart}", "--timeout=1"),
            *("--replace", "--min-restart-interval=0", *more),
        )


@pytest.fixture
def bench(
    ecsauth: Run,
    login_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    file = tmp_path / "ecs.config"
    file.write_text("ECS_CLUSTER=x\n")
    agent = FakeAgent(file)
    monkeypatch.setattr("ecsauth.agent.host.HostAgent", lambda *_, **__: agent)
    clock = {"now": 0.0}

    def sleep(seconds: float) -> None:
        clock["now"] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    return Bench(ecsauth, login_file, file, agent, tmp_path / "state")


def known(bench: Bench) -> Any:
    return read_state(bench.state, str(bench.file))


def test_idle_run_does_not_look_at_the_agent(bench: Bench) -> None:
    assert bench.refresh("a.io").code == 0
    assert (bench.agent.restarts, known(bench).agent_pending) == (1, False)
    looks = bench.agent.looks
    assert bench.refresh("a.io").code == 0
    assert bench.agent.looks == looks


def test_file_that_somebody_edited_is_looked_at(bench: Bench) -> None:
    bench.refresh("a.io")
    text = bench.file.read_text().replace("a.io", "b.io")
    bench.file.write_text(text)
    login = bench.login_file({"a.io": {"auth": b64("u:p")}})
    bench.ecsauth(
        "refresh", login, "--to", bench.file, "--restart=always", "--min-restart-interval=0"
    )
    assert "b.io" in bench.agent.look_now.settings.auth_data  # type: ignore[union-attr]


def test_failed_restart_goes_back_to_what_the_agent_ran_with(bench: Bench) -> None:
    assert bench.refresh("a.io").code == 0
    good = bench.file.read_bytes()
    done = bench.refresh("poison.io")
    assert done.code == 6
    assert bench.file.read_bytes() == good
    assert (known(bench).agent_pending, known(bench).last_code) == (False, 6)
    assert read_agent_state(bench.state).failures == 1


def test_first_write_of_all_is_undone_by_removing_the_file(bench: Bench) -> None:
    bench.file.unlink()
    assert bench.refresh("poison.io").code == 6
    assert not bench.file.exists()


def test_way_back_leads_past_what_was_never_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runs; B is written and its restart refused; C is written and fails: back to A."""
    bench.refresh("a.io")
    good = bench.file.read_bytes()
    refused = replace(bench.agent.look_now, verdict=RestartVerdict("unsafe", "no ECS_DATADIR"))
    before, bench.agent.look_now = bench.agent.look_now, refused
    done = bench.refresh("b.io")
    assert (done.code, known(bench).agent_pending) == (5, True)
    assert RestartRefusedError.exit_code == 5
    assert b"b.io" in bench.file.read_bytes()
    bench.agent.look_now = before
    done = bench.refresh("poison.io")
    assert done.code == 6
    assert bench.file.read_bytes() == good
    assert previous_path(bench.file).read_bytes() == good


def test_file_that_was_edited_since_is_not_put_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart = bench.agent.restart

    def edited() -> bool:
        restart()
        bench.file.write_text("ECS_CLUSTER=edited\n")
        return True

    monkeypatch.setattr(bench.agent, "restart", edited)
    done = bench.refresh("poison.io")
    assert done.code == 6
    assert "was changed by somebody else since, and the agent runs again" in done.err
    assert bench.file.read_text() == "ECS_CLUSTER=edited\n"


def test_way_back_needs_no_state_directory(bench: Bench, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    good = bench.file.read_bytes()
    done = bench.refresh("poison.io", more=["--state-dir", blocked / "x"])
    assert done.code == 6
    assert "the file before is restored" in done.err
    assert bench.file.read_bytes() == good


def test_other_files_are_not_the_agent_s_unless_it_is_said(bench: Bench) -> None:
    done = bench.refresh("a.io", restart="auto")
    assert (done.code, bench.agent.looks) == (0, 0)
    assert "next: the agent reads this only when it starts" in done.err
    done = bench.refresh("b.io", restart="never")
    assert (done.code, bench.agent.looks) == (0, 0)
    assert bench.refresh("c.io").code == 0
    assert bench.agent.restarts == 1


def test_usual_file_is_the_agent_s(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_files, "ENV_FILES", ("/nonexistent", str(bench.file)))
    done = bench.refresh("a.io", restart="auto")
    assert (done.code, bench.agent.restarts) == (0, 1)
    assert "runs with this, the same instance" in done.out
    assert "next:" not in done.err
    looks = bench.agent.looks
    done = bench.refresh("b.io", restart="never")
    assert (done.code, bench.agent.looks, known(bench).agent_pending) == (0, looks, True)
    assert "next: the agent reads this only when it starts" in done.err
    done = bench.refresh("b.io", restart="auto")
    assert (bench.agent.restarts, known(bench).agent_pending) == (2, False)


def test_dry_run_does_not_touch_the_agent(bench: Bench) -> None:
    done = bench.refresh("a.io", more=["--dry-run"])
    assert (done.code, bench.agent.looks) == (0, 0)


def test_restart_that_was_interrupted_is_remembered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.agent, "restart", interrupted)
    assert bench.refresh("a.io").code == 130
    assert known(bench).agent_pending
    assert read_agent_state(bench.state).last_restart
    monkeypatch.undo()
    monkeypatch.setattr("ecsauth.agent.host.HostAgent", lambda *_, **__: bench.agent)
    monkeypatch.setattr("time.sleep", lambda _: None)
    bench.agent.look_now = replace(UP, settings=ENV_FILE.read(bench.file.read_bytes()))
    login = bench.login_file({"a.io": {"auth": b64("u:p")}})
    done = bench.ecsauth(
        *("refresh", login, "--to", bench.file, "--restart=always", "--state-dir", bench.state)
    )
    assert (done.code, known(bench).agent_pending) == (0, False)


def test_never_in_the_settings_does_not_bind_the_command_that_was_typed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.refresh("a.io", restart="never")
    monkeypatch.setenv("ECSAUTH_RESTART", "never")
    done = bench.ecsauth("agent", "restart", bench.file)
    assert (done.code, bench.agent.restarts) == (0, 1)
    done = bench.ecsauth("agent", "restart", bench.file, "--restart=never")
    assert bench.agent.restarts == 1


def test_agent_restart_answers_as_json(bench: Bench) -> None:
    bench.refresh("a.io", restart="never")
    done = bench.ecsauth("agent", "restart", bench.file, "--json", "-q")
    assert '"restarted": true' in done.out
    assert done.err == ""
    done = bench.ecsauth("agent", "restart", bench.file, "--json", "-q")
    assert '"restarted": false' in done.out


@pytest.mark.parametrize(
    ("started", "settings", "carried"),
    [
        (0.0, UP.settings, False),
        (4e9, UP.settings, True),
        (None, UP.settings, None),
        # The environment counts more than the file: no restart makes the agent read it.
        (0.0, EngineAuth("docker", "{}"), True),
    ],
)
def test_json_file_goes_by_time(
    tmp_path: Path, started: float | None, settings: EngineAuth, carried: bool | None
) -> None:
    path = tmp_path / "ecs.config.json"
    path.write_text("{}")
    given = {"policy": "always", "state_dir": tmp_path}
    work = AgentWork([LocalFile(path, AGENT_JSON, 1)], given)
    assert work.carries(replace(UP, started_at=started, settings=settings)) is carried


def test_install_units_needs_systemd(ecsauth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_SYSTEMD", Path("/nonexistent"))
    done = ecsauth("install", "units")
    assert done.code == 4
    assert "systemd does not run here" in done.err


@pytest.mark.parametrize("group", ["agent", "install"])
def test_group_alone_shows_its_commands(ecsauth: Run, group: str) -> None:
    done = ecsauth(group)
    assert done.code == 2
    assert done.err.startswith(f"Usage: ecsauth {group} ")
    assert "\nCommands:\n" in done.err


def test_nothing_new_is_written_while_the_agent_recovers_from_a_failure(bench: Bench) -> None:
    bench.refresh("a.io")
    bench.refresh("poison.io")
    good = bench.file.read_bytes()
    login = bench.login_file({"poison.io": {"auth": b64("u:p")}})
    command = ("refresh", login, "--to", bench.file, "--restart=always", "--timeout=1")
    done = bench.ecsauth(*command)
    assert done.code == 6
    assert "nothing new is brought to it" in done.err
    assert bench.file.read_bytes() == good
    other = bench.file.with_name("other.config")  # not the agent's, with auto
    done = bench.ecsauth("refresh", login, "--to", other)
    assert done.code == 0


def test_line_that_was_added_while_a_restart_was_pending_is_not_lost(bench: Bench) -> None:
    bench.refresh("a.io")
    ready, bench.agent.look_now = (
        bench.agent.look_now,
        replace(bench.agent.look_now, verdict=RestartVerdict("unsafe", "no ECS_DATADIR")),
    )
    assert bench.refresh("b.io").code == 5
    bench.file.write_text(bench.file.read_text() + "ECS_RESERVED_MEMORY=256\n")
    bench.agent.look_now = ready
    assert bench.refresh("poison.io").code == 6
    assert "ECS_RESERVED_MEMORY=256" in bench.file.read_text()
    assert "poison.io" not in bench.file.read_text()


def test_restart_by_hand_is_noticed_before_the_next_write(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A; B is written, and read after a restart by hand; so with C the way back leads to B."""
    monkeypatch.setattr(agent_files, "ENV_FILES", ("/nonexistent", str(bench.file)))
    bench.refresh("a.io", restart="auto")
    bench.refresh("b.io", restart="never")
    assert known(bench).agent_pending
    bench.agent.read()
    bench.refresh("c.io", restart="never")
    assert b"b.io" in previous_path(bench.file).read_bytes()
    bench.refresh("d.io", restart="never")  # nobody has read C: what runs is B
    assert b"b.io" in previous_path(bench.file).read_bytes()


def test_options_reach_the_restart(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Drains:
        def drain(self, cluster: str, arn: str) -> list[str]:
            calls.append(f"drain {cluster} {arn}")
            return []

        def activate(self, cluster: str, arn: str) -> None:
            calls.append(f"activate {arn}")

    def make(timeout: float, remember: Callable[[str], None], remembered: str) -> Drains:
        calls.append(f"{timeout:g} {remembered}")
        remember("arn")
        return Drains()

    monkeypatch.setattr(restarting, "make_drainer", make)
    unsafe = replace(UP, verdict=RestartVerdict("unsafe", "no ECS_DATADIR"))
    bench.agent.look_now = unsafe
    assert bench.refresh("a.io").code == 5
    assert calls == []
    done = bench.refresh("a.io", more=["--drain", "--drain-timeout=7"])
    assert (done.code, bench.agent.restarts) == (0, 1)
    assert calls == ["7 ", "drain c arn", "activate arn"]
    bench.agent.look_now = replace(unsafe, settings=bench.agent.look_now.settings)
    calls.clear()  # the fake did not forget: the next run makes the instance active
    assert bench.refresh("a.io").code == 0
    assert calls == ["900 arn", "activate arn"]
    monkeypatch.setattr(restarting, "make_drainer", lambda *_: Drains())
    done = bench.refresh("b.io", more=["--force-restart"])
    assert (done.code, bench.agent.restarts) == (0, 2)
    assert "may be lost: no ECS_DATADIR" in done.err


@pytest.mark.parametrize("command", ["refresh", "migrate", "agent restart", "agent status"])
def test_bottlerocket_is_told_by_every_command_that_is_about_its_file(
    ecsauth: Run, monkeypatch: pytest.MonkeyPatch, login_file: Callable[..., Path], command: str
) -> None:
    def refuse() -> None:
        raise TargetError("this is Bottlerocket")

    monkeypatch.setattr(agent_files, "check_platform", refuse)
    login = [] if "agent" in command else [login_file({"q.io": {"auth": b64("u:p")}})]
    done = ecsauth(*command.split(), *login)
    assert (done.code, "this is Bottlerocket" in done.err) == (4, True)


def test_signals_wait_until_the_worst_is_over() -> None:
    done = []

    def work() -> None:
        with signals_held_off():
            signal.raise_signal(signal.SIGINT)
            done.append("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_restart_that_was_cut_off_is_settled_before_anything_new_is_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.refresh("a.io")
    restart = bench.agent.restart

    def cut_off() -> bool:
        restart()
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.agent, "restart", cut_off)
    assert bench.refresh("a.io", "b.io").code == 130
    assert read_agent_state(bench.state).begun
    monkeypatch.setattr(bench.agent, "restart", restart)
    done = bench.refresh("a.io", "b.io", "c.io")
    assert done.code == 0, done
    assert "c.io" in bench.agent.look_now.settings.auth_data  # type: ignore[union-attr]
    assert (read_agent_state(bench.state).failures, read_agent_state(bench.state).begun) == (0, "")


def test_restart_that_was_refused_does_not_keep_new_logins_from_the_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses() -> None:
        raise RestartRefusedError("only root")

    bench.refresh("a.io")
    monkeypatch.setattr(bench.agent, "check", refuses)
    assert bench.refresh("b.io").code == 5
    assert bench.refresh("c.io").code == 5
    assert b"c.io" in bench.file.read_bytes()
