"""convert and migrate as a user types them."""

from __future__ import annotations

import io
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth import __version__
from ecsauth.agent import platform
from ecsauth.agent.restart.policy import RestartPolicy
from ecsauth.agent.restart.ports import AgentOutcome, RestartHistory
from ecsauth.app.agent import AgentRestartRequest, AgentRestartResult
from ecsauth.app.install import install_units
from ecsauth.cli import program as cli
from ecsauth.cli.commands import agent, convert
from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.env_file import read_engine_auth
from ecsauth.host.accounts import Account, account_of
from ecsauth.host.signals import signals_held_off
from ecsauth.sources.default_file import find_login_file
from ecsauth.state.store import StateStore
from tests.builders import HUB, b64
from tests.conftest import Result

RunProgram = Callable[..., Result]
LoginFile = Callable[..., Path]
AUTHS = {HUB: {"auth": b64("my_name:my_password"), "email": "e@x"}, "quay.io": {"auth": b64("u:p")}}
ENV = (
    "ECS_ENGINE_AUTH_TYPE=dockercfg\n"
    f'ECS_ENGINE_AUTH_DATA={{"{HUB}":{{"auth":"bXlfbmFtZTpteV9wYXNzd29yZA==","email":"e@x"}},'
    '"quay.io":{"auth":"dTpw"}}\n'
)


def logins(path: Path) -> dict[str, tuple[str, ...]]:
    view = decode(read_engine_auth(path.read_bytes()))
    assert not view.fault
    return {item.match: item.login[:2] for item in view.credentials}


def test_convert_prints_the_two_settings(ecsauth: RunProgram, login_file: LoginFile) -> None:
    result = ecsauth("convert", login_file(AUTHS))
    assert (result.code, result.out, result.err) == (0, ENV, "")


def test_convert_data_is_the_value_alone(ecsauth: RunProgram, login_file: LoginFile) -> None:
    result = ecsauth("convert", "--output", "data", login_file(AUTHS))
    assert result.out == ENV.splitlines()[1].partition("=")[2] + "\n"


def test_convert_agent_json(ecsauth: RunProgram, login_file: LoginFile) -> None:
    document = json.loads(ecsauth("convert", "--output=agent-json", login_file(AUTHS)).out)
    assert document == {"EngineAuthType": "dockercfg", "EngineAuthData": AUTHS}


def test_convert_docker_decodes_auth_and_keeps_email(
    ecsauth: RunProgram, login_file: LoginFile
) -> None:
    result = ecsauth("convert", "--format=docker", "--output=data", login_file(AUTHS))
    assert json.loads(result.out) == {
        HUB: {"username": "my_name", "password": "my_password", "email": "e@x"},
        "quay.io": {"username": "u", "password": "p"},
    }


def test_convert_takes_several_sources_and_the_later_wins(
    ecsauth: RunProgram, login_file: LoginFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = login_file({"a.io": {"auth": b64("a:1")}, "b.io": {"auth": b64("b:1")}}, "one.json")
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"b.io": {"auth": b64("b:2")}}}))
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps({"c.io": {"auth": b64("c:3")}}).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    result = ecsauth(
        "convert", "--output=data", f"docker-config:{one}", "env:DOCKER_AUTH_CONFIG", "-"
    )
    assert json.loads(result.out) == {
        "a.io": {"auth": b64("a:1")},
        "b.io": {"auth": b64("b:2")},
        "c.io": {"auth": b64("c:3")},
    }
    assert "b.io: using the login of env:DOCKER_AUTH_CONFIG" in result.err


def test_convert_reads_a_process_substitution(login_file: LoginFile) -> None:
    command = f"{sys.executable} -m ecsauth convert <(cat {login_file(AUTHS)})"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, ENV, "")


