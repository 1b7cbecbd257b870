"""The command bundle: the same bytes everywhere, and what tar and docker make of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ecsauth.installation.bundle import archive, config_text
from tests.builders import HOST
from tests.conftest import Result

RunProgram = Callable[..., Result]
PUBLIC = "public.ecr.aws"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "docker.tar.gz"


@pytest.fixture(autouse=True)
def _no_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def members(path: Path) -> list[str]:
    command = ["tar", "--numeric-owner", "--full-time", "-tvzf", str(path)]
    environment = {**os.environ, "TZ": "UTC"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def unpacked(path: Path, into: Path) -> Path:
    into.mkdir()
    subprocess.run(["tar", "-C", str(into), "-xf", str(path)], check=True)
    return into / ".docker" / "config.json"


def test_archive_has_one_private_config_for_all_registries(
    ecsauth: RunProgram, target: Path, tmp_path: Path
) -> None:
    result = ecsauth("bundle", target)
    assert (result.code, result.out) == (0, f"{target}: written\n")
    assert '"fetch": [{"uri": "file:///' in result.err
    assert members(target) == [
        "drwx------ 0/0 0 1970-01-01 00:00:00 .docker/",
        "-rw------- 0/0 28 1970-01-01 00:00:00 .docker/config.json",
    ]
    config = unpacked(target, tmp_path / "task")
    assert config.read_text() == '{"credsStore": "ecr-login"}\n'
    assert config.stat().st_mode & 0o777 == 0o600
    assert config.parent.stat().st_mode & 0o777 == 0o700
    assert target.stat().st_mode & 0o7777 == 0o644


def test_owners_have_names_too(ecsauth: RunProgram, target: Path) -> None:
    ecsauth("bundle", target)
    done = subprocess.run(["tar", "-tvzf", target], capture_output=True, text=True, check=True)
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["root/root"] * 2


def test_registries_get_the_helper_each(ecsauth: RunProgram, target: Path, tmp_path: Path) -> None:
    assert ecsauth("bundle", target, PUBLIC, HOST.upper(), PUBLIC, "--quiet").err == ""
    document = json.loads(unpacked(target, tmp_path / "task").read_text())
    assert document == {"credHelpers": {HOST: "ecr-login", PUBLIC: "ecr-login"}}
    first = target.read_bytes()
    assert ecsauth("bundle", target, HOST, PUBLIC).out == f"{target}: up to date\n"
    assert target.read_bytes() == first


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
def test_bytes_and_mode_are_the_same_whatever_umask_and_time_zone(
    ecsauth: RunProgram, target: Path, monkeypatch: pytest.MonkeyPatch, umask: int, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert ecsauth("bundle", target).code == 0
    finally:
        monkeypatch.undo()
        time.tzset()
    # The same on every Python and zlib: a change of this value changes it for every user.
    digest = "d831ec53063d7afb"
    assert hashlib.sha256(target.read_bytes()).hexdigest().startswith(digest)
    assert target.stat().st_mode & 0o7777 == 0o644


def test_header_of_gzip_has_neither_name_nor_time(ecsauth: RunProgram, target: Path) -> None:
    ecsauth("bundle", target)
    assert target.read_bytes()[:10] == bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])


def test_second_run_writes_nothing(ecsauth: RunProgram, target: Path) -> None:
    ecsauth("bundle", target)
    before = target.stat().st_ino, target.stat().st_ctime_ns
    assert ecsauth("bundle", target).out == f"{target}: up to date\n"
    assert (target.stat().st_ino, target.stat().st_ctime_ns) == before
    target.chmod(0o600)
    assert ecsauth("bundle", target).out == f"{target}: written\n"
    assert target.stat().st_mode & 0o777 == 0o644


def test_date_of_the_members_is_source_date_epoch(
    ecsauth: RunProgram, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert ecsauth("bundle", target).code == 0
    assert [line.split()[3] for line in members(target)] == ["1970-01-02"] * 2
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(8**11 - 1))
    assert ecsauth("bundle", target).code == 0
    assert len(members(target)) == 2


@pytest.mark.parametrize("text", ["-1", "1.5", "now", "²", str(8**11), "9" * 5000])
def test_invalid_date_is_refused(
    ecsauth: RunProgram, target: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    result = ecsauth("bundle", target)
    assert result.code == 2
    assert "SOURCE_DATE_EPOCH" in result.errors[0]
    assert not target.exists()


@pytest.mark.parametrize(
    "name", ["docker.io", f"{HOST}/app", f"{HOST}.evil.example", f"http://{HOST}"]
)
def test_registry_that_is_not_ecr_is_refused(ecsauth: RunProgram, target: Path, name: str) -> None:
    result = ecsauth("bundle", target, HOST, name)
    assert result.code == 2
    assert "is not the host of an ECR registry" in result.errors[0]
    assert list(target.parent.iterdir()) == []


def test_dry_run_writes_nothing(ecsauth: RunProgram, target: Path) -> None:
    result = ecsauth("bundle", target, "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert result.out == f'{target}: would be written: {{"credsStore": "ecr-login"}}\n'
    assert list(target.parent.iterdir()) == []
    ecsauth("bundle", target)
    assert ecsauth("bundle", target, "-n").out == f"{target}: up to date\n"
    result = ecsauth("bundle", "-", "-n")
    assert result.out.startswith("standard output: would be written: ")


def test_missing_directory_is_reported(ecsauth: RunProgram, tmp_path: Path) -> None:
    for options in ([], ["-n"]):
        result = ecsauth("bundle", tmp_path / "no" / "docker.tar.gz", *options)
        assert result.code == 4
        assert f"the directory {tmp_path}/no does not exist; create it first" in result.errors[0]


def test_directory_in_place_of_the_archive_is_reported(ecsauth: RunProgram, target: Path) -> None:
    target.mkdir()
    result = ecsauth("bundle", target)
    assert result.code == 4
    assert f"{target} is a directory" in result.errors[0]


def test_what_a_link_leads_to_is_replaced(ecsauth: RunProgram, target: Path) -> None:
    real = target.with_name("real")
    real.write_bytes(b"before")
    target.symlink_to(real)
    assert ecsauth("bundle", target).code == 0
    assert target.is_symlink()
    assert real.read_bytes() == archive(config_text(()))


def test_dash_is_standard_output() -> None:
    command = [sys.executable, "-m", "ecsauth", "bundle", "-", HOST]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == archive(config_text([HOST]))
    assert done.stderr == b""


def test_full_disk_is_reported() -> None:
    command = [sys.executable, "-m", "ecsauth", "bundle", "-"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 4
    assert b"standard output was not written" in done.stderr
