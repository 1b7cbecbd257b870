"""fleet refresh: real boto3 and the real command against SSM and ECS on loopback, and moto's."""

from __future__ import annotations

import fnmatch
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ecsauth.aws.session import Aws, Identity
from ecsauth.errors import SourceError
from ecsauth.fleet.ssm import Group, RunCommand
from ecsauth.fleet.values import NOT_MANAGED, Instance, Order
from tests.conftest import Result
from tests.lab.box import PROJECT
from tests.lab.conftest import set_aws
from tests.lab.fleet_world import ACCOUNT, World, fleet_world
from tests.lab.moto import Moto
from tests.lab.test_drain import Cluster, cluster

__all__ = ["cluster"]

RunProgram = Callable[..., Result]
SECRET = "c4n4ry-0f-the-m1ne"
CLUSTER = ("fleet", "refresh", "--cluster=lab")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with fleet_world() as made:
        set_aws(monkeypatch, made.url, tmp_path)
        yield made


def rows(result: Result) -> dict[str, str]:
    """Instance → status and last line, of the table."""
    lines = [line.split(None, 1) for line in result.out.splitlines() if line.startswith("i-")]
    return {name: re.sub(" {2,}", ": ", rest) for name, rest in lines}


def test_every_instance_has_done_it(ecsauth: RunProgram, world: World) -> None:
    world.add("i-1", "i-2", "i-3")
    world.output["i-2"] = "first\necsauth: note: 2 updated\n"
    done = ecsauth(*CLUSTER)
    assert (done.code, done.errors) == (0, [])
    assert rows(done) == {
        "i-1": "done: there is nothing to do",
        "i-2": "done: ecsauth: note: 2 updated",
        "i-3": "done: there is nothing to do",
    }
    assert done.out.splitlines()[-1] == "3 instances: 3 done"
    assert "ecsauth: note: i-2: done" in done.err
    (sent,) = world.sent()
    assert sent["InstanceIds"] == ["i-1", "i-2", "i-3"]
    assert (sent["MaxConcurrency"], sent["MaxErrors"]) == ("1", "0")
    assert sent["TimeoutSeconds"] == 900


def test_what_went_wrong_is_in_the_table_and_the_exit_code(
    ecsauth: RunProgram, world: World
) -> None:
    world.add("i-1", "i-2", "i-3", "i-4")
    world.members.append("i-x")
    world.managed["i-2"] = "ConnectionLost"
    world.ends = {"i-3": "Failed", "i-4": "ExecutionTimedOut"}
    world.output["i-3"] = (
        "ecsauth: error: no\n----------ERROR-------\nfailed to run commands: exit status 3"
    )
    done = ecsauth(*CLUSTER, "--max-errors=100%", "--quiet")
    assert done.code == 3
    assert rows(done) == {
        "i-1": "done: there is nothing to do",
        "i-2": "unreachable",
        "i-3": "failed: ecsauth: error: no",
        "i-4": "timed out: there is nothing to do",
        "i-x": "not managed",
    }
    assert (
        "warning: SSM does not manage 1 instance; check that they run the SSM agent, with a role"
        " that has AmazonSSMManagedInstanceCore"
    ) in done.err
    assert "warning: SSM does not reach 1 instance; check that the SSM agent runs there" in done.err
    assert "note" not in done.err


def test_failed_instance_is_said_where_to_look_at(ecsauth: RunProgram, world: World) -> None:
    world.add("i-1")
    world.ends["i-1"] = "Failed"
    done = ecsauth(*CLUSTER)
    assert done.code == 3
    (command,) = world.commands
    where = f"--region us-west-2 --command-id {command} --instance-id i-1"
    assert f"get-command-invocation {where}" in done.err


def test_json_has_everything(ecsauth: RunProgram, world: World) -> None:
    world.add("i-1")
    world.members.append("i-x")
    done = ecsauth(*CLUSTER, "--json")
    assert done.code == 3
    found = json.loads(done.out)
    (command,) = world.commands
    assert found == {
        "region": "us-west-2",
        "instances": [
            {"instance": "i-1", "status": "done", "said": "there is nothing to do"}
            | {"command": command},
            {"instance": "i-x", "status": "not managed", "said": "", "command": ""},
        ],
        "counts": {"done": 1, "not managed": 1},
    }


