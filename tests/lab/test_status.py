"""status and its verdict on a real container named ecs-agent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result, b64
from tests.lab.conftest import IMAGE, Docker
from tests.unit.test_agent import agent_api

Run = Callable[..., Result]


@pytest.fixture
def agent(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Start a container as ecs-init would start the agent, with an env file and mounts."""
    monkeypatch.setenv("DOCKER_HOST", docker.host)

    def run(env_file: Path, *options: str) -> None:
        docker.remove("ecs-agent")
        done = docker.run(
            "run",
            "-d",
            "--name=ecs-agent",
            "--network=none",
            f"--env-file={env_file}",
            *options,
            IMAGE,
            "sleep",
            "600",
        )
        assert done.returncode == 0, done.stderr

    yield run
    docker.remove("ecs-agent")


def status(ecsauth: Run, target: Path) -> dict[str, Any]:
    metadata = {"Cluster": "lab", "ContainerInstanceArn": "arn:lab", "Version": "v1"}
    tasks = {"Tasks": [{"KnownStatus": "RUNNING"}, {"KnownStatus": "STOPPED"}]}
    with agent_api(metadata=json.dumps(metadata), tasks=json.dumps(tasks)) as url:
        result = ecsauth("status", target, "--json", "--introspection-url", url)
    assert result.code == 0, result
    found: dict[str, Any] = json.loads(result.out)["agent"]
    assert (found["cluster"], found["running_tasks"]) == ("lab", 1)
    return found


def test_pending_until_the_container_is_made_anew(
    ecsauth: Run, agent: Callable[..., None], login_file: Callable[..., Path], tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    target.write_text("ECS_DATADIR=/data\n")
    data = f"--volume={tmp_path}/data:/data"
    agent(target, data)
    before = status(ecsauth, target)
    assert (before["restart"], before["pending"]) == ("safe", False)
    ecsauth("migrate", login_file({"q.io": {"auth": b64("u:p")}}), "--to", target)
    assert status(ecsauth, target)["pending"] is True
    agent(target, data)
    after = status(ecsauth, target)
    assert after["pending"] is False
    assert after["started_at"] >= before["started_at"] > 1_600_000_000


@pytest.mark.parametrize(
    ("text", "options", "outcome"),
    [
        ("ECS_DATADIR=/data\n", ["--volume=lab-data:/data"], "safe"),
        ("ECS_DATADIR=/data\n", ["--tmpfs=/data"], "unsafe"),
        ("ECS_DATADIR=/data\n", [], "unsafe"),
        ("ECS_DATADIR=\n", ["--volume=lab-data:/data"], "unsafe"),
        ("A=1\n", ["--volume=lab-data:/data"], "unsafe"),
        ("ECS_DATADIR=/data\nECS_CHECKPOINT=false\n", ["--volume=lab-data:/data"], "unsafe"),
    ],
)
def test_verdict_of_a_restart(
    ecsauth: Run,
    agent: Callable[..., None],
    tmp_path: Path,
    text: str,
    options: list[str],
    outcome: str,
) -> None:
    target = tmp_path / "ecs.config"
    target.write_text(text)
    agent(target, *options)
    assert status(ecsauth, target)["restart"] == outcome


def test_no_container_is_no_risk(
    ecsauth: Run, docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    docker.remove("ecs-agent")
    target = tmp_path / "ecs.config"
    target.write_text("")
    found = status(ecsauth, target)
    assert (found["restart"], found["pending"]) == ("not running", None)
