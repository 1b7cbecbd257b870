"""samples/marathon: the apps have the shape that Marathon takes, and say what is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.builders import ROOT

SAMPLES = ROOT / "samples" / "marathon"
PULL = {
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchGetImage",
}
"""The calls that a pull makes."""

Check = Callable[[Any], bool]


def number(least: float) -> Check:
    return lambda value: type(value) in (int, float) and value >= least


def whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def flag(value: Any) -> bool:
    return type(value) is bool


def text(pattern: str, most: int = 1024) -> Check:
    return lambda value: (
        isinstance(value, str) and len(value) <= most and bool(re.fullmatch(pattern, value))
    )


def list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def record(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    """Return a check of an object that has these members and no other."""
    known = {**required, **optional}

    def check(value: Any) -> bool:
        is_complete = isinstance(value, dict) and set(required) <= set(value) <= set(known)
        return is_complete and all(known[name](item) for name, item in value.items())

    return check


def constraint(value: Any) -> bool:
    operators = {"UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER"}
    is_list = list_of(text(".+"))(value) and len(value) in (2, 3)
    return is_list and value[1] in operators


VOLUME = record(
    {"containerPath": text("/.+"), "hostPath": text("/.+"), "mode": text("RO|RW")},
    {},
)
CONTAINER = record(
    {
        "type": text("DOCKER"),
        "docker": record({"image": text(".+")}, {"forcePullImage": flag, "privileged": flag}),
    },
    {"volumes": list_of(VOLUME)},
)
FETCH = record({"uri": text(".+")}, {"extract": flag, "executable": flag, "cache": flag})
STRATEGY = {
    name: lambda value: number(0)(value) and value <= 1
    for name in ("minimumHealthCapacity", "maximumOverCapacity")
}
APP = record(
    {"id": text(r"(/[a-z0-9]([a-z0-9.-]*[a-z0-9])?)+"), "container": CONTAINER},
    {
        "instances": whole,
        "cpus": number(0.001),
        "mem": number(32),  # the least that Mesos gives to a container
        "env": lambda value: record({}, dict.fromkeys(value, text(".*")))(value),
        "portDefinitions": list_of(lambda _: False),
        "fetch": list_of(FETCH),
        "constraints": list_of(constraint),
        "acceptedResourceRoles": lambda value: list_of(text(".+"))(value) and len(set(value)) > 0,
        "backoffSeconds": whole,
        "backoffFactor": number(1),
        "maxLaunchDelaySeconds": whole,
        "upgradeStrategy": record({}, STRATEGY),
    },
)
"""The part that the samples need of Marathon's app definition.

By ``docs/rest-api/public/api/v2/types/app.raml`` and ``schema/AppDefinition.json`` of
mesosphere/marathon; only what has been there since Marathon 1.4.
"""


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())


@pytest.mark.parametrize("name", ["helper.json", "app.json"])
def test_app_is_one_that_marathon_takes(name: str) -> None:
    assert APP(sample(name))


@pytest.mark.parametrize(
    "change",
    [
        {"uris": []},
        {"id": "/My_App"},
        {"instances": "0"},
        {"instances": True},
        {"backoffFactor": 0.5},
        {"constraints": [["hostname", "ALONE"]]},
        {"constraints": ["hostname:UNIQUE"]},
        {"fetch": ["file:///etc/docker.tar.gz"]},
        {"container": {"type": "DOCKER"}},
        {"env": {"STAY": 300}},
    ],
)
def test_checker_sees_what_marathon_would_refuse(change: dict[str, Any]) -> None:
    assert not APP({**sample("helper.json"), **change})


def test_helper_comes_back_at_a_steady_pace() -> None:
    """It ends by itself, and Marathon starts it again: neither at once nor later and later."""
    app = sample("helper.json")
    assert int(app["env"]["STAY"]) > 0
    assert app["backoffSeconds"] >= 60
    assert app["backoffFactor"] == 1
    assert app["maxLaunchDelaySeconds"] == app["backoffSeconds"]


def test_helper_mounts_what_its_script_writes_to() -> None:
    mounted = {item["containerPath"] for item in sample("helper.json")["container"]["volumes"]}
    written = set(re.findall(r"/host/\w+", (SAMPLES / "put.sh").read_text()))
    assert mounted == written


def test_app_fetches_the_archive_from_where_the_helper_puts_it() -> None:
    volumes = {
        item["containerPath"]: item["hostPath"]
        for item in sample("helper.json")["container"]["volumes"]
    }
    (fetch,) = sample("app.json")["fetch"]
    assert fetch["uri"] == f"file://{volumes['/host/etc']}/docker.tar.gz"
    assert fetch["extract"] is True
    assert ".dkr.ecr." in sample("app.json")["container"]["docker"]["image"]


def test_agents_may_pull_and_only_read() -> None:
    (statement,) = sample("iam-agent.json")["Statement"]
    assert set(statement["Action"]) > PULL
    reading = r"ecr:(BatchCheck|BatchGet|Describe|Get|List)[A-Za-z]+"
    assert [item for item in statement["Action"] if not re.fullmatch(reading, item)] == []


@pytest.mark.parametrize("name", ["build.sh", "put.sh"])
def test_script_is_plain_sh_and_can_be_run(name: str) -> None:
    path = SAMPLES / name
    assert path.read_text().startswith("#!/bin/sh\n")
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["sh", "-n", path]).returncode == 0


@pytest.mark.parametrize(
    ("present", "said"),
    [
        ((), "objcopy is not here: install binutils"),
        (("objcopy",), "docker is not here"),
        (("objcopy", "docker"), "is not Python 3.9 or later"),
    ],
)
def test_build_says_what_it_needs_before_it_begins(
    tmp_path: Path, present: tuple[str, ...], said: str
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (*present, "python3"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
        (programs / name).chmod(0o755)
    for name in ("sh", "dirname"):
        (programs / name).symlink_to(str(shutil.which(name)))
    environment = {"PATH": str(programs), "OUT": str(tmp_path / "out")}
    done = subprocess.run([SAMPLES / "build.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("build.sh: error: ")
    assert said in done.stderr
    assert not (tmp_path / "out").exists()
