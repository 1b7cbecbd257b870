"""The agent: whether a restart keeps its tasks, and what it says of itself."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ecsauth.agent.container import inspect_agent, read_attributes
from ecsauth.agent.datadir import NOT_RUNNING, SAFE, UNKNOWN, UNSAFE, judge
from ecsauth.agent.introspection import TaskCounts, count_tasks, read_metadata, read_tasks
from ecsauth.errors import EcsauthError

BIND: dict[str, Any] = {"Type": "bind", "Source": "/var/lib/ecs/data", "Destination": "/data"}


@pytest.mark.parametrize(
    ("environment", "mounts", "outcome", "words"),
    [
        ({"ECS_DATADIR": "/data"}, [BIND], SAFE, "bind"),
        ({"ECS_DATADIR": "/data/"}, [BIND], SAFE, "bind"),
        ({"ECS_DATADIR": "/data/ecs"}, [BIND], SAFE, "bind"),
        ({"ECS_DATADIR": "/data"}, [{"Type": "volume", "Destination": "/data"}], SAFE, "volume"),
        ({"ECS_DATADIR": "/data", "ECS_CHECKPOINT": "true"}, [BIND], SAFE, "bind"),
        ({}, [BIND], UNSAFE, "not set"),
        ({"ECS_DATADIR": ""}, [BIND], UNSAFE, "not set"),
        ({"ECS_DATADIR": "/data", "ECS_CHECKPOINT": "false"}, [BIND], UNSAFE, "CHECKPOINT"),
        ({"ECS_DATADIR": "/data", "ECS_CHECKPOINT": " False "}, [BIND], UNSAFE, "CHECKPOINT"),
        ({"ECS_DATADIR": "/data"}, [{**BIND, "RW": False}], UNSAFE, "read-only"),
        ({"ECS_DATADIR": "/data"}, [{**BIND, "RW": True}], SAFE, "bind"),
        ({"ECS_DATADIR": "/data"}, [], UNSAFE, "nothing is mounted"),
        ({"ECS_DATADIR": "/database"}, [BIND], UNSAFE, "nothing is mounted"),
        ({"ECS_DATADIR": "/data"}, [{"Destination": "/log"}], UNSAFE, "nothing is mounted"),
        ({"ECS_DATADIR": "/data"}, [{"Type": "tmpfs", "Destination": "/data"}], UNSAFE, "memory"),
        (
            {"ECS_DATADIR": "/data/x"},
            [BIND, {"Type": "tmpfs", "Destination": "/data/x"}],
            UNSAFE,
            "memory",
        ),
    ],
)
def test_verdict(
    environment: dict[str, str], mounts: list[dict[str, Any]], outcome: str, words: str
) -> None:
    verdict = judge(environment, mounts)
    assert verdict.outcome == outcome
    assert words in verdict.reason


def test_attributes_of_a_running_agent() -> None:
    found = read_attributes(
        {
            "State": {"Running": True, "StartedAt": "2026-11-21T08:00:00.123456789Z"},
            "Config": {"Env": ["ECS_DATADIR=/data", 'ECS_ENGINE_AUTH_DATA={"a":1}', "X"]},
            "Mounts": [BIND],
        }
    )
    assert found.verdict.outcome == SAFE
    assert found.started_at == pytest.approx(1795248000.1234567)
    assert found.incarnation.endswith("2026-11-21T08:00:00.123456789Z")
    assert found.settings is not None
    assert found.settings.auth_data == '{"a":1}'


@pytest.mark.parametrize(
    "attributes", [{}, {"State": None}, {"State": {"Running": False, "Status": "exited"}}]
)
def test_stopped_agent(attributes: dict[str, Any]) -> None:
    found = read_attributes(attributes)
    assert (found.verdict.outcome, found.settings, found.started_at) == (NOT_RUNNING, None, None)


def test_exit_that_systemd_does_not_answer_is_explained() -> None:
    state = {"Running": False, "Status": "exited", "ExitCode": 5}
    assert "cloud-init has not run user data" in read_attributes({"State": state}).verdict.reason
    other = read_attributes({"State": {**state, "ExitCode": 1}}).verdict.reason
    assert other == "the container ecs-agent is exited"


def test_without_docker_the_verdict_is_unknown() -> None:
    found = inspect_agent({"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    assert (found.verdict.outcome, found.settings) == (UNKNOWN, None)


@pytest.mark.parametrize(
    ("document", "running", "starting"),
    [
        ({"Tasks": None}, 0, 0),
        ({}, 0, 0),
        ({"Tasks": []}, 0, 0),
        ({"Tasks": [{"KnownStatus": "RUNNING"}, {"KnownStatus": "STOPPED"}, {}, None]}, 3, 1),
        ({"Tasks": [{"KnownStatus": "PENDING", "DesiredStatus": "STOPPED"}]}, 1, 0),
        ({"Tasks": [{"KnownStatus": "PENDING", "DesiredStatus": "RUNNING"}]}, 1, 1),
        ({"Tasks": [{"KnownStatus": "RUNNING", "Containers": [{"KnownStatus": ""}]}]}, 1, 1),
        ({"Tasks": [{"KnownStatus": "RUNNING", "Containers": [{"KnownStatus": "RUNNING"}]}]}, 1, 0),
        ({"Tasks": [{"KnownStatus": "STOPPED", "Containers": [{"KnownStatus": ""}]}]}, 0, 0),
    ],
)
def test_tasks_that_are_not_stopped_run(
    document: dict[str, Any], running: int, starting: int
) -> None:
    assert count_tasks(document) == TaskCounts(running, starting)


def test_tasks_that_are_no_list_are_no_count() -> None:
    with pytest.raises(EcsauthError, match="not a list"):
        count_tasks({"Tasks": "x"})


@contextlib.contextmanager
def agent_api(**answers: str) -> Iterator[str]:
    """Serve the introspection API on loopback; each keyword is a path under /v1/."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            body = answers.get(self.path.removeprefix("/v1/"), "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_introspection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    metadata = {"Cluster": "prod", "ContainerInstanceArn": "arn:x", "Version": "v1"}
    with agent_api(metadata=json.dumps(metadata), tasks='{"Tasks": null}') as url:
        found = read_metadata(f"{url}/")
        assert (found.cluster, found.arn, found.version) == ("prod", "arn:x", "v1")
        assert read_tasks(url) == TaskCounts(0, 0)


def test_agent_that_has_not_registered() -> None:
    with agent_api(metadata='{"Cluster": null, "ContainerInstanceArn": null}') as url:
        found = read_metadata(url)
    assert (found.cluster, found.arn, found.version) == ("", None, "")


@pytest.mark.parametrize("answer", ["", "[]", "hello", "{"])
def test_what_is_no_agent_is_said(answer: str) -> None:
    with agent_api(metadata=answer) as url, pytest.raises(EcsauthError, match="not the ECS agent"):
        read_metadata(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[::1"])
def test_agent_that_does_not_answer(url: str) -> None:
    with pytest.raises(EcsauthError, match=r"does not answer|not an HTTP address"):
        read_metadata(url)
