"""On and off EC2: the metadata service in network namespaces."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.builders import HOST
from tests.conftest import need, need_root
from tests.lab.box import PROJECT


@dataclass(frozen=True)
class RunProgram:
    """What a command came to."""

    code: int
    out: str
    err: str
    seconds: float
    calls: list[str]


def run_on(kind: str, *arguments: str) -> RunProgram:
    need_root()
    need("unshare", "ip")
    command = [sys.executable, "-m", *arguments]
    host = ["unshare", "-n", sys.executable, "-m", "tests.lab.ec2_host", kind, *command]
    done = subprocess.run(host, capture_output=True, text=True, cwd=PROJECT, timeout=120)
    assert done.returncode == 0, done.stderr
    return RunProgram(*json.loads(done.stdout))


CONVERT = ("ecsauth", "convert", "--output=data")


def test_instance_gives_role_and_region() -> None:
    run = run_on("ec2", *CONVERT, "ecr:")
    assert (run.code, list(json.loads(run.out))) == (0, [HOST])
    assert [call.split()[2:] for call in run.calls] == [["us-west-2", "by", "FROMROLE"]]


@pytest.mark.parametrize("kind", ["hop", "off", "none"])
def test_off_ec2_nothing_waits_for_the_metadata_service(kind: str) -> None:
    # Region and credentials of three sources want it; together they may wait less than a second.
    bare = run_on("ec2", *CONVERT, "ecr:us-west-2")
    sources = ("ecr:", f"ecr:{HOST}", "ecr-public:")
    run = run_on(kind, *CONVERT, *sources)
    assert run.code == 3
    assert run.calls == []
    assert "no AWS region is set" in run.err
    assert run.err.count("no AWS credentials") == 2
    assert run.seconds < bare.seconds + 1.5  # one second, and another half for this machine


def test_pause_in_the_metadata_service_is_told_from_its_absence() -> None:
    assert "hop limit of 2" in run_on("hop", *CONVERT, f"ecr:{HOST}").err
