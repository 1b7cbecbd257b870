"""migrate as a user types it: the file, its copy, its mode, and the diff."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.builders import HOST, HUB, b64, logins_in
from tests.unit.cli.cases import AUTHS, ENV, LoginFile, RunProgram


def test_migrate_writes_a_new_file(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    result = ecsauth("migrate", login_file(AUTHS), "--to", target)
    assert result.code == 0
    assert target.read_text() == ENV
    assert target.stat().st_mode & 0o7777 == 0o600
    assert f"{target}: written: 2 registries" in result.out
    assert "ecsauth: next: the agent reads this only when it starts" in result.err
    assert "my_password" not in result.out + result.err


def test_migrate_keeps_the_file_and_its_previous_content(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    target.write_bytes(b"# c\r\nECS_CLUSTER=x\r\n\r\nodd")
    target.chmod(0o644)
    result = ecsauth("migrate", login_file(AUTHS), "--to", target)
    assert (
        target.read_bytes()
        == b"# c\r\nECS_CLUSTER=x\r\n\r\nodd\r\n" + ENV.replace("\n", "\r\n").encode()
    )
    previous = tmp_path / "ecs.config.ecsauth-previous"
    assert previous.read_bytes() == b"# c\r\nECS_CLUSTER=x\r\n\r\nodd"
    assert previous.stat().st_mode & 0o7777 == 0o600
    assert target.stat().st_mode & 0o7777 == 0o600
    assert "mode 0644" in result.err


def test_migrate_twice_writes_once(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    ecsauth("migrate", login_file(AUTHS), "--to", target)
    before = target.stat()
    result = ecsauth("migrate", login_file(AUTHS), "--to", target)
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (result.code, result.err) == (0, "")
    assert "up to date" in result.out
    assert not (tmp_path / "ecs.config.ecsauth-previous").exists()


def test_migrate_merges_and_replaces(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    ecsauth("migrate", login_file(AUTHS), "--to", target)
    other = login_file({"quay.io": {"auth": b64("u:new")}, "a.io": {"auth": b64("a:1")}}, "o.json")
    result = ecsauth("migrate", other, "--to", target)
    assert logins_in(target.read_bytes()) == {
        "index.docker.io/v1/": ("my_name", "my_password"),
        "quay.io": ("u", "new"),
        "a.io": ("a", "1"),
    }
    for words in "+ a.io", "~ quay.io", f"= {HUB}":
        assert words in result.out
    result = ecsauth("migrate", other, "--to", target, "--replace")
    assert logins_in(target.read_bytes()) == {"quay.io": ("u", "new"), "a.io": ("a", "1")}
    assert f"- {HUB}" in result.out


def test_migrate_dry_run_shows_a_redacted_diff_and_writes_nothing(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    old = {"quay.io": {"auth": b64("u:old-secret")}}
    ecsauth("migrate", login_file(old, "old.json"), "--to", target)
    before = {path: path.read_bytes() for path in tmp_path.glob("*ecs.config*")}
    result = ecsauth("migrate", login_file(AUTHS), "--to", target, "--dry-run")
    assert {path: path.read_bytes() for path in tmp_path.glob("*ecs.config*")} == before
    assert result.code == 0
    assert '-ECS_ENGINE_AUTH_DATA={"quay.io":{"auth":"***"}}' in result.out
    assert f'+ECS_ENGINE_AUTH_DATA={{"quay.io":{{"auth":"***"}},"{HUB}"' in result.out
    assert "would be written" in result.out
    for secret in "old-secret", "my_password", b64("u:old-secret"), b64("my_name:my_password"):
        assert secret not in result.out + result.err


def test_migrate_dry_run_makes_no_file_at_all(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    directory = tmp_path / "etc"
    directory.mkdir()
    assert ecsauth("migrate", login_file(AUTHS), "--to", directory / "ecs.config", "-n").code == 0
    assert list(directory.iterdir()) == []


def test_migrate_into_the_agents_json_file(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config.json"
    target.write_text('{"Cluster": "x"}')
    assert ecsauth("migrate", login_file(AUTHS), "--to", target).code == 0
    assert json.loads(target.read_text()) == {
        "Cluster": "x",
        "EngineAuthType": "dockercfg",
        "EngineAuthData": AUTHS,
    }
    assert "these settings too" not in ecsauth("migrate", login_file(AUTHS), "--to", target).err
    (tmp_path / "ecs.config").write_text(ENV)
    (tmp_path / "ecs.config").chmod(0o600)
    assert "has these settings too" in ecsauth("migrate", login_file(AUTHS), "--to", target).err


def test_migrate_to_stdout(ecsauth: RunProgram, login_file: LoginFile) -> None:
    result = ecsauth("migrate", login_file(AUTHS), "--to", "-")
    assert (result.code, result.out) == (0, ENV)
    assert "standard output: written: 2 registries" in result.err


def test_migrate_through_a_symlink_keeps_the_link(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "config"
    real.write_text("A=1\n")
    link = tmp_path / "ecs.config"
    link.symlink_to(real)
    assert ecsauth("migrate", login_file(AUTHS), "--to", link).code == 0
    assert link.is_symlink()
    assert real.read_text() == f"A=1\n{ENV}"


def test_migrate_narrows_the_mode_even_if_nothing_else_changes(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    ecsauth("migrate", login_file(AUTHS), "--to", target)
    target.chmod(0o644)
    dry = ecsauth("migrate", login_file(AUTHS), "--to", target, "-n")
    assert "chmod 600" in dry.err
    assert target.stat().st_mode & 0o7777 == 0o644
    result = ecsauth("migrate", login_file(AUTHS), "--to", target)
    assert "up to date" in result.out
    assert "(mode 0644); its mode is now 0600" in result.err
    assert target.stat().st_mode & 0o7777 == 0o600


def test_migrate_collapses_repeated_lines_even_if_the_last_one_is_right(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    target.write_text(f"ECS_ENGINE_AUTH_DATA=old-secret\nA=1\n{ENV}")
    assert ecsauth("migrate", login_file(AUTHS), "--to", target).code == 0
    assert target.read_text() == f"A=1\n{ENV}"


def test_migrate_refuses_to_lose_what_it_cannot_read(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    before = 'ECS_ENGINE_AUTH_TYPE=dockercfg ECS_ENGINE_AUTH_DATA={"a.io":{"auth":"dTpw"}}\n'
    target.write_text(before)
    dry = ecsauth("migrate", login_file(AUTHS), "--to", target, "--dry-run")
    assert dry.code == 4
    assert "dTpw" not in dry.out + dry.err
    result = ecsauth("migrate", login_file(AUTHS), "--to", target)
    assert result.code == 4
    assert "not overwritten" in result.err
    assert target.read_text() == before
    assert ecsauth("migrate", login_file(AUTHS), "--to", target, "--replace").code == 0
    assert target.read_text() == ENV


def test_migrate_finds_the_login_file(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(os.environ["HOME"])
    target = tmp_path / "ecs.config"
    (home / ".dockercfg").write_text(json.dumps({"old.io": {"auth": b64("u:p")}}))
    ecsauth("migrate", "--to", target)
    assert list(logins_in(target.read_bytes())) == ["old.io"]
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(
        json.dumps({"auths": {"new.io": {"auth": b64("u:p")}}})
    )
    ecsauth("migrate", "--to", target, "--replace")
    assert list(logins_in(target.read_bytes())) == ["new.io"]
    monkeypatch.setenv("DOCKER_CONFIG", str(login_file({"own.io": {"auth": b64("u:p")}}).parent))
    result = ecsauth("migrate", "--to", target, "--replace")
    assert list(logins_in(target.read_bytes())) == ["own.io"]
    assert "($DOCKER_CONFIG)" in result.err


def test_ordinary_ecr_registries_get_a_notice(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    ecr = {HOST: {"auth": b64("AWS:token")}}
    target = tmp_path / "ecs.config"
    alone = ecsauth("migrate", login_file(ecr), "--to", target)
    assert "the agent gets tokens for them by itself" in alone.err
    assert alone.code == 0
    assert "by itself" not in ecsauth("migrate", login_file(ecr), "--to", target, "--quiet").err
    mixed = ecsauth("convert", login_file({**ecr, **AUTHS}))
    assert "by itself" not in mixed.err
    public = ecsauth("convert", login_file({"public.ecr.aws": {"auth": b64("AWS:token")}}))
    assert "by itself" not in public.err


def test_replace_drops_nothing_when_a_login_could_not_be_fetched(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    ecsauth("migrate", login_file(AUTHS), "--to", target)
    mixed = login_file({"quay.io": {}, "a.io": {"auth": b64("a:1")}}, "mixed.json")
    result = ecsauth("migrate", mixed, "--to", target, "--replace")
    assert result.code == 3
    assert set(logins_in(target.read_bytes())) == {"index.docker.io/v1/", "quay.io", "a.io"}
    assert "nothing was dropped" in result.err


@pytest.mark.parametrize("name", ["config.json", "dockercfg"])
def test_login_file_as_target_is_refused(
    ecsauth: RunProgram, login_file: LoginFile, name: str
) -> None:
    path = login_file(AUTHS, name)
    before = path.read_bytes()
    result = ecsauth("migrate", path, "--to", path)
    assert result.code == 4
    assert path.read_bytes() == before
    assert "the target is a" in result.err


def test_previous_copy_survives_a_write_that_fails(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "ecs.config"
    target.write_text("first\n")
    ecsauth("migrate", login_file(AUTHS), "--to", target)
    previous = tmp_path / "ecs.config.ecsauth-previous"
    assert previous.read_text() == "first\n"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    other = login_file({"a.io": {"auth": b64("a:1")}}, "other.json")
    assert ecsauth("migrate", other, "--to", target).code == 4
    assert previous.read_text() == "first\n"


def test_swapped_source_and_target_are_recognised(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    target.write_text(ENV)
    assert "the target goes after --to" in ecsauth("migrate", target, "--to", target).err
    encoded = tmp_path / "secret"
    encoded.write_text(b64(login_file(AUTHS).read_text()))
    assert "base64 -d" in ecsauth("convert", encoded).err
