"""Service managers by the commands that they run; hosts of another kind; Docker's words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ecsauth.agent import host_agent as host_module
from ecsauth.agent.container import AgentContainer
from ecsauth.agent.datadir import NOT_RUNNING, SAFE, UNKNOWN, RestartVerdict
from ecsauth.agent.docker_run import new_config, new_environment, other_networks
from ecsauth.agent.host_agent import HostAgent
from ecsauth.agent.platform import check_platform
from ecsauth.agent.service import choose
from ecsauth.agent.systemd import Systemd
from ecsauth.agent.upstart import Upstart
from ecsauth.engine_auth.codec import EngineAuth
from ecsauth.errors import AgentError, RestartRefusedError, TargetError
from ecsauth.host.programs import Completed, run_program


@dataclass
class Recorder:
    """Answers commands by their words, and notes them."""

    answers: dict[str, Completed] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    def __call__(self, command: Sequence[str]) -> Completed:
        text = " ".join(command)
        self.commands.append(text)
        return self.answers.get(text, Completed(0))


CLOUD = "systemctl is-active cloud-final.service"
ACTIVE = "systemctl is-active ecs.service"


@pytest.mark.parametrize("state", ["active", "inactive", "failed", "unknown"])
def test_systemd_restarts_the_unit_and_nothing_else(state: str) -> None:
    run = Recorder({CLOUD: Completed(3, state)})
    assert Systemd(run).restart() is True
    assert run.commands == [
        CLOUD,
        "systemctl --job-mode=ignore-dependencies restart ecs.service",
    ]


def test_systemd_only_queues_while_cloud_init_is_at_work() -> None:
    run = Recorder({CLOUD: Completed(3, "activating")})
    assert Systemd(run).restart() is False
    assert run.commands[1:] == ["systemctl --no-block restart ecs.service"]


def test_systemd_brings_back_a_unit_that_has_failed_too_often() -> None:
    run = Recorder()
    Systemd(run).roll_back()
    assert run.commands == [
        "systemctl reset-failed ecs.service",
        "systemctl --job-mode=ignore-dependencies restart ecs.service",
    ]


@pytest.mark.parametrize(("user", "words"), [(0, "journalctl"), (1000, "sudo")])
def test_what_systemctl_says_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, user: int, words: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    command = "systemctl --job-mode=ignore-dependencies restart ecs.service"
    run = Recorder({command: Completed(4, "Interactive authentication required.")})
    with pytest.raises(AgentError, match=r"failed \(4\): Interactive authentication") as caught:
        Systemd(run).restart()
    assert words in caught.value.hint


@pytest.mark.parametrize(
    ("state", "commands"),
    [
        ("ecs start/running, process 9", ["initctl stop ecs", "initctl start ecs"]),
        ("ecs stop/waiting", ["initctl start ecs"]),
    ],
)
def test_upstart_stops_and_starts(state: str, commands: list[str]) -> None:
    run = Recorder({"initctl status ecs": Completed(0, state)})
    upstart = Upstart(run)
    assert upstart.is_down() is (state == "ecs stop/waiting")
    run.commands.clear()
    assert upstart.restart() is True
    assert run.commands == ["initctl status ecs", *commands]
    run.commands.clear()
    upstart.roll_back()
    assert run.commands == ["initctl status ecs", *commands]


def test_upstart_that_fails_is_an_error() -> None:
    run = Recorder({"initctl start ecs": Completed(1, "start: Rejected send message")})
    with pytest.raises(AgentError, match="Rejected send"):
        Upstart(run).restart()


@pytest.mark.parametrize(
    ("has_systemd", "answers", "is_up", "chosen"),
    [
        (True, {ACTIVE: Completed(0, "active")}, True, "systemd"),
        (True, {ACTIVE: Completed(3, "activating")}, False, "systemd"),
        (True, {ACTIVE: Completed(3, "inactive")}, False, "systemd"),
        # The unit is there and down, and the agent runs: it was not the unit that started it.
        (True, {ACTIVE: Completed(3, "inactive")}, True, "docker"),
        (True, {ACTIVE: Completed(3), "systemctl cat ecs.service": Completed(1)}, False, "docker"),
        (
            False,
            {"initctl status ecs": Completed(0, "ecs start/running, process 9")},
            True,
            "upstart",
        ),
        (
            False,
            {"initctl status ecs": Completed(127, "No such file or directory")},
            True,
            "docker",
        ),
        (False, {"initctl status ecs": Completed(1, "initctl: Unknown job: ecs")}, True, "docker"),
    ],
)
def test_manager_is_chosen_by_looking(
    tmp_path: Path,
    has_systemd: bool,
    answers: dict[str, Completed],
    is_up: bool,
    chosen: str,
) -> None:
    if has_systemd:
        (tmp_path / "run/systemd/system").mkdir(parents=True)
    run = Recorder(answers)
    assert choose(run, is_container_up=is_up, root=tmp_path) == chosen
    assert choose(run, "upstart", is_container_up=is_up, root=tmp_path) == "upstart"


def test_programs_are_run_to_their_end() -> None:
    assert run_program(["sh", "-c", "echo one; echo two; exit 3"]) == Completed(3, "one")
    assert run_program(["sh", "-c", "echo why >&2; exit 4"]) == Completed(4, "why")
    assert run_program(["/nonexistent/program"]) == Completed(127, "No such file or directory")


def agent_seeing(
    monkeypatch: pytest.MonkeyPatch, container: AgentContainer, run: Recorder, **options: Any
) -> HostAgent:
    monkeypatch.setattr(host_module, "inspect_agent", lambda _: container)
    return HostAgent({}, "http://127.0.0.1:1", run, **options)


def test_host_without_docker_and_agent_is_no_risk(monkeypatch: pytest.MonkeyPatch) -> None:
    container = AgentContainer(RestartVerdict(UNKNOWN, "no Docker"), has_docker=False)
    seen = agent_seeing(monkeypatch, container, Recorder()).observe()
    assert (seen.verdict.outcome, seen.answers) == (NOT_RUNNING, False)


@pytest.mark.parametrize(("state", "outcome"), [("inactive", NOT_RUNNING), ("active", UNKNOWN)])
def test_docker_that_is_down_is_no_risk_if_the_service_is_too(
    monkeypatch: pytest.MonkeyPatch, state: str, outcome: str
) -> None:
    container = AgentContainer(RestartVerdict(UNKNOWN, "down"))
    run = Recorder({ACTIVE: Completed(0, state)})
    seen = agent_seeing(monkeypatch, container, run, forced="systemd").observe()
    assert seen.verdict.outcome == outcome


def test_agent_of_ecs_init_is_not_replaced_from_a_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    container = AgentContainer(
        RestartVerdict(SAFE, "fine"), incarnation="1", settings=None, is_from_ecs_init=True
    )
    monkeypatch.setattr(host_module, "choose", lambda *_, **__: "docker")
    agent = agent_seeing(monkeypatch, container, Recorder())
    assert agent.service.name == "docker"
    with pytest.raises(RestartRefusedError, match="ecs-init started the agent"):
        agent.check()


@pytest.mark.parametrize("kind", [Systemd, Upstart])
def test_only_root_restarts_a_service(
    monkeypatch: pytest.MonkeyPatch, kind: type[Systemd] | type[Upstart]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    kind(Recorder()).check()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(RestartRefusedError, match="only root"):
        kind(Recorder()).check()


@pytest.mark.parametrize(
    ("job", "is_started"), [("Job=17", True), ("Job=0", False), ("Job=", False)]
)
def test_unit_whose_start_waits_is_started_at_once(job: str, is_started: bool) -> None:
    show = "systemctl show -p Job ecs.service"
    run = Recorder({show: Completed(0, job)})
    Systemd(run).start_if_blocked()
    start = "systemctl --no-block --job-mode=ignore-dependencies start ecs.service"
    assert run.commands == [show, *([start] if is_started else [])]


def test_environment_changes_in_two_lines_only() -> None:
    lines = ["A=1", "ECS_ENGINE_AUTH_DATA=old", "B", "ECS_ENGINE_AUTH_TYPE=docker", "C=x=y"]
    new = EngineAuth("dockercfg", "{}")
    assert new_environment(lines, new) == [
        *("A=1", "ECS_ENGINE_AUTH_DATA={}", "B", "ECS_ENGINE_AUTH_TYPE=dockercfg", "C=x=y"),
    ]
    assert new_environment(lines, EngineAuth("", "")) == ["A=1", "B", "C=x=y"]
    assert new_environment(["A=1"], new) == [
        *("A=1", "ECS_ENGINE_AUTH_TYPE=dockercfg", "ECS_ENGINE_AUTH_DATA={}"),
    ]


def test_other_networks_are_connected_as_they_were() -> None:
    attributes = {
        "Id": "0123456789abcdef",
        "Config": {"Hostname": "0123456789ab", "Env": []},
        "HostConfig": {"NetworkMode": "front"},
        "NetworkSettings": {
            "Networks": {
                "front": {"Aliases": ["web", "0123456789ab"], "IPAMConfig": None},
                "back": {
                    "Aliases": ["0123456789ab", "db"],
                    "IPAMConfig": {"IPv4Address": "10.0.0.9"},
                    "Links": ["x:y"],
                },
            }
        },
    }
    config = new_config(attributes, EngineAuth("", ""))
    assert config["NetworkingConfig"]["EndpointsConfig"]["front"]["Aliases"] == ["web"]
    assert "Hostname" not in config
    (name,) = other_networks(attributes)
    assert name == "back"
    back = other_networks(attributes)["back"]
    assert (back["aliases"], back["ipv4_address"], back["links"]) == (["db"], "10.0.0.9", ["x:y"])


def test_host_name_that_somebody_chose_is_kept() -> None:
    attributes = {"Id": "0" * 64, "Config": {"Hostname": "agent-1"}, "HostConfig": {}}
    assert new_config(attributes, EngineAuth("", ""))["Hostname"] == "agent-1"


@pytest.mark.parametrize(
    ("files", "is_bottlerocket"),
    [
        ({"etc/os-release": 'NAME=Bottlerocket\nID="bottlerocket"\n'}, True),
        ({"etc/os-release": "ID=bottlerocket\n"}, True),
        ({".bottlerocket/rootfs/x": "", "etc/os-release": "ID=amzn\n"}, True),
        ({"etc/os-release": 'ID="amzn"\nNAME=bottlerocket\n'}, False),
        ({}, False),
    ],
)
def test_bottlerocket_is_told_the_right_way(
    tmp_path: Path, files: dict[str, str], is_bottlerocket: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if not is_bottlerocket:
        check_platform(["/etc/ecs/ecs.config"], tmp_path)
        return
    with pytest.raises(TargetError, match="this is Bottlerocket") as caught:
        check_platform(["/etc/ecs/ecs.config"], tmp_path)
    assert "settings.container-registry.credentials" in caught.value.hint


def test_windows_is_told_the_right_way() -> None:
    program = "import sys; sys.platform = 'win32'; import ecsauth.cli.program"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "convert --output powershell" in done.stderr
    assert "as Administrator" in done.stderr
