"""The archive for AWS Lambda: the same bytes each time, complete, and it publishes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.builders import HOST
from tests.conftest import missing
from tests.lab.aws_stub import PRIVATE, PUBLIC, AwsStub, error_answer, token_answer
from tests.lab.box import PROJECT
from tests.lab.conftest import S3
from tests.lab.test_restart import wheel

__all__ = ["wheel"]

BUILD = PROJECT / "samples" / "build-lambda.sh"
TOKEN = "n0t-to-be-seen"
INVOKE = """\
import json, sys
sys.path[:] = [item for item in sys.path if "site-packages" not in item] + [sys.argv[1]]
import boto3, ecsauth.aws_lambda
assert boto3.__file__.startswith(sys.argv[1]), boto3.__file__
print(json.dumps(ecsauth.aws_lambda.handler(json.loads(sys.argv[2]), None)))
"""


def build(output: Path, *package: str, **more: str) -> subprocess.CompletedProcess[str]:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    environment = {**os.environ, "PYTHON": sys.executable, "LAMBDA_PYTHON": version, **more}
    return subprocess.run(
        ["sh", BUILD, output, *package], capture_output=True, text=True, env=environment, cwd="/"
    )


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same archive, built twice, in different places and times."""
    made = [tmp_path_factory.mktemp(name) / "ecsauth-lambda.zip" for name in ("one", "two")]
    for path in made:
        done = build(path)
        network = ("No matching distribution found", "Could not find a version")
        if any(word in done.stderr for word in network):
            missing(f"needs a package index: {done.stderr.strip()[-200:]}")
        assert done.returncode == 0, done.stderr
        assert f"{path}: " in done.stdout
    return made


@pytest.fixture(scope="module")
def unpacked(archives: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Lambda unpacks into /var/task."""
    directory = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(archives[0]) as archive:
        archive.extractall(directory)
    for path in directory.rglob("*"):  # as there: nobody may write
        path.chmod(0o555 if path.is_dir() else 0o444)
    return directory


def invoke(
    unpacked: Path, environment: dict[str, str], event: object = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "-B", "-c", INVOKE, str(unpacked), json.dumps(event)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")


def test_two_builds_are_equal_small_enough_and_pure(archives: list[Path]) -> None:
    one, two = (path.read_bytes() for path in archives)
    assert one == two
    assert len(one) < 50e6  # Lambda's limit for an upload; unpacked 250 MB
    with zipfile.ZipFile(archives[0]) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert sum(entry.file_size for entry in entries) < 250e6
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o644}
    assert not [name for name in names if name.endswith((".so", ".pyc")) or name.startswith("bin/")]
    assert {"ecsauth/aws_lambda.py", "ecsauth/_systemd/ecsauth-refresh.timer"} < set(names)


def test_what_is_not_there_is_not_built(tmp_path: Path) -> None:
    done = build(tmp_path / "x.zip", "ecsauth-that-nobody-made==9", PIP_NO_INDEX="1")
    assert done.returncode
    assert list(tmp_path.glob("*.zip*")) == []


def test_directory_has_the_same_files(archives: list[Path], wheel: Path, tmp_path: Path) -> None:
    done = build(tmp_path / "task", str(wheel), PIP_NO_DEPS="1")  # for that is faster
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(archives[0]) as archive:
        names = {name for name in archive.namelist() if name.startswith("ecsauth")}
    found = {path for path in (tmp_path / "task").rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path / "task").as_posix() for path in found} == names
    again = build(tmp_path / "task", str(wheel), PIP_NO_DEPS="1")
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)


def test_archive_alone_publishes_and_tells_no_secret(
    unpacked: Path, s3: S3, aws: AwsStub, tmp_path: Path
) -> None:
    aws.answers[PRIVATE] = token_answer(HOST, password=TOKEN)
    aws.answers[PUBLIC] = token_answer("", password=TOKEN, public=True)
    environment = {
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ENDPOINT_URL_S3": s3.between.url,
        "AWS_ACCESS_KEY_ID": "ADMIN",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-west-2",
        "ECSAUTH_SOURCES": "ecr-public: ecr:us-west-2",
        "ECSAUTH_TARGETS": "s3://fleet/ecs.config",
        "PATH": "/usr/bin:/bin",
    }
    done = invoke(unpacked, environment, {"force": True})
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["code"] == 0
    assert set(answer["targets"][0]["registries"]) == {"public.ecr.aws", HOST}
    assert HOST in s3.text()
    aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    failed = invoke(unpacked, environment, {"force": True})
    assert failed.returncode
    assert "RefreshFailedError: ecsauth refresh failed with exit code 3" in failed.stderr
    assert "access denied to ecr:GetAuthorizationToken" in failed.stderr
    for said in (done, failed):
        for secret in (TOKEN, s3.text().partition('"auth":"')[2][:20]):
            assert secret
            assert secret not in said.stdout + said.stderr