@pytest.mark.parametrize("is_whole", [True, False])
def test_dry_run_sends_nothing(ecsauth: RunProgram, world: World, is_whole: bool) -> None:
    world.add("i-1")
    if not is_whole:
        world.members.append("i-x")
    done = ecsauth(*CLUSTER, "--dry-run")
    assert done.code == (0 if is_whole else 3)
    assert rows(done) == {"i-1": "waiting", **({} if is_whole else {"i-x": "not managed"})}
    assert world.sent() == []


def test_two_thousand_instances(ecsauth: RunProgram, world: World) -> None:
    names = [f"i-{number:017x}" for number in range(2000)]
    world.add(*names)
    world.ends[names[1234]] = "Failed"
    done = ecsauth(*CLUSTER, "--max-concurrency=100%", "--quiet")
    assert done.code == 3
    assert list(rows(done)) == names
    assert done.out.splitlines()[-1] == "2,000 instances: 1999 done, 1 failed"
    assert [len(body["InstanceIds"]) for body in world.sent()] == [50] * 40
    listed = [body for action, body in world.calls if action == "ecs:ListContainerInstances"]
    assert len(listed) == 20
    asked = [body for action, body in world.calls if action == "ecs:DescribeContainerInstances"]
    assert [len(body["containerInstances"]) for body in asked] == [100] * 20


def test_limits_hold_over_several_commands(ecsauth: RunProgram, world: World) -> None:
    names = [f"i-{number:04}" for number in range(120)]
    world.add(*names)
    world.ends = dict.fromkeys(names[:3], "Failed")
    done = ecsauth(*CLUSTER, "--max-concurrency=50", "--max-errors=2")
    assert done.code == 3
    assert done.out.splitlines()[-1] == "120 instances: 70 not sent, 47 done, 3 failed"
    assert len(world.sent()) == 1
    assert "more errors than --max-errors: not sending to more instances" in done.err
    world.commands.clear()
    done = ecsauth(*CLUSTER, "--max-concurrency=50", "--max-errors=3")
    assert done.out.splitlines()[-1] == "120 instances: 117 done, 3 failed"
    assert [body["MaxErrors"] for body in world.sent()[1:]] == ["3", "0", "0"]


def test_instance_that_vanishes_before_it_is_sent_to(ecsauth: RunProgram, world: World) -> None:
    world.add("i-1", "i-2")
    world.vanish.add("i-2")
    done = ecsauth(*CLUSTER)
    assert done.code == 3
    assert rows(done) == {"i-1": "done: there is nothing to do", "i-2": "gone"}
    assert [body["InstanceIds"] for body in world.sent()] == [["i-1", "i-2"], ["i-1"]]


def test_by_tag_it_is_one_command_with_targets(ecsauth: RunProgram, world: World) -> None:
    world.add(*(f"i-{number:03}" for number in range(120)))
    world.managed["i-other"] = "Online"
    done = ecsauth("fleet", "refresh", "--tag=Fleet=web", "--tag", "Fleet=db", "--max-errors=0")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "120 instances: 120 done"
    (sent,) = world.sent()
    assert sent["Targets"] == [{"Key": "tag:Fleet", "Values": ["web", "db"]}]
    assert (sent["MaxConcurrency"], sent["MaxErrors"]) == ("12", "0")
    assert not {action for action in world.actions if action.startswith("ecs:")}


def test_tag_that_no_instance_has_is_an_error(ecsauth: RunProgram, world: World) -> None:
    world.add("i-1")
    done = ecsauth("fleet", "refresh", "--tag=Fleet=wbe")
    assert done.code == 3
    assert "error: no instance with tag Fleet=wbe is managed by SSM in us-west-2; check" in done.err


