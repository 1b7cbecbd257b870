"""One process asks AWS, and the others wait for its answer."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from ecsauth.token_cache.flight import WAIT_SECONDS, fly
from tests.unit.fakes import Ticks


def locked_files(path: Path, count: int) -> list[int]:
    return [os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for _ in range(count)]


def test_follower_returns_the_result_of_the_leader(tmp_path: Path) -> None:
    leader, follower = locked_files(tmp_path / "lock", 2)
    fcntl.flock(leader, fcntl.LOCK_EX)
    time, answers = Ticks(), iter([None, None, "token"])
    found = fly(follower, lambda: next(answers), lambda: "own", clock=time, sleep=time.sleep)
    assert found == "token"
    assert len(time.pauses) == 2
    os.close(leader)


def test_follower_asks_when_the_leader_has_died(tmp_path: Path) -> None:
    leader, follower = locked_files(tmp_path / "lock", 2)
    fcntl.flock(leader, fcntl.LOCK_EX)
    time = Ticks()

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if len(time.pauses) == 3:
            os.close(leader)

    assert fly(follower, lambda: None, lambda: "own", clock=time, sleep=sleep) == "own"
    assert time.now < 0.1


def test_follower_of_a_stuck_leader_asks_after_the_wait(tmp_path: Path) -> None:
    leader, follower = locked_files(tmp_path / "lock", 2)
    fcntl.flock(leader, fcntl.LOCK_EX)
    time = Ticks()
    found = fly(follower, lambda: None, lambda: "own", clock=time, sleep=time.sleep)
    assert found == "own"
    assert WAIT_SECONDS <= time.now < WAIT_SECONDS + 1
    assert max(time.pauses) <= 0.1
    os.close(leader)


def test_leader_peeks_again_before_it_asks(tmp_path: Path) -> None:
    (descriptor,) = locked_files(tmp_path / "lock", 1)

    def never() -> str:
        raise AssertionError

    assert fly(descriptor, lambda: "token", never) == "token"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_flight_without_a_lock_asks() -> None:
    answers: Iterable[str] = iter(["own"])
    assert fly(None, lambda: "token", lambda: next(iter(answers))) == "own"
