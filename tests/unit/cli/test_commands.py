"""What holds for all commands: their arguments, variables, groups, and whose files they read."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth import __version__
from ecsauth.agent import platform
from ecsauth.agent.restart.policy import RestartPolicy
from ecsauth.agent.restart.ports import AgentOutcome, RestartHistory
from ecsauth.app.agent import AgentRestartRequest, AgentRestartResult
from ecsauth.app.install import install_units
from ecsauth.cli.commands import agent
from ecsauth.host.accounts import Account, account_of
from ecsauth.sources.default_file import find_login_file
from ecsauth.state.store import StateStore
from tests.builders import b64, logins_in
from tests.unit.cli.cases import AUTHS, LoginFile, RunProgram


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", "%"],
        ["convert", "env:%"],
        ["migrate", "%"],
        ["migrate", "/x", "--to", "%"],
        ["check", "%"],
        ["explain", "nginx", "--from", "%/x"],
        ["verify", "%"],
        ["migrate", "a", "%"],
        ["convert", "--format", "%", "a"],
        ["convert", "--%", "a"],
        ["%"],
    ],
)
def test_login_file_s_text_in_place_of_its_name_is_not_echoed(
    ecsauth: RunProgram, arguments: list[str]
) -> None:
    text = json.dumps({"auths": {"a.io": {"auth": b64("u:hunter2")}}})
    result = ecsauth(*[item.replace("%", text) for item in arguments])
    assert result.code == 2
    assert b64("u:hunter2") not in result.out + result.err


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("how", ["default", "DOCKER_CONFIG", "named"])
def test_helper_runs_as_the_owner_of_the_login_file_however_it_was_found(
    ecsauth: RunProgram,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    helpers: Callable[[str, str], Path],
    how: str,
) -> None:
    nobody = pwd.getpwnam("nobody")
    for directory in (tmp_path, *tmp_path.parents):
        if directory != Path("/") and directory.stat().st_mode & 0o077 == 0:
            directory.chmod(0o755)
    log = helpers("who", """echo '{"Username":"'$(id -un)'","Secret":"p"}'""")
    log.touch()
    log.chmod(0o666)
    directory = tmp_path / "theirs" / ".docker"
    directory.mkdir(parents=True)
    path = directory / "config.json"
    path.write_text(json.dumps({"auths": {"a.io": {}}, "credHelpers": {"a.io": "who"}}))
    os.chown(path, nobody.pw_uid, nobody.pw_gid)
    if how == "default":
        monkeypatch.setenv("HOME", str(directory.parent))
    if how == "DOCKER_CONFIG":
        monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    target = tmp_path / "ecs.config"
    result = ecsauth("migrate", *([path] if how == "named" else []), "--to", target)
    assert result.code == 0, result
    assert logins_in(target.read_bytes()) == {"a.io": ("nobody", "p")}
    os.chown(path, 0, 0)
    ecsauth("migrate", *([path] if how == "named" else []), "--to", target)
    assert logins_in(target.read_bytes()) == {"a.io": ("root", "p")}


@pytest.mark.usefixtures("as_root")
def test_unreadable_home_is_not_reported_as_a_bug(
    ecsauth: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "locked"
    (home / ".docker").mkdir(parents=True)
    home.chmod(0o700)
    monkeypatch.setenv("HOME", str(home))
    os.seteuid(65534)
    try:
        result = ecsauth("migrate", "--to", "/nowhere/x")
    finally:
        os.seteuid(0)
    assert result.code == 3
    assert "Permission denied" in result.err
    assert "sudo" in result.err


def _under_sudo(tmp_path: Path, own: bool, callers: bool) -> tuple[dict[str, str], Account]:
    for home, present in (("root", own), ("ann", callers)):
        (tmp_path / home / ".docker").mkdir(parents=True)
        if present:
            (tmp_path / home / ".docker" / "config.json").write_text("{}")
    environment = {"HOME": str(tmp_path / "root"), "SUDO_USER": "ann"}
    return environment, Account("ann", 1000, 1000, str(tmp_path / "ann"))


@pytest.mark.parametrize(
    ("own", "callers", "taken", "words"),
    [
        (True, False, "root", "login file is"),
        (True, True, "root", "of ann, name it"),
        (False, True, "ann", "of ann, who called sudo"),
    ],
)
def test_under_sudo_the_login_file_and_its_user_are_named(
    tmp_path: Path, own: bool, callers: bool, taken: str, words: str
) -> None:
    environment, ann = _under_sudo(tmp_path, own, callers)
    found = find_login_file(environment, {"ann": ann}.get)
    assert found.path == tmp_path / taken / ".docker" / "config.json"
    assert words in found.note


def test_without_sudo_only_the_login_file_is_named(tmp_path: Path) -> None:
    environment, _ = _under_sudo(tmp_path, own=True, callers=True)
    del environment["SUDO_USER"]
    note = find_login_file(environment, lambda _: None).note
    assert note == f"the login file is {tmp_path}/root/.docker/config.json"


def test_account_of_the_system() -> None:
    entry = pwd.getpwuid(0)
    assert account_of(entry.pw_name) == Account(entry.pw_name, 0, 0, entry.pw_dir)
    assert account_of("no-such-user-here") is None


def test_options_have_variables(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "ecs.config"
    monkeypatch.setenv("ECSAUTH_TARGETS", str(target))
    monkeypatch.setenv("ECSAUTH_FORMAT", "docker")
    assert ecsauth("migrate", login_file(AUTHS)).code == 0
    assert target.read_text().startswith("ECS_ENGINE_AUTH_TYPE=docker\n")
    assert ecsauth("migrate", login_file(AUTHS), "--format=dockercfg").code == 0
    assert target.read_text().startswith("ECS_ENGINE_AUTH_TYPE=dockercfg\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["convert"],
        ["convert", "--format=json", "f"],
        ["convert", "--nonsense", "f"],
        ["convert", "nonsense:x"],
        ["convert", "--helper-timeout=nan", "f"],
        ["refresh", "--recheck=nan", "f"],
        ["refresh", "--recheck=inf", "f"],
        ["refresh", "--recheck=1e12", "f"],
        ["refresh"],
        ["refresh", "f", "--to", "-"],
        ["run", "--every=nan", "f"],
        ["run", "--jitter=nan", "f"],
        ["convert", "ecr:nonsense"],
        ["convert", "ecr:us-west-2?nonsense=1"],
        ["convert", "ecr:us-west-2?region=us-west-1"],
        ["convert", "ecr:?region=x"],
        ["convert", "ecr:?profile=a&profile=b"],
        ["convert", "ecr-public:x"],
        ["convert", "secretsmanager:"],
        ["convert", "ssm:a?registry=-"],
        ["convert", "ssm:a b"],
        ["convert", "--raw", "ecr:us-west-2"],
        ["convert", ""],
        ["convert", "--raw", "a", "b"],
        ["migrate", "a", "b"],
        ["migrate", "f", "--to", "s3://bucket/key"],
        ["migrate", "f", "--to", ""],
        ["migrate", "f", "--to", "a", "--to", "b"],
        ["convert", "-", "-"],
        ["migrate", "f", "--lock-timeout=-1"],
        ["migrate", "f", "--helper-timeout=soon"],
    ],
)
def test_usage_errors_are_one_line_and_exit_2(ecsauth: RunProgram, arguments: list[str]) -> None:
    result = ecsauth(*arguments)
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert result.err.startswith("ecsauth: error: ")


def test_no_command_prints_help_and_exits_2(ecsauth: RunProgram) -> None:
    result = ecsauth()
    assert (result.code, result.out) == (2, "")
    assert "convert" in result.err
    assert "\\n" not in result.err


def test_version_and_help(ecsauth: RunProgram) -> None:
    assert ecsauth("--version").out == f"ecsauth {__version__}\n"
    for arguments in (["--help"], ["-h"], ["convert", "--help"], ["migrate", "-h"]):
        result = ecsauth(*arguments)
        assert (result.code, result.err) == (0, "")
        assert "Usage: ecsauth" in result.out


def test_names_are_printed_without_terminal_escapes(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    user = "\u202eu\u00e9"
    result = ecsauth(
        "migrate", login_file({"a.io": {"auth": b64(f"{user}:p")}}), "--to", tmp_path / "c"
    )
    assert result.code == 0
    assert "\\u202eu\u00e9" in result.out
    assert "\u202e" not in result.out
    bad = ecsauth("convert", login_file({"\x1b[31mred": {"auth": b64("u:p")}}))
    assert bad.code == 3
    assert "\x1b" not in bad.err


def test_refresh_ends_with_the_worst_of_its_targets(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    login = login_file({"q.io": {"auth": b64("u:p")}})
    good, bad = tmp_path / "ecs.config", tmp_path / "absent" / "ecs.config"
    for targets in ([good, bad], [bad, good]):
        result = ecsauth("refresh", login, *(f"--to={target}" for target in targets))
        assert result.code == 4
        assert f"{bad}: the directory" in result.err
        assert "q.io" in good.read_text()
        good.unlink()


def test_refresh_verifies_first(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path, closed_port: int
) -> None:
    registry = f"127.0.0.1:{closed_port}"
    login = login_file({registry: {"auth": b64("u:p")}})
    target = tmp_path / "ecs.config"
    result = ecsauth("refresh", login, "--to", target, "--verify", "--verify-timeout=1")
    assert f"{registry} is" in result.err
    assert "not verified" in result.err


def test_refresh_waits_for_another_only_so_long(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    login = login_file({"q.io": {"auth": b64("u:p")}})
    target, state = tmp_path / "ecs.config", tmp_path / "state"
    with StateStore(state).run_lock(1):
        result = ecsauth("refresh", login, "--to", target, "--lock-timeout=0.1")
    assert result.code == 4
    assert "has held its lock for 0.1 s" in result.err
    assert not target.exists()
    assert ecsauth("refresh", login, "--to", target).code == 0


def test_install_units_needs_systemd(ecsauth: RunProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_units, "__defaults__", (None, Path("/nonexistent")))
    done = ecsauth("install", "units")
    assert done.code == 4
    assert "systemd does not run here" in done.err


@pytest.mark.parametrize("group", ["agent", "install"])
def test_group_alone_shows_its_commands(ecsauth: RunProgram, group: str) -> None:
    done = ecsauth(group)
    assert done.code == 2
    assert done.err.startswith(f"Usage: ecsauth {group} ")
    assert "\nCommands:\n" in done.err


@pytest.mark.parametrize("command", ["refresh", "migrate", "agent restart", "agent status"])
def test_bottlerocket_is_told_by_every_command_that_concerns_its_file(
    ecsauth: RunProgram, monkeypatch: pytest.MonkeyPatch, login_file: LoginFile, command: str
) -> None:
    monkeypatch.setattr(platform, "_is_bottlerocket", lambda _: True)
    login = [] if "agent" in command else [login_file({"q.io": {"auth": b64("u:p")}})]
    done = ecsauth(*command.split(), *login)
    assert done.code == 4
    assert "this is Bottlerocket" in done.err


@pytest.mark.parametrize("restart", ["never", "auto"])
def test_restart_never_in_the_settings_does_not_stop_agent_restart(
    ecsauth: RunProgram, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, restart: str
) -> None:
    asked: list[RestartPolicy] = []

    def note(request: AgentRestartRequest, _: object) -> AgentRestartResult:
        asked.append(request.restart)
        return AgentRestartResult("x", AgentOutcome(False, RestartHistory()), True)

    monkeypatch.setattr(agent, "restart_agent", note)
    monkeypatch.setenv("ECSAUTH_RESTART", restart)
    assert ecsauth("agent", "restart", tmp_path / "x").code == 0
    ecsauth("agent", "restart", tmp_path / "x", "--restart=never")
    assert [policy.when for policy in asked] == ["auto", "never"]