def test_cluster_without_instances_is_nothing_to_do(ecsauth: RunProgram, world: World) -> None:
    done = ecsauth(*CLUSTER)
    assert (done.code, done.out) == (0, "0 instances: nothing to do\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--cluster=other",), "there is no cluster other in us-west-2; check its name"),
        (("--cluster=lab", "--document=mine"), "there is no document mine in us-west-2; aws ssm"),
    ],
)
def test_name_that_is_not_there_is_said(
    ecsauth: RunProgram, world: World, arguments: tuple[str, ...], words: str
) -> None:
    world.add("i-1")
    done = ecsauth("fleet", "refresh", *arguments)
    assert (done.code, done.out) == (3, "")
    assert len(done.errors) == 1
    assert words in done.errors[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no instances are selected"),
        (("--cluster=lab", "--tag=a=b"), "--cluster and --tag are both given"),
        (("--tag=a",), "--tag is not KEY=VALUE"),
        (("--tag==b",), "--tag is not KEY=VALUE"),
        (
            ("--cluster=lab", "--max-errors=1.5"),
            "--max-errors: not a number of instances (at least 0)",
        ),
        (
            ("--cluster=lab", "--max-concurrency=0"),
            "--max-concurrency: not a number of instances (at least 1)",
        ),
        (tuple(f"--tag={key}=v" for key in "abcdef"), "at most 5 tags"),
    ],
)
def test_usage(ecsauth: RunProgram, world: World, arguments: tuple[str, ...], words: str) -> None:
    done = ecsauth("fleet", "refresh", *arguments)
    assert done.code == 2
    assert words in done.err
    assert world.calls == []


