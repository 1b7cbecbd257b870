"""What is remembered between runs, and how little depends on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecsauth.state import TargetState, read_state, write_state

STATE = TargetState(1, 0, 1, 1, {"q.io": "/root/.docker/config.json"})


def test_round_trip_of_several_targets(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    assert write_state(directory, "/a", STATE)
    assert write_state(directory, "/b", TargetState(last_run=2))
    assert read_state(directory, "/a") == STATE
    assert read_state(directory, "/b") == TargetState(last_run=2)
    assert read_state(directory, "/c") == TargetState()
    assert directory.stat().st_mode & 0o7777 == 0o700
    assert (directory / "state.json").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 2, "targets": {"/a": {"last_run": 5}}}',
        '{"version": 1}',
        '{"version": 1, "targets": {"/a": 5}}',
        '{"version": 1, "targets": []}',
        '{"version": 1, "targets": {"/a": {"last_run": "x", "sources": [1]}}}',
        "\ud800",
    ],
)
def test_torn_or_foreign_state_is_an_empty_one_and_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert read_state(tmp_path, "/a") == TargetState()
    assert write_state(tmp_path, "/a", STATE)
    assert read_state(tmp_path, "/a") == STATE


def test_directory_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not write_state(tmp_path / "file" / "state", "/a", STATE)
    assert read_state(tmp_path / "file" / "state", "/a") == TargetState()
    assert sorted(os.listdir(tmp_path)) == ["file", "home"]
