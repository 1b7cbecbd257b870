"""status and its verdict on a real container named ecs-agent."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import b64
from tests.conftest import Result
from tests.lab.conftest import IMAGE, Certificates, Docker
from tests.unit.agent.test_container import agent_api

RunProgram = Callable[..., Result]


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


def status(ecsauth: RunProgram, target: Path) -> dict[str, Any]:
    metadata = {"Cluster": "lab", "ContainerInstanceArn": "arn:lab", "Version": "v1"}
    tasks = {"Tasks": [{"KnownStatus": "RUNNING"}, {"KnownStatus": "STOPPED"}]}
    with agent_api(metadata=json.dumps(metadata), tasks=json.dumps(tasks)) as url:
        result = ecsauth("status", target, "--json", "--introspection-url", url)
    assert result.code == 0, result
    found: dict[str, Any] = json.loads(result.out)["agent"]
    assert (found["cluster"], found["running_tasks"]) == ("lab", 1)
    return found


def test_pending_until_the_container_is_made_anew(
    ecsauth: RunProgram, agent: Callable[..., None], login_file: Callable[..., Path], tmp_path: Path
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
    ecsauth: RunProgram,
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
    ecsauth: RunProgram, docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    docker.remove("ecs-agent")
    target = tmp_path / "ecs.config"
    target.write_text("")
    found = status(ecsauth, target)
    assert (found["restart"], found["pending"]) == ("not running", None)


@contextlib.contextmanager
def tls_in_front_of(docker: Docker, certificates: Certificates) -> Iterator[str]:
    """Offer dockerd over TCP to those who have a certificate; give its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as daemon:
                client = context.wrap_socket(self.request, server_side=True)
                daemon.connect(docker.host[len("unix://") :])
                thread = threading.Thread(target=self._copy, args=(daemon, client), daemon=True)
                thread.start()
                self._copy(client, daemon)
                thread.join(5)
                client.close()

        @staticmethod
        def _copy(source: socket.socket, target: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_docker_is_reached_with_the_certificate_of_the_environment(
    ecsauth: RunProgram,
    docker: Docker,
    agent: Callable[..., None],
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "ecs.config"
    target.write_text("ECS_DATADIR=/data\n")
    agent(target, "--volume=lab-data:/data")
    folder = tmp_path / "docker"
    folder.mkdir()
    for name, path in (
        ("ca.pem", certificates.ca),
        ("cert.pem", certificates.certificate),
        ("key.pem", certificates.key),
    ):
        (folder / name).write_bytes(path.read_bytes())
    with tls_in_front_of(docker, certificates) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        assert status(ecsauth, target)["restart"] == "unknown"
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(folder))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.key))  # none of Docker's business
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        assert status(ecsauth, target)["restart"] == "safe"
