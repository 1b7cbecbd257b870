"""The command install helper: a launcher that works, and docker's config."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth.token_cache.server import PROGRAM
from tests.builders import HOST, b64
from tests.conftest import Result, need_root
from tests.unit.cli.test_canary import FORMS, SECRET, assert_silent

RunProgram = Callable[..., Result]


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "bin"
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".docker" / "config.json"


def ask(bin_dir: Path, action: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(bin_dir / PROGRAM), action], input=text, capture_output=True, text=True, check=False
    )


def test_launcher_and_config_are_put_in_place(
    ecsauth: RunProgram, bin_dir: Path, config: Path
) -> None:
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, HOST, "public.ecr.aws")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        f"+ {bin_dir / PROGRAM}",
        f"~ {config}: credHelpers: set {HOST} to ecr-login",
        f"~ {config}: credHelpers: set public.ecr.aws to ecr-login",
    ]
    assert json.loads(config.read_text())["credHelpers"][HOST] == "ecr-login"
    assert config.stat().st_mode & 0o777 == 0o600
    assert config.parent.stat().st_mode & 0o777 == 0o700
    assert (bin_dir / PROGRAM).stat().st_mode & 0o777 == 0o755
    done = ask(bin_dir, "version")
    assert (done.returncode, done.stderr) == (0, "")
    assert "(ecsauth)" in done.stdout
    assert ask(bin_dir, "get", "docker.io").stdout == "credentials not found in native keychain\n"
    assert shutil.which(PROGRAM) == str(bin_dir / PROGRAM)


def test_launcher_runs_no_module_of_the_directory_that_it_is_called_in(
    ecsauth: RunProgram, bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    for name in ("ecsauth.py", "json.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "(ecsauth)" in ask(bin_dir, "version").stdout


def test_second_time_there_is_nothing_to_do(
    ecsauth: RunProgram, bin_dir: Path, config: Path
) -> None:
    ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    before = (config.read_bytes(), config.stat().st_ino, (bin_dir / PROGRAM).stat().st_ino)
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, HOST.upper())
    assert (result.code, result.out) == (0, "nothing to do\n")
    assert (config.read_bytes(), config.stat().st_ino, (bin_dir / PROGRAM).stat().st_ino) == before


def test_dry_run_changes_nothing(ecsauth: RunProgram, bin_dir: Path, config: Path) -> None:
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, "--store", HOST, "-n")
    assert result.code == 0
    assert f"+ {bin_dir / PROGRAM}" in result.out
    assert f"~ {config}: credsStore: set to ecr-login" in result.out
    assert not bin_dir.exists()
    assert not config.parent.exists()
    ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    before = sorted(bin_dir.iterdir()), config.read_bytes()
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, "--uninstall", "-n")
    assert result.out.splitlines() == [
        f"~ {config}: credHelpers: remove {HOST}",
        f"- {bin_dir / PROGRAM}",
    ]
    assert (sorted(bin_dir.iterdir()), config.read_bytes()) == before


def test_uninstall_takes_everything_back(ecsauth: RunProgram, bin_dir: Path, config: Path) -> None:
    config.parent.mkdir()
    config.write_text('{"psFormat":"x"}')
    ecsauth("install", "helper", "--bin-dir", bin_dir, "--store", HOST)
    assert ask(bin_dir, "version").returncode == 0
    assert ecsauth("install", "helper", "--bin-dir", bin_dir, "--uninstall").code == 0
    assert json.loads(config.read_text()) == {"psFormat": "x"}
    assert list(bin_dir.iterdir()) == []
    again = ecsauth("install", "helper", "--bin-dir", bin_dir, "--uninstall")
    assert (again.code, again.out) == (0, "nothing to do\n")


def test_uninstall_of_one_registry_keeps_the_program(
    ecsauth: RunProgram, bin_dir: Path, config: Path
) -> None:
    ecsauth("install", "helper", "--bin-dir", bin_dir, HOST, "public.ecr.aws")
    ecsauth("install", "helper", "--bin-dir", bin_dir, "--uninstall", HOST)
    assert json.loads(config.read_text()) == {"credHelpers": {"public.ecr.aws": "ecr-login"}}
    assert (bin_dir / PROGRAM).exists()


def test_foreign_program_is_renamed_and_restored_by_uninstall(
    ecsauth: RunProgram, bin_dir: Path
) -> None:
    bin_dir.mkdir()
    program = bin_dir / PROGRAM
    program.write_text("#!/bin/sh\necho theirs\n")
    program.chmod(0o755)
    refused = ecsauth("install", "helper", "--bin-dir", bin_dir, "--uninstall")
    assert "is not from ecsauth, and is kept" in refused.err
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    assert f"it is renamed to {PROGRAM}.ecsauth-previous" in result.err
    assert "(ecsauth)" in ask(bin_dir, "version").stdout
    gone = ecsauth("install", "helper", "--bin-dir", bin_dir, "--uninstall")
    assert f"+ {program} (the previous one)" in gone.out
    assert ask(bin_dir, "version").stdout == "theirs\n"
    assert [path.name for path in bin_dir.iterdir()] == [PROGRAM]


def test_program_behind_a_link_is_not_written_over(
    ecsauth: RunProgram, bin_dir: Path, tmp_path: Path
) -> None:
    bin_dir.mkdir()
    shared = tmp_path / "multi-call"
    shared.write_text("#!/bin/sh\necho theirs\n")
    shared.chmod(0o755)
    (bin_dir / PROGRAM).symlink_to(shared)
    ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    assert "theirs" in shared.read_text()
    assert "(ecsauth)" in ask(bin_dir, "version").stdout
    ecsauth("install", "helper", "--bin-dir", bin_dir, "--uninstall")
    assert (bin_dir / PROGRAM).readlink() == shared


def test_users_see_nothing_of_our_environment(
    ecsauth: RunProgram, bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    spy = tmp_path / "python"
    spy.write_text(f'#!/bin/sh\nenv > {seen}\nexec {sys.executable} "$@"\n')
    spy.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(spy))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert ecsauth("install", "helper", "--bin-dir", bin_dir, HOST).code == 0
    assert "HOME=" in seen.read_text()
    assert SECRET not in seen.read_text()


@pytest.mark.parametrize("text", ['{"auths":{},"auths":{}}', '{"credHelpers":{},"CredHelpers":{}}'])
def test_duplicate_member_is_refused(
    ecsauth: RunProgram, bin_dir: Path, config: Path, text: str
) -> None:
    config.parent.mkdir()
    config.write_text(text)
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    assert result.code == 4
    assert "more than one" in result.err
    assert config.read_text() == text


def test_new_bin_dir_is_open_to_all_whatever_the_umask(ecsauth: RunProgram, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        ecsauth("install", "helper", "--bin-dir", tmp_path / "a" / "b", HOST)
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / PROGRAM):
        assert path.stat().st_mode & 0o777 == 0o755


def test_named_user_is_meant_whatever_home_says(
    ecsauth: RunProgram,
    bin_dir: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    me = pwd.getpwuid(os.geteuid())
    mine = pwd.struct_passwd((*me[:5], str(tmp_path / "mine"), me[6]))
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(pwd, "getpwnam", lambda _: mine)
    ecsauth("install", "helper", "--bin-dir", bin_dir, "--user", me.pw_name, HOST)
    assert (tmp_path / "mine" / ".docker" / "config.json").exists()
    assert not config.exists()


def test_removed_login_is_not_kept_in_the_previous_copy(
    ecsauth: RunProgram, bin_dir: Path, config: Path
) -> None:
    config.parent.mkdir()
    config.write_text(json.dumps({"auths": {HOST: {"auth": b64(f"AWS:{SECRET}")}}}))
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    assert "warning" in result.err
    assert "--logout" in result.err
    assert_silent(result.out + result.err)
    assert config.with_name("config.json.ecsauth-previous").exists()
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, "--logout", HOST)
    assert f"auths: remove the login for {HOST}" in result.out
    assert_silent(result.out + result.err)
    for path in config.parent.iterdir():
        assert not any(form in path.read_text() for form in FORMS), path


def test_config_that_docker_cannot_read_is_left_alone(
    ecsauth: RunProgram, bin_dir: Path, config: Path
) -> None:
    config.parent.mkdir()
    config.write_text(f"{{{SECRET}")
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    assert result.code == 4
    assert len(result.errors) == 1
    assert_silent(result.out + result.err)
    assert config.read_text() == f"{{{SECRET}"


def test_docker_config_variable_names_the_directory(
    ecsauth: RunProgram, bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "elsewhere"))
    ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    assert json.loads((tmp_path / "elsewhere" / "config.json").read_text())["credHelpers"]


@pytest.mark.parametrize("name", ["q.io", f"https://{HOST}", f"{HOST}/app", "", f"{HOST}:443"])
def test_registry_that_is_not_ecr_is_a_usage_error(
    ecsauth: RunProgram, bin_dir: Path, name: str
) -> None:
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, name)
    assert result.code == 2
    assert not bin_dir.exists()


def test_other_store_is_not_replaced(ecsauth: RunProgram, bin_dir: Path, config: Path) -> None:
    config.parent.mkdir()
    config.write_text('{"credsStore":"pass"}')
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, "--store")
    assert result.code == 4
    assert "credsStore is already set to pass" in result.err
    assert config.read_text() == '{"credsStore":"pass"}'


def test_other_helper_first_on_path_gives_a_warning(
    ecsauth: RunProgram, tmp_path: Path, helpers: Callable[[str, str], Path]
) -> None:
    helpers("ecr-login", "exit 1")
    result = ecsauth("install", "helper", "--bin-dir", tmp_path / "bin", HOST)
    assert f"{tmp_path / 'helpers' / PROGRAM} comes first on PATH" in result.err


def test_without_a_registry_the_next_step_is_printed(ecsauth: RunProgram, bin_dir: Path) -> None:
    result = ecsauth("install", "helper", "--bin-dir", bin_dir)
    assert result.code == 0
    assert "name the registries to use it for, or give --store for all" in result.err


def test_unknown_user_is_a_usage_error(ecsauth: RunProgram, bin_dir: Path) -> None:
    assert ecsauth("install", "helper", "--bin-dir", bin_dir, "--user", "no-such", HOST).code == 2


def test_bin_dir_that_cannot_be_created_is_reported(ecsauth: RunProgram, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = ecsauth("install", "helper", "--bin-dir", tmp_path / "file" / "bin", HOST)
    assert result.code == 4
    assert len(result.errors) == 1


class TestAnotherUser:
    """As root for another user: with his rights, not with ours."""

    @pytest.fixture
    def nobody(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Give the user `nobody` a home, and us an interpreter that he may run."""
        need_root()
        home = tmp_path / "nobody"
        home.mkdir()
        entry = pwd.getpwnam("nobody")
        os.chown(home, entry.pw_uid, entry.pw_gid)
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_uid == 0 and str(folder) not in ("/", "/tmp"):
                folder.chmod(folder.stat().st_mode | 0o011)
        changed = pwd.struct_passwd((*entry[:5], str(home), entry[6]))
        monkeypatch.setattr(pwd, "getpwnam", lambda _: changed)
        monkeypatch.setattr("ecsauth.app.install_helper.check_command", lambda *_: None)
        return home

    def test_config_becomes_his(self, ecsauth: RunProgram, bin_dir: Path, nobody: Path) -> None:
        result = ecsauth("install", "helper", "--bin-dir", bin_dir, "--user", "nobody", HOST)
        assert (result.code, result.err) == (0, "")
        path = nobody / ".docker" / "config.json"
        uid = nobody.stat().st_uid
        assert {item.stat().st_uid for item in (path, path.parent)} == {uid}
        assert (bin_dir / PROGRAM).stat().st_uid == 0
        assert os.geteuid() == 0

    def test_his_link_leads_to_nothing_of_ours(
        self, ecsauth: RunProgram, bin_dir: Path, nobody: Path, tmp_path: Path
    ) -> None:
        ours = tmp_path / "root-only"
        ours.mkdir(mode=0o700)
        (ours / "config.json").write_text("{}")
        (nobody / ".docker").symlink_to(ours)
        result = ecsauth("install", "helper", "--bin-dir", bin_dir, "--user", "nobody", HOST)
        assert result.code == 4
        assert len(result.errors) == 1
        assert (ours / "config.json").read_text() == "{}"
        assert os.geteuid() == 0


def test_interpreter_that_the_user_may_not_run_is_refused(
    ecsauth: RunProgram, bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    result = ecsauth("install", "helper", "--bin-dir", bin_dir, HOST)
    assert result.code == 4
    assert "install ecsauth where every user can read it, such as /opt/ecsauth" in result.err
    assert not bin_dir.exists()
