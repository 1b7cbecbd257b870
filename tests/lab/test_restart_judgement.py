"""What waits in the files, or became of the unit, is looked at before the agent is touched."""

from __future__ import annotations

import pytest

from tests.builders import HOST
from tests.lab.test_restart import CONFIG, Host, booted, host, wheel

__all__ = ["booted", "host", "wheel"]

LOGIN = '{"auths":{"q.io":{"auth":"dTpw"}}}'
"""A login that the agent has yet to read: the reason to restart it."""

LONG = "ECS_INSTANCE_ATTRIBUTES=".ljust(131_072, "z")
"""One byte more than Linux allows."""

SERVICE = "/etc/systemd/system/ecs.service"
VENDOR = "/usr/lib/systemd/system/ecs.service"
"""Where a package puts it; only a unit from there can be masked."""


def incarnation(host: Host) -> tuple[str, str]:
    """Return what tells one start of the agent's container from any other."""
    status, found = host.docker.api("GET", "/containers/ecs-agent/json")
    assert status == 200, found
    return found["Id"], found["State"]["StartedAt"]


def await_restart(host: Host) -> tuple[str, str]:
    """Start the agent, with two tasks, and leave a login that it has yet to read."""
    host.start_agent()
    host.box.write("/root/login.json", LOGIN, 0o600)
    assert host.ecsauth("migrate", "/root/login.json").returncode == 0
    seen = host.status()
    assert (seen["restart"], seen["pending"], seen["running_tasks"]) == ("safe", True, 2)
    return incarnation(host)


def check_refused(host: Host, agent: tuple[str, str], words: str, secret: str) -> str:
    """Ask for a restart: it must be refused with these words, the agent as it was."""
    done = host.ecsauth("agent", "restart")
    assert done.returncode == 5, done.stdout + done.stderr
    assert words in done.stderr
    assert secret not in done.stdout + done.stderr
    assert "are you root" not in done.stderr
    assert incarnation(host) == agent
    assert host.agent_logins() == {}
    assert host.box.shell("systemctl is-active ecs").strip() == "active"
    return done.stderr


def check_restarted(host: Host, agent: tuple[str, str], *options: str) -> None:
    """Ask for a restart: the agent must be another one, of the same instance, with the login."""
    arn = host.status()["arn"]
    done = host.ecsauth("agent", "restart", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the agent was restarted and runs with this, the same instance" in done.stdout
    assert incarnation(host) != agent
    assert host.agent_logins() == {"q.io": "p"}
    assert host.status()["arn"] == arn


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        (CONFIG, "ECS_DATADIR=", "2 running tasks: ECS_DATADIR is not set"),
        (CONFIG, "ECS_CHECKPOINT=false", "2 running tasks: ECS_CHECKPOINT is off"),
        (CONFIG, "ECS_CLUSTER=somewhere-else", "would also bring ECS_CLUSTER as in the files"),
        (CONFIG, "HTTPS_PROXY=http://u:secret@p", "would also bring HTTPS_PROXY as in the files"),
        (CONFIG, "=nameless", f"{CONFIG}: line 4 sets a variable without a name"),
        (CONFIG, LONG, f"{CONFIG}: the variable in line 4 has 131,072 bytes"),
        (
            "/var/lib/ecs/ecs.config",
            "ECS_INSTANCE_ATTRIBUTES=hidden",
            "would also bring ECS_INSTANCE_ATTRIBUTES as in the files",
        ),
        (
            "/etc/ecs/ecs.config.json",
            '{"Cluster": "broken',
            "/etc/ecs/ecs.config.json: it is not JSON",
        ),
    ],
    ids=lambda value: value[:24],
)
def test_edit_that_waits_is_not_brought_by_a_login(
    host: Host, file: str, line: str, words: str
) -> None:
    agent = await_restart(host)
    before = host.box.shell(f"cat {file}", check=False)
    value = line.partition("=")[2] or line
    host.box.write(file, f"{before}{line}\n", 0o600)
    try:
        check_refused(host, agent, words, value)
        again = check_refused(host, agent, words, value)  # it does not wear off
        assert host.status()["pending"] is True
        assert again.count("ecsauth: error: ") == 1
    finally:
        if before:
            host.box.write(file, before, 0o600)
        else:
            host.box.shell(f"rm {file}")
    check_restarted(host, agent)  # the edit alone was in the way


def test_edit_is_brought_by_force(host: Host) -> None:
    agent = await_restart(host)
    host.box.shell(f"echo ECS_CLUSTER=somewhere-else >> {CONFIG}")
    hint = check_refused(host, agent, "would also bring ECS_CLUSTER", "somewhere-else")
    assert "sudo ecsauth agent restart --force" in hint
    check_restarted(host, agent, "--force")
    assert host.docker.environment("ecs-agent")["ECS_CLUSTER"] == "somewhere-else"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ECS_DATADIR=", "2 running tasks: ECS_DATADIR is not set"),
        ("ECS_CLUSTER=somewhere-else", "would also bring ECS_CLUSTER as in the files"),
        ("=nameless", "sets a variable without a name"),
    ],
)
def test_timer_brings_no_edit_either(host: Host, line: str, words: str) -> None:
    host.start_agent()
    agent = incarnation(host)
    host.box.shell(f"echo {line} >> {CONFIG}; journalctl -q --rotate --vacuum-time=1s")
    host.ecsauth("install", "units")
    for _ in range(2):  # the second run has nothing to fetch, and is refused all the same
        host.box.shell("systemctl start ecsauth-refresh.service", check=False)
        shown = host.box.shell("systemctl show -p ExecMainStatus ecsauth-refresh.service")
        assert shown.strip() == "ExecMainStatus=5"
        assert (incarnation(host), host.agent_logins()) == (agent, {})
    assert host.logins() == {HOST: "first"}
    journal = host.box.journal("ecsauth-refresh.service")
    assert words in journal
    assert "somewhere-else" not in journal
    host.box.shell(f"sed -i '/^{line}$/d' {CONFIG}; systemctl start ecsauth-refresh.service")
    assert host.agent_logins() == {HOST: "first"}


def test_edit_that_the_agent_has_read_is_none(host: Host) -> None:
    """The same lines do not refuse a restart once the agent runs with them."""
    host.start_agent("ECS_CLUSTER=somewhere-else\nECS_CHECKPOINT=true\nECS_LOGLEVEL=debug\n")
    host.box.write("/root/login.json", LOGIN, 0o600)
    assert host.ecsauth("migrate", "/root/login.json").returncode == 0
    check_restarted(host, incarnation(host))


def test_masked_unit_is_named(host: Host) -> None:
    agent = await_restart(host)
    host.box.shell(f"mv {SERVICE} {VENDOR}; systemctl daemon-reload")
    try:
        host.box.shell("systemctl mask ecs")
        said = check_refused(host, agent, "not restarting the agent: ecs.service is masked", "dTpw")
        assert "sudo systemctl unmask ecs" in said
        assert "systemctl failed" not in said
        host.box.shell("systemctl unmask ecs")
        check_restarted(host, agent)
    finally:
        host.box.shell(f"systemctl unmask ecs; mv {VENDOR} {SERVICE}; systemctl daemon-reload")


def test_unit_that_is_gone_is_named(host: Host) -> None:
    agent = await_restart(host)
    host.box.shell(f"mv {SERVICE} /srv/ecs.service; systemctl daemon-reload")
    try:
        check_refused(host, agent, "not restarting the agent: ecs.service does not exist", "dTpw")
    finally:
        host.box.shell(f"mv /srv/ecs.service {SERVICE}; systemctl daemon-reload")
    check_restarted(host, agent)