def test_convert_failing_source_does_not_stop_the_others(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    result = ecsauth("convert", tmp_path / "absent", login_file(AUTHS))
    assert (result.code, result.out) == (3, ENV)
    assert len(result.errors) == 1


def test_convert_raw_repairs_nothing(ecsauth: RunProgram, login_file: LoginFile) -> None:
    auths = {"docker.io": {"auth": "dTpwcA"}, "x": "ü\x7f", "n": [1, None, True]}
    result = ecsauth("convert", "--raw", "--output=data", login_file(auths))
    assert result.out == '{"docker.io":{"auth":"dTpwcA"},"x":"ü\\u007f","n":[1,null,true]}\n'
    assert "the agent reads no login from this" in result.err
    assert result.code == 0


def test_convert_raw_env(ecsauth: RunProgram, login_file: LoginFile) -> None:
    assert ecsauth("convert", "--raw", login_file(AUTHS)).out == ENV
    picked = ecsauth("convert", "--raw", "--select", 'auths."quay.io"', login_file(AUTHS))
    assert '{"auth":"dTpw"}' in picked.out


def test_convert_select(ecsauth: RunProgram, login_file: LoginFile) -> None:
    path = login_file(None, prod={"logins": AUTHS})
    assert ecsauth("convert", "--select", "prod.logins", path).out == ENV


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
    assert logins(target) == {
        "index.docker.io/v1/": ("my_name", "my_password"),
        "quay.io": ("u", "new"),
        "a.io": ("a", "1"),
    }
    for words in "+ a.io", "~ quay.io", f"= {HUB}":
        assert words in result.out
    result = ecsauth("migrate", other, "--to", target, "--replace")
    assert logins(target) == {"quay.io": ("u", "new"), "a.io": ("a", "1")}
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
    assert (dry.code, "dTpw" in dry.out + dry.err) == (4, False)
    result = ecsauth("migrate", login_file(AUTHS), "--to", target)
    assert result.code == 4
    assert "not overwritten" in result.err
    assert target.read_text() == before
    assert ecsauth("migrate", login_file(AUTHS), "--to", target, "--replace").code == 0
    assert target.read_text() == ENV


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
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
    assert logins(target) == {"a.io": ("nobody", "p")}
    os.chown(path, 0, 0)
    ecsauth("migrate", *([path] if how == "named" else []), "--to", target)
    assert logins(target) == {"a.io": ("root", "p")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
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


def test_nohup_is_respected() -> None:
    program = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "sys.argv = ['ecsauth', '--version'];"
        "import atexit; from ecsauth.cli.program import main;"
        "atexit.register(lambda: print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN));"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1:] == ["True"]


def test_sigterm_ends_a_hanging_helper_too(
    login_file: LoginFile, tmp_path: Path, helpers: Callable[[str, str], Path]
) -> None:
    helpers("hangs", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    path = login_file(credHelpers={"a.io": "hangs"})
    process = subprocess.Popen(
        [sys.executable, "-m", "ecsauth", "convert", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    for _ in range(500):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            break
        time.sleep(0.02)
    helper = int((tmp_path / "pid").read_text())
    process.terminate()
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 143
    assert b"Traceback" not in stderr
    for _ in range(100):
        if not Path(f"/proc/{helper}").exists():
            break
        time.sleep(0.02)
    assert not Path(f"/proc/{helper}").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_is_whole_or_an_error(
    login_file: LoginFile, tmp_path: Path, unbuffered: str
) -> None:
    auths = {f"r{number}.io": {"auth": b64("u:" + "p" * 900)} for number in range(300)}
    command = f"{sys.executable} -m ecsauth convert --output=data {login_file(auths)}"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | (sleep 0.3; cat)"],
        env=environment,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == auths
    limited = subprocess.run(
        ["bash", "-c", f"ulimit -f 64; trap '' XFSZ; {command} > {tmp_path}/out"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert limited.returncode == 4
    assert b"standard output was not written: File too large" in limited.stderr


def test_help_to_a_full_disk_is_an_error_of_output() -> None:
    for arguments, code in (("convert --help", 4), ("--version", 4)):
        command = f"{sys.executable} -m ecsauth {arguments} > /dev/full"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stderr == (
            "ecsauth: error: the output was not written: No space left on device\n"
        )


def test_full_stderr_changes_nothing(login_file: LoginFile, tmp_path: Path) -> None:
    target = tmp_path / "ecs.config"
    command = f"{sys.executable} -m ecsauth migrate {login_file(AUTHS)} --to {target}"
    done = subprocess.run(
        ["bash", "-c", f"{command} 2>/dev/full"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert target.read_text() == ENV


def test_migrate_finds_the_login_file(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(os.environ["HOME"])
    target = tmp_path / "ecs.config"
    (home / ".dockercfg").write_text(json.dumps({"old.io": {"auth": b64("u:p")}}))
    ecsauth("migrate", "--to", target)
    assert list(logins(target)) == ["old.io"]
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(
        json.dumps({"auths": {"new.io": {"auth": b64("u:p")}}})
    )
    ecsauth("migrate", "--to", target, "--replace")
    assert list(logins(target)) == ["new.io"]
    monkeypatch.setenv("DOCKER_CONFIG", str(login_file({"own.io": {"auth": b64("u:p")}}).parent))
    result = ecsauth("migrate", "--to", target, "--replace")
    assert list(logins(target)) == ["own.io"]
    assert "($DOCKER_CONFIG)" in result.err


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


def test_ordinary_ecr_registries_get_a_notice(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    ecr = {"123456789012.dkr.ecr.us-west-2.amazonaws.com": {"auth": b64("AWS:token")}}
    target = tmp_path / "ecs.config"
    alone = ecsauth("migrate", login_file(ecr), "--to", target)
    assert "the agent gets tokens for them by itself" in alone.err
    assert alone.code == 0
    assert "by itself" not in ecsauth("migrate", login_file(ecr), "--to", target, "--quiet").err
    mixed = ecsauth("convert", login_file({**ecr, **AUTHS}))
    assert "by itself" not in mixed.err
    public = ecsauth("convert", login_file({"public.ecr.aws": {"auth": b64("AWS:token")}}))
    assert "by itself" not in public.err


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


def test_full_disk_of_stdout_is_an_error(login_file: LoginFile) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ecsauth", "convert", str(login_file(AUTHS))],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr == (
        "ecsauth: error: standard output was not written: No space left on device\n"
    )


def test_unprintable_summary_is_a_warning_and_the_target_is_written(
    login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ecsauth", "migrate", str(login_file(AUTHS)), "--to", target],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 0
    assert target.read_text() == ENV
    assert "the summary could not be printed: No space left on device" in done.stderr
    assert "Exception" not in done.stderr


def test_replace_drops_nothing_when_a_login_could_not_be_fetched(
    ecsauth: RunProgram, login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    ecsauth("migrate", login_file(AUTHS), "--to", target)
    mixed = login_file({"quay.io": {}, "a.io": {"auth": b64("a:1")}}, "mixed.json")
    result = ecsauth("migrate", mixed, "--to", target, "--replace")
    assert result.code == 3
    assert set(logins(target)) == {"index.docker.io/v1/", "quay.io", "a.io"}
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


def test_closed_pipe_gives_no_traceback(login_file: LoginFile) -> None:
    auths = {f"r{number}.io": {"auth": b64("u:" + "p" * 900)} for number in range(100)}
    command = f"{sys.executable} -m ecsauth convert --output=data {login_file(auths)} | head -c1"
    command = f"{command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("{", "", 141)


def test_closed_standard_streams_are_no_traceback(login_file: LoginFile) -> None:
    base = f"{sys.executable} -m ecsauth convert"
    for command, code in (
        (f"{base} {login_file(AUTHS)} >&-", 4),
        (f"{base} - <&-", 3),
        (f"{base} /absent 2>&-", 3),
    ):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == code, command
        assert "Traceback" not in done.stderr


def test_unexpected_error_shows_neither_traceback_nor_value(
    ecsauth: RunProgram, login_file: LoginFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(convert, "run", fail)
    result = ecsauth("convert", login_file(AUTHS))
    assert result.code == 1
    assert result.err.startswith("ecsauth: error: unexpected: KeyError at test_commands.py:")
    assert "hunter2" not in result.err


def test_interrupt_is_reported(
    ecsauth: RunProgram, login_file: LoginFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "run", interrupt)
    result = ecsauth("convert", login_file(AUTHS))
    assert result.code == 130
    assert len(result.errors) == 1


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


def test_main_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ecsauth", "convert", "/absent"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3


def test_refresh_ends_with_the_worst_of_its_targets(
    ecsauth: Callable[..., Result], login_file: Callable[..., Path], tmp_path: Path
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
    ecsauth: Callable[..., Result], login_file: Callable[..., Path], tmp_path: Path
) -> None:
    login = login_file({"127.0.0.1:1": {"auth": b64("u:p")}})
    target = tmp_path / "ecs.config"
    result = ecsauth("refresh", login, "--to", target, "--verify", "--verify-timeout=1")
    assert "127.0.0.1:1 is" in result.err
    assert "not verified" in result.err


def test_refresh_waits_for_another_only_so_long(
    ecsauth: Callable[..., Result], login_file: Callable[..., Path], tmp_path: Path
) -> None:
    login = login_file({"q.io": {"auth": b64("u:p")}})
    target, state = tmp_path / "ecs.config", tmp_path / "state"
    with StateStore(state).run_lock(1):
        result = ecsauth("refresh", login, "--to", target, "--lock-timeout=0.1")
    assert result.code == 4
    assert "has held its lock for 0.1 s" in result.err
    assert not target.exists()
    assert ecsauth("refresh", login, "--to", target).code == 0


def ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("is_ignored", [False, True])
def test_ctrl_c_while_it_starts_ends_it_without_a_traceback(
    login_file: LoginFile, is_ignored: bool
) -> None:
    """Unless it was started in the background, with Ctrl-C ignored."""
    path = login_file(AUTHS)
    for delay in (0.02, 0.04, 0.06, 0.09):
        process = subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, str(delay), "convert", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=ignore_interrupt if is_ignored else None,
        )
        out, err = process.communicate(timeout=30)
        assert "Traceback" not in err
        if is_ignored:
            assert (process.returncode, "ECS_ENGINE_AUTH_DATA" in out) == (0, True)
        else:
            assert process.returncode in (0, 130, -signal.SIGINT)


AT_ONCE = """\
import os, signal, sys
from ecsauth.__main__ import main
delay = sys.argv.pop(1)
is_ours = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
if is_ours:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever comes before main is not ours
if os.fork() == 0:
    os.closerange(0, 3)
    import time
    time.sleep(float(delay))
    os.kill(os.getppid(), signal.SIGINT)
    os._exit(0)
if is_ours:
    signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


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


def test_signals_wait_until_the_worst_is_over() -> None:
    done = []

    def work() -> None:
        with signals_held_off():
            signal.raise_signal(signal.SIGINT)
            done.append("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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
