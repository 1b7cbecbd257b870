"""The command check on files, of which it mends one whole."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import b64, logins_in
from tests.builders import engine_auth_lines as lines
from tests.conftest import Result

A = {"auth": b64("alice:A")}
B = {"auth": b64("bob:B")}


def test_command_mends_a_file_whole_with_its_mode_and_its_previous_copy(
    ecsauth: Callable[..., Result], tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    before = b"# c\r\n" + lines("'dockercfg'", {"auths": {"a.io": A}})
    target.write_bytes(before)
    target.chmod(0o644)
    assert ecsauth("check", target).code == 7
    assert target.read_bytes() == before
    result = ecsauth("check", target, "--fix")
    assert result.code == 0
    assert "fixed" in result.out
    assert logins_in(target.read_bytes()) == {"a.io": ("alice", "A")}
    assert target.read_bytes().startswith(b"# c\r\n")
    assert target.stat().st_mode & 0o7777 == 0o600
    assert (tmp_path / "ecs.config.ecsauth-previous").read_bytes() == before
    inode = target.stat().st_ino
    again = ecsauth("check", target, "--fix")
    assert "mended" not in again.out
    assert target.stat().st_ino == inode


def test_command_on_real_files_of_the_host(ecsauth: Callable[..., Result], tmp_path: Path) -> None:
    etc, var = tmp_path / "etc/ecs", tmp_path / "var/lib/ecs"
    etc.mkdir(parents=True)
    var.mkdir(parents=True)
    target = etc / "ecs.config"
    target.write_bytes(b"ECS_CLUSTER=x\n")
    target.chmod(0o600)
    assert "pulls anonymously" in ecsauth("check", target).out
    (etc / "ecs.config.json").write_text(
        json.dumps({"EngineAuthType": "dockercfg", "EngineAuthData": {"a.io": A}})
    )
    assert "from another one" in ecsauth("check", target).out
    assert "user alice" in ecsauth("explain", "a.io/x", "--from", target).out
    (var / "ecs.config").write_bytes(lines("dockercfg", {"a.io": B}))
    found = json.loads(ecsauth("check", "--json", target).out)["findings"]
    assert [item["code"] for item in found] == ["elsewhere"]
    assert "user bob" in ecsauth("explain", "a.io/x", "--from", target).out


def test_command_reads_stdin_and_does_not_mend_it(
    ecsauth: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = lines("Docker", {"a.io": A})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bad)))
    assert ecsauth("check", "-").code == 7
    assert ecsauth("check", "-", "--fix").code == 2
