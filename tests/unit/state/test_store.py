"""What is remembered between runs, and how often it is parsed and written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ecsauth.credentials.freshness import Lease, Leases, LoginRecord
from ecsauth.host import atomic_file
from ecsauth.state import store as store_module
from ecsauth.state.records import AgentRestarts, Delivery, RunHistory, TargetRecord
from ecsauth.state.store import StateStore

RECORD = TargetRecord(
    RunHistory(1, 0, 1, 1, {"q.io": "/root/.docker/config.json"}),
    Leases("salt", {"k": Lease("ecr:", 1, 2, "v", {"q.io": LoginRecord("d", 3)})}),
    Delivery(is_pending=True, read="r", written="w", before="b"),
    "digest etag",
)
EMPTY = TargetRecord(leases=Leases("new"))


def store_in(directory: Path) -> StateStore:
    return StateStore(directory, new_salt=lambda: "new")


def written(directory: Path, key: str, record: TargetRecord) -> bool:
    store = store_in(directory)
    store.put(key, record)
    return store.checkpoint()


def test_round_trip_of_several_targets_and_the_agent(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    assert written(directory, "/a", RECORD)
    assert written(directory, "/b", replace(EMPTY, history=RunHistory(last_run=2)))
    store = store_in(directory)
    store.agent = AgentRestarts(5, 1, 2, "i", "arn", "drained", confirm=True, times=(5, 7))
    assert store.checkpoint()
    again = store_in(directory)
    assert again.target("/a") == RECORD
    assert again.target("/b").history.last_run == 2
    assert again.target("/c") == EMPTY
    assert again.agent == AgentRestarts(5, 1, 2, "i", "arn", "drained", confirm=True, times=(5, 7))
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
    assert store_in(tmp_path).target("/a") == EMPTY
    assert written(tmp_path, "/a", RECORD)
    assert store_in(tmp_path).target("/a") == RECORD


def test_directory_that_cannot_be_written_keeps_the_state_for_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = store_in(tmp_path / "file" / "state")
    store.put("/a", RECORD)
    assert not store.checkpoint()
    assert not store.is_durable
    assert store.target("/a") == RECORD
    assert store_in(tmp_path / "file" / "state").target("/a") == EMPTY
    assert sorted(os.listdir(tmp_path)) == ["file", "home"]


def test_what_another_process_wrote_meanwhile_is_preserved(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.put("/a", RECORD)
    assert written(tmp_path, "/b", RECORD)
    assert written(tmp_path, "/a", EMPTY)
    assert store.checkpoint()
    assert store_in(tmp_path).target("/a") == RECORD
    assert store_in(tmp_path).target("/b") == RECORD


def test_file_is_parsed_once_and_written_only_for_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "/a", RECORD)
    calls = {"read": 0, "write": 0}

    def read(path: Path) -> atomic_file.FileState:
        calls["read"] += 1
        return atomic_file.read_state(path)

    def write(path: Path, data: bytes) -> None:
        calls["write"] += 1
        atomic_file.write_atomic(path, data)

    monkeypatch.setattr(store_module, "read_file", read)
    monkeypatch.setattr(store_module, "write_atomic", write)
    store = store_in(tmp_path)
    for number in range(3):
        store.put("/a", replace(RECORD, history=RunHistory(last_run=number)))
        assert store.checkpoint()
        store.put("/a", store.target("/a"))
        store.agent = store.agent
        assert store.checkpoint()  # nothing has changed
    assert calls == {"read": 1, "write": 3}
