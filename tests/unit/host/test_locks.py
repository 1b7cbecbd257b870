"""One writer of a file at a time."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from ecsauth.errors import LockTimeoutError, TargetError
from ecsauth.host.locks import locked


def _hold(path: Path, ready: Event, release: Event) -> None:
    with locked(path, 5):
        ready.set()
        release.wait(60)


def test_second_writer_waits_then_gets_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(tmp_path / "f", ready, release))
    child.start()
    assert ready.wait(30)

    def sleep(seconds: float) -> None:
        release.set()
        time.sleep(seconds)

    with locked(tmp_path / "f", 30, sleep=sleep):
        assert release.is_set()
    child.join()
    assert child.exitcode == 0


def test_lock_timeout_names_the_holder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=_hold, args=(tmp_path / "f", ready, context.Event()))
    child.start()
    assert ready.wait(30)
    now = [0.0]
    try:
        with (
            pytest.raises(LockTimeoutError, match=f"process {child.pid} has held"),
            locked(
                tmp_path / "f", 2, clock=lambda: now[0], sleep=lambda s: now.append(now.pop() + s)
            ),
        ):
            pass
        assert now[0] >= 2
    finally:
        child.kill()
        child.join()
    with locked(tmp_path / "f", 0):  # the kernel let go of it
        pass


def test_lock_file_is_private_and_no_symlink_is_followed(tmp_path: Path) -> None:
    with locked(tmp_path / "f", 0):
        assert stat.S_IMODE((tmp_path / ".f.ecsauth-lock").stat().st_mode) == 0o600
    (tmp_path / ".g.ecsauth-lock").symlink_to(tmp_path / "victim")
    with pytest.raises(TargetError), locked(tmp_path / "g", 0):
        pass
    assert not (tmp_path / "victim").exists()


def test_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    words = "f cannot be locked: No locks available"
    with pytest.raises(TargetError, match=words) as caught, locked(tmp_path / "f", 1):
        pass
    assert caught.value.reference == "target-no-locks"


@pytest.mark.usefixtures("as_root")
def test_lock_that_another_user_has_made_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / ".f.ecsauth-lock"
    lock.touch()
    os.chown(lock, 12345, 12345)
    with locked(tmp_path / "f", 0):
        pass
    tmp_path.chmod(0o1777)
    words = r"lock belongs to another user \(uid 12345\)"
    with pytest.raises(TargetError, match=words), locked(tmp_path / "f", 0):
        pass
