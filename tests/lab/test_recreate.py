"""An agent that was run by hand with --env-file: made anew, with everything kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ecsauth.agent.docker_run import ASIDE, NEW
from tests.builders import b64
from tests.conftest import Result
from tests.lab.conftest import IMAGE, Docker
from tests.unit.agent.test_container import agent_api

RunProgram = Callable[..., Result]
ARN = "arn:aws:ecs:us-west-2:123456789012:container-instance/lab/1"
DATA = "--volume=lab-named:/data"
OPTIONS = (
    *(
        "--restart=on-failure:10",
        "--label=team=infra",
        "--label=a=b",
        "--env=HTTP_PROXY=http://p:1",
    ),
    *(DATA, "--volume=/srv:/host:ro", "--volume=/anonymous", "--tmpfs=/scratch:size=1m"),
    *("--cap-add=SYS_ADMIN", "--cap-drop=MKNOD", "--memory=64m", "--cpu-shares=512"),
    *("--ulimit=nofile=100:200", "--user=0:0", "--workdir=/bin", "--log-driver=json-file"),
    *("--log-opt=max-size=1m", "--shm-size=8m", "--stop-signal=SIGTERM", "--read-only"),
    *("--pid=host", "--oom-score-adj=5", "--add-host=a:127.0.0.1", "--dns=127.0.0.1"),
    *("--security-opt=seccomp=unconfined", "--group-add=7", "--health-cmd=true"),
    *("--health-interval=60s", "--device=/dev/null:/dev/x", "--sysctl=net.ipv4.ip_forward=0"),
)


@dataclass
class Agent:
    """A hand-run agent and its file."""

    docker: Docker
    file: Path
    ecsauth: RunProgram
    url: str = ""

    def start(self, *options: str, network: str = "none") -> dict[str, Any]:
        done = self.docker.run(
            *("run", "-d", "--name=ecs-agent", f"--network={network}"),
            *(f"--env-file={self.file}", "--stop-timeout=1", *options, IMAGE, "sleep", "1000"),
        )
        assert done.returncode == 0, done.stderr
        return self.inspect()

    def inspect(self, name: str = "ecs-agent") -> dict[str, Any]:
        status, found = self.docker.api("GET", f"/containers/{name}/json")
        assert status == 200, found
        return dict(found)

    def names(self) -> set[str]:
        _, found = self.docker.api("GET", "/containers/json?all=1")
        return {name.strip("/") for item in found for name in item["Names"]}

    def restart(self, *options: str) -> Result:
        return self.ecsauth(
            *("agent", "restart", self.file, "--service-manager=docker", "--timeout=10"),
            *("--min-restart-interval=0", "--introspection-url", self.url, *options),
        )

    def data(self) -> str | None:
        return self.docker.environment("ecs-agent").get("ECS_ENGINE_AUTH_DATA")


@pytest.fixture
def agent(
    docker: Docker, tmp_path: Path, ecsauth: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Agent]:
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    for name in ("ecs-agent", ASIDE, NEW):
        docker.remove(name)
    file = tmp_path / "agent.env"
    file.write_text("ECS_DATADIR=/data\nECS_CLUSTER=lab\n")
    metadata = json.dumps({"Cluster": "lab", "ContainerInstanceArn": ARN, "Version": "v1"})
    with agent_api(metadata=metadata, tasks='{"Tasks": [{"KnownStatus": "RUNNING"}]}') as url:
        yield Agent(docker, file, ecsauth, url)
    for name in ("ecs-agent", ASIDE, NEW):
        docker.remove(name)


@pytest.fixture
def login(login_file: Callable[..., Path]) -> Path:
    return login_file({"q.io": {"auth": b64("u:p")}})


def differences(before: Any, after: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Path → both values, wherever two JSON documents differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = {}
        for name in before.keys() | after.keys():
            found.update(differences(before.get(name), after.get(name), f"{path}.{name}"))
        return found
    return {} if before == after else {path.lstrip("."): (before, after)}


MADE_BY_DOCKER = {
    *("Id", "Created", "LogPath", "ResolvConfPath", "HostnamePath", "HostsPath"),
    *(
        "Config.Hostname",
        "Config.Env",
        "State.StartedAt",
        "State.Pid",
        "GraphDriver.Data.MergedDir",
    ),
    *(f"GraphDriver.Data.{name}Dir" for name in ("Lower", "Upper", "Work")),
    *("NetworkSettings.SandboxID", "NetworkSettings.SandboxKey", "HostConfig.Binds"),
    *("NetworkSettings.Networks.none.EndpointID", "State.Health.Log", "State.Health.Status"),
    *("NetworkSettings.Networks.host.EndpointID", "Mounts"),
}


@pytest.mark.parametrize("network", ["none", "host"])
def test_everything_is_kept_but_the_two_settings(
    agent: Agent, ecsauth: RunProgram, login: Path, network: str
) -> None:
    options = [item for item in OPTIONS if network != "host" or "sysctl" not in item]
    before = agent.start(*options, network=network)
    migrated = ecsauth("migrate", login, "--to", agent.file)
    assert migrated.code == 0
    done = agent.restart()
    assert done.code == 0, done.err
    assert "runs with this, the same instance" in done.out
    after = agent.inspect()
    assert after["Id"] != before["Id"]
    found = differences(before, after)
    assert set(found) <= MADE_BY_DOCKER, found
    assert [line for line in after["Config"]["Env"] if not line.startswith("ECS_ENGINE_AUTH")] == (
        before["Config"]["Env"]
    )
    assert agent.data() == '{"q.io":{"auth":"dTpw"}}'
    # Mounts are the same, also that of the volume without a name, which is a bind by name now.
    order = lambda item: str(item["Destination"])  # noqa: E731
    for old, new in zip(sorted(before["Mounts"], key=order), sorted(after["Mounts"], key=order)):
        assert {**old, "Mode": ""} == {**new, "Mode": ""}
    assert set(before["HostConfig"]["Binds"]) <= set(after["HostConfig"]["Binds"])
    assert agent.names() & {ASIDE, NEW} == set()


def test_second_time_keeps_everything_too(agent: Agent, ecsauth: RunProgram, login: Path) -> None:
    agent.start(*OPTIONS)
    ecsauth("migrate", login, "--to", agent.file)
    assert agent.restart().code == 0
    before = agent.inspect()
    assert agent.restart("--restart=always").code == 0
    found = differences(before, agent.inspect())
    assert set(found) <= MADE_BY_DOCKER - {"Config.Env", "HostConfig.Binds"}, found


def test_image_that_was_pulled_anew_does_not_change_the_agent(
    agent: Agent, ecsauth: RunProgram, login: Path
) -> None:
    agent.docker.run("tag", IMAGE, "lab/agent")
    done = agent.docker.run(
        *("run", "-d", "--name=ecs-agent", "--network=none", f"--env-file={agent.file}"),
        "--stop-timeout=1",
        *("-v", "lab-named:/data", "lab/agent", "sleep", "1000"),
    )
    assert done.returncode == 0, done.stderr
    before = agent.inspect()
    _, made = agent.docker.api("POST", "/commit?container=ecs-agent&repo=lab/agent", {})
    assert made["Id"] != before["Image"]
    ecsauth("migrate", login, "--to", agent.file)
    assert agent.restart().code == 0
    assert agent.inspect()["Image"] == before["Image"]


def test_migrate_does_it_in_one_go(agent: Agent, ecsauth: RunProgram, login: Path) -> None:
    agent.start(DATA)
    done = ecsauth(
        *("migrate", login, "--to", agent.file, "--restart=always", "--service-manager=docker"),
        *("--introspection-url", agent.url, "--timeout=10"),
    )
    assert done.code == 0, done.err
    assert agent.data() == '{"q.io":{"auth":"dTpw"}}'
    assert "next:" not in done.err


def test_agent_that_ends_at_once_is_brought_back(
    agent: Agent, ecsauth: RunProgram, login: Path
) -> None:
    done = agent.docker.run(
        *("run", "-d", "--name=ecs-agent", "--network=none", f"--env-file={agent.file}"),
        "--stop-timeout=1",
        *(DATA, "--restart=always", "--entrypoint=/bin/sh", IMAGE, "-c"),
        '[ -z "$ECS_ENGINE_AUTH_DATA" ] && exec sleep 1000; exit 1',
    )
    assert done.returncode == 0, done.stderr
    before = agent.inspect()
    text = agent.file.read_text()
    result = ecsauth(
        *("migrate", login, "--to", agent.file, "--restart=always", "--service-manager=docker"),
        *("--introspection-url", agent.url, "--timeout=3"),
    )
    assert result.code == 6, result
    assert "the file before is restored, and the agent runs again" in result.err
    assert agent.file.read_text() == text
    after = agent.inspect()
    assert after["Id"] == before["Id"]
    assert after["State"]["Running"]
    assert after["HostConfig"] == before["HostConfig"]
    assert agent.names() & {ASIDE, NEW} == set()


@pytest.mark.parametrize("options", [["--rm"], ["--env=X=1", "--env=ECS_AGENT_LABELS="]])
def test_agent_that_cannot_be_replaced_from_here_runs_on(
    agent: Agent,
    ecsauth: RunProgram,
    login: Path,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = agent.start(DATA, *options)
    ecsauth("migrate", login, "--to", agent.file)
    manager = "--service-manager=docker" if "--rm" in options else "--quiet"
    done = ecsauth("agent", "restart", agent.file, manager, "--introspection-url", agent.url)
    assert done.code == 5
    assert ("--rm" if "--rm" in options else "ecs-init started the agent") in done.err
    assert agent.inspect()["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert agent.names() & {ASIDE, NEW} == set()


def test_what_docker_refuses_is_refused_before_the_agent_is_stopped(
    agent: Agent, ecsauth: RunProgram, login: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    before = agent.start(DATA, f"--mount=type=bind,source={folder},target=/x")
    folder.rmdir()
    ecsauth("migrate", login, "--to", agent.file)
    done = agent.restart()
    assert done.code == 5, done
    assert "the agent was not restarted and runs as before: " in done.err
    assert "bind source path does not exist" in done.err
    assert agent.inspect()["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert agent.names() & {ASIDE, NEW} == set()


@pytest.mark.parametrize("moment", ["created", "stopped", "aside", "renamed", "started"])
def test_restart_that_was_cut_off_is_mended(
    agent: Agent, ecsauth: RunProgram, login: Path, moment: str
) -> None:
    before = agent.start(DATA, "--restart=always")
    ecsauth("migrate", login, "--to", agent.file)
    docker = agent.docker
    made = docker.run(
        *("create", f"--name={NEW}", "--network=none", f"--env-file={agent.file}"),
        *(DATA, "--restart=always", IMAGE, "sleep", "1000"),
    )
    assert made.returncode == 0, made.stderr
    steps = {
        "created": [],
        "stopped": [["stop", "-t1", "ecs-agent"], ["update", "--restart=no", "ecs-agent"]],
        "aside": [["rename", "ecs-agent", ASIDE]],
        "renamed": [["rename", NEW, "ecs-agent"]],
        "started": [["start", "ecs-agent"]],
    }
    for name, commands in steps.items():
        for command in commands:
            assert docker.run(*command).returncode == 0
        if name == moment:
            break
    done = agent.restart()
    assert done.code == 0, done.err
    assert ("interrupted restart" in done.err) is (moment != "started")
    assert agent.names() & {ASIDE, NEW} == set()
    after = agent.inspect()
    assert after["State"]["Running"]
    assert after["HostConfig"]["RestartPolicy"] == before["HostConfig"]["RestartPolicy"]
    assert agent.data() == '{"q.io":{"auth":"dTpw"}}'


def test_json_file_needs_only_a_restart_of_the_same_container(
    agent: Agent, ecsauth: RunProgram, login: Path, tmp_path: Path
) -> None:
    before = agent.start(DATA, f"--volume={tmp_path}:/etc/ecs")
    target = tmp_path / "ecs.config.json"
    done = ecsauth(
        *("migrate", login, "--to", target, "--restart=always", "--service-manager=docker"),
        *("--introspection-url", agent.url, "--timeout=10"),
    )
    assert done.code == 0, done.err
    after = agent.inspect()
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] > before["State"]["StartedAt"]
    assert agent.data() is None


def test_secret_does_not_show_up(
    agent: Agent, ecsauth: RunProgram, login_file: Callable[..., Path]
) -> None:
    secret = "c4n4ry-of-docker"
    agent.start(DATA)
    login = login_file({"q.io": {"auth": b64(f"u:{secret}")}})
    said = ""
    for log_format in ("text", "json"):
        ecsauth("migrate", login, "--to", agent.file, "--replace")
        done = agent.restart("--restart=always", f"--log-format={log_format}", "--json")
        assert done.code == 0
        said += done.out + done.err
    shown = ecsauth("agent", "status", agent.file, "--introspection-url", agent.url)
    shown_json = ecsauth("agent", "status", agent.file, "--json")
    said += shown.out + shown.err + shown_json.out
    for form in (secret, b64(f"u:{secret}")[:-4], b64(f"u:{secret}")[4:-4]):
        assert form not in said
    assert b64(f"u:{secret}") in (agent.data() or "")
