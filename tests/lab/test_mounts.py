"""Real file systems that refuse: full, read-only, a file that is a mount point."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builders import b64
from tests.conftest import Result, need_root

RunProgram = Callable[..., Result]
BEFORE = "ECS_CLUSTER=x\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB of our own."""
    need_root()
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)]
    subprocess.run(mount, check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_full_disk_keeps_the_old_file_and_a_freed_one_takes_the_new(
    ecsauth: RunProgram, login_file: Callable[..., Path], small_disk: Path
) -> None:
    target = small_disk / "ecs.config"
    target.write_text(BEFORE)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 40_000)
    login = login_file({"q.io": {"auth": b64("u:" + "p" * 30_000)}})
    result = ecsauth("migrate", login, "--to", target)
    assert result.code == 4
    assert len(result.err.splitlines()) == 1
    assert "No space left on device; free some space" in result.err
    assert target.read_text() == BEFORE
    assert not [name for name in names(small_disk) if name.endswith("-new")]
    filler.unlink()
    assert ecsauth("migrate", login, "--to", target).code == 0
    assert b64("u:" + "p" * 30_000) in target.read_text()


def test_read_only_file_system_is_named(
    ecsauth: RunProgram, login_file: Callable[..., Path], small_disk: Path
) -> None:
    target = small_disk / "ecs.config"
    target.write_text(BEFORE)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    result = ecsauth("migrate", login_file({"q.io": {"auth": b64("u:p")}}), "--to", target)
    assert result.code == 4
    assert "Read-only file system" in result.err
    assert names(small_disk) == {"ecs.config"}


def test_file_that_is_a_mount_point_says_what_to_mount(
    ecsauth: RunProgram, login_file: Callable[..., Path], small_disk: Path, tmp_path: Path
) -> None:
    target = small_disk / "ecs.config"
    target.write_text("")
    source = tmp_path / "outside"
    source.write_text(BEFORE)
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)
    try:
        result = ecsauth("migrate", login_file({"q.io": {"auth": b64("u:p")}}), "--to", target)
    finally:
        subprocess.run(["umount", str(target)], check=True)
    assert result.code == 4
    assert "mount its directory instead" in result.err
    assert source.read_text() == BEFORE
    assert not [name for name in names(small_disk) if name.endswith("-new")]
