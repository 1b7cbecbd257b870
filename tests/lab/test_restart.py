"""A host with systemd, an ecs.service and Docker: units, fresh tokens, restarts and their proof."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ecsauth.engine_auth.codec import EngineAuth, decode
from ecsauth.engine_auth.env_file import read_engine_auth
from ecsauth.installation.units import UNITS
from tests.builders import HOST
from tests.lab.box import PROJECT, Box, booted_box
from tests.lab.conftest import Docker

ECSAUTH = "/opt/ecsauth/bin/ecsauth"
CONFIG = "/etc/ecs/ecs.config"
PYTHON = f"PYTHONPATH={PROJECT} /opt/packages/bin/python"

ECS_SERVICE = f"""\
[Unit]
After=cloud-final.service
[Service]
Type=simple
Restart=on-failure
RestartPreventExitStatus=5
RestartSec=1s
EnvironmentFile=-{CONFIG}
ExecStart=/usr/bin/env {PYTHON} -m tests.lab.ecs_init
[Install]
WantedBy=multi-user.target
"""
AWS_SERVICE = f"""\
[Service]
ExecStart=/usr/bin/env {PYTHON} -m tests.lab.box_aws
"""
FAST_TIMER = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\n"
SETTINGS = f"""\
ECSAUTH_SOURCES=ecr:{HOST}
ECSAUTH_TIMEOUT=15
AWS_ENDPOINT_URL=@
AWS_ACCESS_KEY_ID=BASE
AWS_SECRET_ACCESS_KEY=s
AWS_REGION=us-west-2
AWS_EC2_METADATA_DISABLED=true
"""


@dataclass
class Host:
    """The machine and its Docker."""

    box: Box
    docker: Docker

    def ecsauth(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.box.run(ECSAUTH, *arguments, check=False)

    def logins(self) -> dict[str, str]:
        """Registry → secret in the file."""
        settings = read_engine_auth(self.box.shell(f"cat {CONFIG}").encode())
        return {item.match: item.secret for item in decode(settings).credentials}

    def agent_logins(self) -> dict[str, str]:
        """Registry → secret in the environment of the agent's container."""
        status, found = self.docker.api("GET", "/containers/ecs-agent/json")
        if status != 200 or not found["State"]["Running"]:
            return {"agent": "is down"}
        variables = dict(item.partition("=")[::2] for item in found["Config"]["Env"])
        settings = EngineAuth(
            variables.get("ECS_ENGINE_AUTH_TYPE", ""), variables.get("ECS_ENGINE_AUTH_DATA", "")
        )
        return {item.match: item.secret for item in decode(settings).credentials}

    def agent_id(self) -> str:
        _, found = self.docker.api("GET", "/containers/ecs-agent/json")
        return str(found.get("Id"))

    def status(self) -> dict[str, Any]:
        done = self.ecsauth("agent", "status", "--json")
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def wait(self, ready: Callable[[], bool], seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, self.box.journal("ecsauth-refresh.service")
            time.sleep(0.1)

    def set(self, **files: object) -> None:
        for name, text in files.items():
            self.box.write(f"/srv/{name}", str(text))

    def start_agent(self, config: str = "ECS_CLUSTER=lab\n") -> None:
        self.box.write(CONFIG, config, 0o600)
        self.box.run("systemctl", "restart", "ecs")
        self.wait(lambda: self.status()["answers"] and self.status()["arn"] is not None)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it would be released."""
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", directory, PROJECT], check=True)
    (found,) = directory.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def booted(docker: Docker, wheel: Path) -> Iterator[Host]:
    """A machine with the package in /opt, the agent's service, and ECR on loopback."""
    socket = docker.host[len("unix://") :]
    binds = [f"{socket}:/run/docker.sock", f"{sys.prefix}:/opt/packages", str(wheel.parent)]
    with booted_box(binds) as box:
        site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        box.shell(
            f"/opt/packages/bin/python -m venv /opt/ecsauth &&"
            f" echo /opt/packages/{site} > /opt/ecsauth/{site}/others.pth &&"
            f" /opt/ecsauth/bin/pip install -q --no-index --no-deps {wheel}"
        )
        box.write("/etc/systemd/system/ecs.service", ECS_SERVICE)
        box.write("/etc/systemd/system/stub-aws.service", AWS_SERVICE)
        box.shell("mkdir -p /etc/ecs; systemctl daemon-reload; systemctl start stub-aws")
        yield Host(box, docker)
        docker.remove("ecs-agent")


@pytest.fixture
def host(booted: Host) -> Iterator[Host]:
    """The same, with nothing left of the test before."""
    booted.set(password="first", life=43200, tasks=2)
    booted.box.shell("rm -rf /var/lib/ecsauth /var/lib/ecs/data /etc/ecs/*; : > /srv/aws-calls")
    url = ""
    for _ in range(100):
        url = booted.box.shell("cat /srv/aws-url", check=False).strip()
        if url:
            break
        time.sleep(0.1)
    booted.box.write("/etc/ecsauth/ecsauth.env", SETTINGS.replace("@", url), 0o600)
    yield booted
    booted.box.shell(
        f"{ECSAUTH} install units --uninstall; systemctl stop ecs; systemctl reset-failed;"
        " rm -rf /etc/systemd/system/ecsauth-*; systemctl daemon-reload",
        check=False,
    )


def test_timer_fetches_writes_restarts_and_proves(host: Host) -> None:
    host.start_agent()
    before = host.status()
    assert (before["restart"], before["service_manager"]) == ("safe", "systemd")
    host.box.write("/etc/systemd/system/ecsauth-refresh.timer.d/fast.conf", FAST_TIMER)
    host.set(life=43200)
    installed = host.ecsauth("install", "units")
    assert installed.returncode == 0, installed.stderr
    host.wait(lambda: host.agent_logins() == {HOST: "first"})
    host.wait(lambda: "runs with this, the same" in host.box.journal("ecsauth-refresh.service"))
    after = host.status()
    assert after["arn"] == before["arn"]
    assert (after["pending"], after["failures"]) == (False, 0)
    agent = host.agent_id()
    time.sleep(5)  # the timer fires, nothing is due: no call, no restart
    assert host.box.shell("cat /srv/aws-calls").splitlines() == ["us-west-2"]
    assert host.agent_id() == agent
    assert host.box.journal("ecsauth-refresh.service").count("nothing is due") >= 2
    journal = host.box.journal("ecsauth-refresh.service")
    assert "first" not in journal
    assert base64.b64encode(b"AWS:first").decode()[:-4] not in journal


def test_tasks_are_not_touched_without_a_data_directory(host: Host) -> None:
    host.start_agent("ECS_CLUSTER=lab\nECS_DATADIR=\n")
    agent = host.agent_id()
    done = host.ecsauth("refresh")
    assert done.returncode == 5, done.stderr
    words = "not restarting the agent, which could lose 2 running tasks: ECS_DATADIR is not set"
    assert words in done.stderr
    assert "--drain" in done.stderr
    assert host.logins() == {HOST: "first"}
    assert (host.agent_id(), host.agent_logins()) == (agent, {})
    assert host.status()["pending"] is True
    assert host.ecsauth("agent", "status").returncode == 5
    assert "RESTART PENDING" in host.ecsauth("status").stdout
    again = host.ecsauth("refresh")  # nothing is due, and the restart is tried again
    assert again.returncode == 5
    assert host.agent_id() == agent
    host.set(tasks=0)
    done = host.ecsauth("refresh")
    assert host.agent_logins() == {HOST: "first"}
    assert done.returncode == 0  # without a data directory it registers anew, and loses nothing
    assert "as expected, the agent has registered as a new container instance" in done.stdout


def test_agent_that_does_not_come_back_gets_the_file_before(host: Host) -> None:
    host.start_agent("ECS_CLUSTER=lab\nECS_LOGLEVEL=debug\n")
    text = host.box.shell(f"cat {CONFIG}")
    arn = host.status()["arn"]
    auth = base64.b64encode(b"u:p").decode()
    login = json.dumps({"auths": {"poison.example.com": {"auth": auth}}})
    host.box.write("/root/login.json", login, 0o600)
    done = host.ecsauth("migrate", "/root/login.json", "--restart=auto", "--timeout=5")
    assert done.returncode == 6, done.stderr
    assert "did not come back with the new settings" in done.stderr
    assert "the file before is restored, and the agent runs again" in done.stderr
    assert host.box.shell(f"cat {CONFIG}") == text
    assert host.agent_logins() == {}
    after = host.status()
    assert (after["arn"], after["failures"]) == (arn, 1)
    # The next one waits, twice as long as usual.
    done = host.ecsauth("migrate", "/root/login.json", "--restart=auto")
    assert done.returncode == 0
    seconds = re.search(r"allowed in (\d+) s", done.stderr)
    assert seconds
    assert 300 < int(seconds[1]) <= 600
    assert "poison.example.com" in host.logins()


def test_run_that_is_killed_before_the_proof_is_finished_by_the_next(host: Host) -> None:
    host.start_agent()
    text = host.box.shell(f"cat {CONFIG}")
    host.box.write("/root/login.json", '{"auths":{"poison.example.com":{"auth":"dTpw"}}}', 0o600)
    host.box.shell(
        f"{ECSAUTH} migrate /root/login.json --restart=auto >/dev/null 2>&1 & echo $! > /srv/pid"
    )
    host.wait(lambda: host.agent_logins() == {"agent": "is down"})
    host.box.shell("kill -9 $(cat /srv/pid)")
    assert "poison" in host.box.shell(f"cat {CONFIG}")
    done = host.ecsauth("agent", "restart", "--timeout=3")
    assert done.returncode == 6
    assert "the last restart of the agent is not proved yet" in done.stderr
    assert "the file before is restored, and the agent runs again" in done.stderr
    assert host.box.shell(f"cat {CONFIG}") == text
    assert host.agent_logins() == {}


def test_new_file_of_a_first_run_is_removed_again(host: Host) -> None:
    host.start_agent()
    host.box.write("/root/login.json", '{"auths":{"poison.example.com":{"auth":"dTpw"}}}', 0o600)
    other = "/etc/ecs/other.config"
    done = host.ecsauth("migrate", "/root/login.json", "--to", other, "--restart=always")
    assert done.returncode == 6
    assert host.box.run("test", "-e", other, check=False).returncode == 1


def test_new_instance_is_said(host: Host) -> None:
    host.start_agent()
    arn = host.status()["arn"]
    host.box.shell("rm /var/lib/ecs/data/arn")
    done = host.ecsauth("refresh")
    assert done.returncode == 6
    assert f"tasks of {arn}, if it had any, are orphaned" in done.stderr
    assert host.agent_logins() == {HOST: "first"}


def test_docker_that_is_down_leaves_the_restart_pending(host: Host) -> None:
    host.start_agent()
    host.box.shell(  # the socket of a daemon that has gone: nobody listens
        f"{ECSAUTH[:-7]}python -c 'import socket; socket.socket(1).bind(\"/run/dead.sock\")' &&"
        " mount --bind /run/dead.sock /run/docker.sock"
    )
    done = host.ecsauth("refresh")
    assert done.returncode == 5
    assert "Docker does not answer" in done.stderr
    assert host.logins() == {HOST: "first"}
    assert "RESTART PENDING" in host.ecsauth("status").stdout  # as remembered
    host.box.shell("umount /run/docker.sock")
    assert host.ecsauth("refresh").returncode == 0
    assert host.agent_logins() == {HOST: "first"}


def test_service_starts_with_fresh_credentials(host: Host) -> None:
    """ecs.service pulls the refresh in before it, and so the first start has the credentials."""
    host.box.write(CONFIG, "ECS_CLUSTER=lab\n", 0o600)
    assert host.ecsauth("install", "units").returncode == 0
    host.box.shell("systemctl stop ecsauth-refresh.timer; systemctl start ecs")
    host.wait(lambda: host.agent_logins() == {HOST: "first"})
    assert host.status()["last_restart"] is None


def test_restart_waits_for_cloud_init_without_a_deadlock(host: Host) -> None:
    host.start_agent()
    host.box.write(
        "/etc/systemd/system/cloud-final.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sleep 12\n",
    )
    try:
        host.box.shell("systemctl daemon-reload; systemctl --no-block start cloud-final")
        begun = time.monotonic()
        done = host.ecsauth("refresh")
        assert time.monotonic() - begun < 10
        assert done.returncode == 0, done.stderr
        assert "the restart of the agent is queued" in done.stderr
        host.wait(lambda: host.agent_logins() == {HOST: "first"})
        assert host.ecsauth("refresh").returncode == 0
        assert host.status()["pending"] is False
    finally:
        host.box.shell("rm /etc/systemd/system/cloud-final.service; systemctl daemon-reload")


def test_restart_by_hand(host: Host) -> None:
    host.start_agent()
    host.box.write("/root/login.json", '{"auths":{"q.io":{"auth":"dTpw"}}}', 0o600)
    done = host.ecsauth("migrate", "/root/login.json")
    assert done.returncode == 0
    assert "sudo ecsauth agent restart" in done.stderr
    assert host.agent_logins() == {}
    done = host.ecsauth("agent", "restart")
    assert (done.returncode, host.agent_logins()) == (0, {"q.io": "p"})
    assert "the agent was restarted and runs with this, the same instance" in done.stdout
    agent = host.agent_id()
    done = host.ecsauth("agent", "restart")
    assert "the agent runs with the settings in /etc/ecs/ecs.config" in done.stdout
    assert host.agent_id() == agent
    done = host.ecsauth("agent", "restart", "--restart=always")
    assert "allowed in" in done.stderr
    done = host.ecsauth("agent", "restart", "--restart=always", "--min-restart-interval=0")
    assert done.returncode == 0, done.stderr
    assert host.agent_id() != agent


def test_run_service_takes_the_place_of_the_timer(host: Host) -> None:
    host.start_agent()
    assert host.ecsauth("install", "units").returncode == 0
    host.box.shell("systemctl disable --now ecsauth-refresh.timer")
    host.box.shell("systemctl enable --now ecsauth-run.service")
    assert host.box.shell("systemctl is-active ecsauth-run").strip() == "active"
    assert host.agent_logins() == {HOST: "first"}  # ready means: the first refresh is over
    again = host.ecsauth("install", "units")
    assert "ecsauth-run.service is enabled" in again.stderr
    assert host.box.run("systemctl", "is-active", "ecsauth-refresh.timer", check=False).returncode
    host.box.shell("systemctl stop ecsauth-run")
    assert "no file is half-written" in host.box.journal("ecsauth-run")


def test_hardened_service_keeps_the_helpers_cache_warm(host: Host) -> None:
    settings = host.box.shell("cat /etc/ecsauth/ecsauth.env")
    host.box.write("/etc/ecsauth/ecsauth.env", f"{settings}ECSAUTH_TARGETS=helper:\n", 0o600)
    host.box.shell("rm -rf /root/.ecr")
    assert host.ecsauth("install", "units").returncode == 0
    shown = host.box.shell("systemctl cat ecsauth-refresh.service")
    assert "\nReadWritePaths=-/root/.ecr " in shown
    host.box.shell("systemctl start ecsauth-refresh.service")
    assert f"helper: a new token for {HOST}" in host.box.journal("ecsauth-refresh")
    assert host.box.shell("cat /srv/aws-calls").split() == ["us-west-2"]
    helper = "/opt/ecsauth/bin/docker-credential-ecr-login"
    assert host.ecsauth("install", "helper", "--bin-dir", "/srv/bin", HOST).returncode == 0
    for program in (helper, "/srv/bin/docker-credential-ecr-login"):
        answer = host.box.shell(
            f"set -a; . /etc/ecsauth/ecsauth.env; set +a; export HOME=/root;"
            f" printf {HOST} | {program} get"
        )
        assert json.loads(answer)["Secret"] == "first"
    assert host.box.shell("cat /srv/aws-calls").split() == ["us-west-2"]
    mode = host.box.shell("stat -c %a /root/.ecr /root/.ecr/ecsauth-cache").split()
    assert mode == ["700", "1700"]
    host.box.shell("rm -rf /root/.ecr /root/.docker")


def test_units_are_installed_idempotently_and_taken_away(host: Host) -> None:
    would = host.ecsauth("install", "units", "--dry-run")
    assert "+ /etc/systemd/system/ecsauth-refresh.timer" in would.stdout
    assert host.box.shell("ls /etc/systemd/system | grep ecsauth || true") == ""
    assert host.ecsauth("install", "units").returncode == 0
    for unit in ("ecsauth-refresh.timer", "ecsauth-refresh.service"):
        assert host.box.shell(f"systemctl is-enabled {unit}").strip() == "enabled"
    assert host.box.shell("systemctl is-active ecsauth-refresh.timer").strip() == "active"
    shown = host.box.shell("systemctl cat ecsauth-refresh.service")
    assert f"\nExecStart={ECSAUTH} refresh\n" in shown
    files = " ".join(f"/etc/systemd/system/{name}" for name in UNITS)
    host.box.shell(f"systemd-analyze verify --recursive-errors=yes --man=no {files}")
    host.box.shell("systemd-analyze security --threshold=30 ecsauth-refresh.service")
    host.box.shell("systemd-analyze security --threshold=30 ecsauth-run.service")
    again = host.ecsauth("install", "units")
    assert again.stdout.strip() == "nothing to do: everything is in place"
    host.box.shell("systemctl start ecsauth-refresh.service")  # hardened as it is, it works
    assert host.logins() == {HOST: "first"}
    host.box.write("/etc/systemd/system/ecsauth-refresh.service.d/mine.conf", "[Service]\nNice=5\n")
    done = host.ecsauth("install", "units", "--to", "/srv/agent/ecs.config")
    assert done.returncode == 0
    assert "ReadWritePaths=-/srv/agent" in host.box.shell("systemctl cat ecsauth-refresh.service")
    assert host.box.shell("systemctl show -p Nice ecsauth-refresh.service").strip() == "Nice=5"
    gone = host.ecsauth("install", "units", "--uninstall")
    assert gone.returncode == 0
    assert "ecsauth-refresh.service.d holds your own changes" in gone.stderr
    left = host.box.shell("ls -A /etc/systemd/system | grep ecsauth").split()
    assert left == ["ecsauth-refresh.service.d"]
    assert host.box.run("systemctl", "is-active", "ecsauth-refresh.timer", check=False).returncode