def test_command_line_counts_more_than_a_variable(
    ecsauth: RunProgram, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("i-1")
    monkeypatch.setenv("ECSAUTH_CLUSTER", "lab")
    assert ecsauth("fleet", "refresh", "-n").code == 0
    assert "ecs:ListContainerInstances" in world.actions
    world.calls.clear()
    assert ecsauth("fleet", "refresh", "-n", "--tag=Fleet=web").code == 0
    assert world.actions == {"ssm:DescribeInstanceInformation"}


def test_region_that_is_nowhere_is_asked_for(
    ecsauth: RunProgram, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("i-1")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    done = ecsauth(*CLUSTER)
    assert done.code == 3
    assert "no AWS region is set; name it: --region" in done.err
    assert ecsauth(*CLUSTER, "--region=us-west-2").code == 0


def test_throttled_call_is_repeated(ecsauth: RunProgram, world: World) -> None:
    world.add("i-1")
    world.throttle = 2
    assert ecsauth(*CLUSTER, "--quiet").code == 0
    assert len([1 for action, _ in world.calls if action == "ecs:ListContainerInstances"]) == 3


def test_time_that_is_over_cancels(ecsauth: RunProgram, world: World) -> None:
    world.add("i-1", "i-2")
    world.ends["i-2"] = "InProgress"
    done = ecsauth(*CLUSTER, "--timeout=3")
    assert done.code == 3
    assert rows(done)["i-1"].startswith("done")
    assert rows(done)["i-2"].startswith("timed out")
    (command,) = world.commands
    assert f"warning: cancelled: {command}" in done.err
    assert world.commands[command] == {"i-1": "Success", "i-2": "Cancelled"}


def start(world: World, stderr: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ecsauth", *CLUSTER],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def wait_until(ready: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_the_commands_and_says_so(world: World, number: signal.Signals) -> None:
    world.add("i-1", "i-2")
    world.ends = dict.fromkeys(world.members, "InProgress")
    process = start(world, subprocess.PIPE)
    wait_until(lambda: world.looked)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    (command,) = world.commands
    assert world.commands[command] == {"i-1": "Cancelled", "i-2": "Cancelled"}
    assert f"warning: cancelled: {command}" in err
    assert "Traceback" not in err
    assert process.returncode == 128 + number
    assert out.splitlines()[-1] == "2 instances: 2 cancelled"


def test_signal_while_a_command_is_being_sent_cancels_that_one_too(world: World) -> None:
    world.add("i-1")
    world.ends["i-1"] = "InProgress"
    world.send_seconds = 2.0
    process = start(world, subprocess.PIPE)
    wait_until(lambda: "ssm:SendCommand" in world.actions)
    assert world.commands == {}
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    (command,) = world.commands
    assert world.commands[command] == {"i-1": "Cancelled"}
    assert f"warning: cancelled: {command}" in err
    assert process.returncode == 130


def test_terminal_shows_each_instance_while_it_goes_on(world: World) -> None:
    world.add("i-first", "i-second")
    world.looks = 1
    ours, theirs = pty.openpty()
    process = start(world, theirs)
    os.close(theirs)
    shown = b""
    with process:
        while True:
            ready, _, _ = select.select([ours], [], [], 30)
            try:
                data = os.read(ours, 65536) if ready else b""
            except OSError:
                break
            if not data:
                break
            shown += data
        out = process.stdout.read() if process.stdout else ""
    os.close(ours)
    text = shown.decode()
    assert re.search(r"i-second.*sent", text)
    assert "2 instances: 2 sent" in text
    assert "note:" not in text
    assert process.returncode == 0
    assert out.splitlines()[-1] == "2 instances: 2 done"


@pytest.mark.parametrize("status", ["Success", "Failed"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_of_what_an_instance_prints_only_the_last_line_is_shown(
    ecsauth: RunProgram, world: World, status: str, options: tuple[str, ...]
) -> None:
    world.add("i-1", "i-2")
    world.ends["i-1"] = status
    world.output["i-1"] = f"{SECRET}\n\x1b[2J\u202ebell\a {'x' * 300}\n"
    done = ecsauth(*CLUSTER, "--max-errors=100%", *options)
    assert SECRET not in done.out + done.err
    assert "\x1b" not in done.out + done.err
    said = next(line for line in done.out.splitlines() if "bell" in line)
    assert "x1b[2J" in said
    assert "x" * 90 in said
    assert "x" * 121 not in said
    world.output["i-1"] = f"first\n{SECRET}\n"
    assert SECRET in ecsauth(*CLUSTER, "--max-errors=100%", *options).out  # by design


def policy_allows(action: str, resource: str) -> bool:
    """Whether samples/iam-fleet.json allows an action on a resource, conditions met."""
    text = (PROJECT / "samples" / "iam-fleet.json").read_text().replace("CLUSTER", "lab")
    for statement in json.loads(text)["Statement"]:
        actions, resources = statement["Action"], statement["Resource"]
        actions = [actions] if isinstance(actions, str) else actions
        resources = [resources] if isinstance(resources, str) else resources
        if action in actions and any(fnmatch.fnmatchcase(resource, item) for item in resources):
            return True
    return False


ARN = "arn:aws:{}:us-west-2:" + ACCOUNT + ":{}"
NEEDED = {
    # Service Authorization Reference: action → the resources that it is checked against
    "ecs:ListContainerInstances": [ARN.format("ecs", "cluster/lab")],
    "ecs:DescribeContainerInstances": [ARN.format("ecs", "container-instance/lab/0123")],
    "ssm:DescribeInstanceInformation": ["*"],
    "ssm:SendCommand": [
        ARN.format("ssm", "document/ecsauth-refresh"),
        ARN.format("ec2", "instance/i-1"),
        ARN.format("ssm", "managed-instance/mi-1"),
    ],
    "ssm:ListCommandInvocations": ["*"],
    "ssm:CancelCommand": ["*"],
}


def test_policy_is_what_is_really_asked_for_and_no_more(ecsauth: RunProgram, world: World) -> None:
    world.add("i-1", "i-2")
    world.ends["i-2"] = "InProgress"
    assert ecsauth(*CLUSTER, "--timeout=3").code == 3
    text = (PROJECT / "samples" / "iam-fleet.json").read_text()
    allowed = set(re.findall(r'"((?:ssm|ecs):[A-Z]\w+)"', text))
    by_hand = {"ssm:GetCommandInvocation"}  # of the command that is recommended after a failure
    assert world.actions == allowed - by_hand == set(NEEDED)
    for action, resources in NEEDED.items():
        assert all(policy_allows(action, resource) for resource in resources), action
    assert not policy_allows(
        "ssm:SendCommand", "arn:aws:ssm:us-west-2::document/AWS-RunShellScript"
    )
    assert not policy_allows("ssm:SendCommand", ARN.format("ssm", "document/other"))
    assert not policy_allows("ecs:ListContainerInstances", ARN.format("ecs", "cluster/other"))


def test_windows_is_not_taken_for_done(ecsauth: RunProgram, world: World) -> None:
    world.add("i-1")
    world.add("i-2")
    world.windows.add("i-2")
    done = ecsauth(*CLUSTER, "--json")
    assert done.code == 3
    assert json.loads(done.out)["counts"] == {"done": 1, "not Linux": 1}
    assert "--output powershell" in done.err


@pytest.mark.parametrize("action", [item for item in NEEDED if item != "ssm:CancelCommand"])
def test_missing_permission_is_named(ecsauth: RunProgram, world: World, action: str) -> None:
    world.add("i-1")
    world.denied.add(action)
    done = ecsauth(*CLUSTER)
    assert done.code == 3
    assert f"error: fleet: access denied to {action}" in done.err
    assert f"allow {action} to" in done.errors[0]


def test_missing_permission_to_cancel_is_named_with_the_command(
    ecsauth: RunProgram, world: World
) -> None:
    world.add("i-1")
    world.ends["i-1"] = "InProgress"
    world.denied.add("ssm:CancelCommand")
    done = ecsauth(*CLUSTER, "--timeout=3")
    assert done.code == 3
    (command,) = world.commands
    assert f"aws ssm cancel-command --command-id {command}" in done.err
    assert "access denied to ssm:CancelCommand" in done.err


# moto's own ECS and SendCommand, which is all that it has of this.


def runner(group: Group) -> RunCommand:
    return RunCommand(Aws({}), Identity(), "us-west-2", group, "ecsauth-refresh", 60)


def instance_of(cluster: Cluster) -> str:
    answer = cluster.ecs.describe_container_instances(
        cluster="lab", containerInstances=[cluster.arn]
    )
    return str(answer["containerInstances"][0]["ec2InstanceId"])


def test_members_of_moto_s_cluster_are_found(
    cluster: Cluster, world: World, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = instance_of(cluster)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", world.url)
    assert runner(Group("lab")).find() == [Instance(name, NOT_MANAGED)]
    world.managed[name] = "Online"
    assert runner(Group("lab")).find() == [Instance(name)]


def test_moto_takes_the_document_and_the_command(cluster: Cluster, moto: Moto) -> None:
    ssm = moto.client("ssm")
    text = (PROJECT / "samples" / "ssm-refresh.json").read_text()
    ssm.create_document(Content=text, Name="ecsauth-refresh", DocumentType="Command")
    name = instance_of(cluster)
    sent = runner(Group("lab")).send(Order((name,), 1, 0))
    (command,) = ssm.list_commands(CommandId=sent.command)["Commands"]
    assert command["InstanceIds"] == [name]
    assert (command["DocumentName"], command["MaxErrors"]) == ("ecsauth-refresh", "0")
    by_tag = Group(tags={"Fleet": ("web",)})
    sent = runner(by_tag).send(Order((), 2, 0))
    (command,) = ssm.list_commands(CommandId=sent.command)["Commands"]
    assert command["Targets"] == [{"Key": "tag:Fleet", "Values": ["web"]}]


@pytest.mark.parametrize("missing", [None, "ecs:ListContainerInstances", "ssm:SendCommand"])
def test_moto_enforces_the_policy(
    cluster: Cluster,
    world: World,
    moto: Moto,
    monkeypatch: pytest.MonkeyPatch,
    missing: str | None,
) -> None:
    name = instance_of(cluster)
    world.managed[name] = "Online"
    allowed = [action for action in NEEDED if action != missing]
    for variable, value in moto.user("operator", *allowed).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    one = runner(Group("lab"))
    if missing == "ssm:SendCommand":
        with pytest.raises(SourceError, match="access denied to ssm:SendCommand"):
            one.send(Order((name,), 1, 0))
        return
    assert one.send(Order((name,), 1, 0)).command
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", world.url)
    two = runner(Group("lab"))
    if missing:
        with pytest.raises(SourceError, match=f"access denied to {missing}"):
            two.find()
    else:
        assert two.find() == [Instance(name)]
