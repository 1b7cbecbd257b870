"""What the caller's names, working directory and environment may do to a command that root runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ecsauth.app.install import own_command
from ecsauth.installation.units import UNITS, Installation, unit_texts
from ecsauth.token_cache.launcher import launcher_text
from tests.builders import HOST, ROOT, b64
from tests.conftest import Result, need, need_root
from tests.lab.box import Box, booted_box

RunProgram = Callable[..., Result]
BIN = Path(sys.executable).parent
MODULES = (
    "json",
    "boto3",
    "click",
    "ecsauth",
    "sitecustomize",
    "usercustomize",
    "signal",
    "dotenv",
)
VARIABLES = ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "LD_PRELOAD", "AWS_ENDPOINT_URL")


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A working directory with modules that leave the file ``sprung`` when they are imported."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in MODULES:
        code = f"open({str(tmp_path / 'sprung')!r}, 'a').write({name!r})\nraise SystemExit(99)\n"
        (folder / f"{name}.py").write_text(code)
    return folder


def sprung(trap: Path) -> str:
    path = trap.parent / "sprung"
    return path.read_text() if path.exists() else ""


def start(command: list[str], folder: Path, stdin: str = "", **more: str) -> Result:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder.parent),
        "LANG": "C.UTF-8",
        **more,
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def launcher(tmp_path: Path) -> str:
    """Return the launcher, as ``install helper`` puts it in place."""
    done = start(
        [str(BIN / "ecsauth"), "install", "helper", "--bin-dir", str(tmp_path / "bin")], tmp_path
    )
    assert done.code == 0, done
    return str(tmp_path / "bin" / "docker-credential-ecr-login")


def test_working_directory_gives_no_modules(trap: Path, tmp_path: Path) -> None:
    """To the console scripts, to the launcher, and to what the units start."""
    login = tmp_path / "login.json"
    login.write_text(json.dumps({"auths": {"q.io": {"auth": b64("u:p")}}}))
    own = str(BIN / "ecsauth")
    (exec_start,) = re.findall(
        r"^ExecStart=(.*) refresh$", unit_texts(Installation(own_command()))[UNITS[0]], re.MULTILINE
    )
    assert exec_start == own
    for command in (
        [own, "convert", str(login)],
        [*shlex.split(exec_start), "convert", str(login)],
    ):
        done = start(command, trap)
        assert done.code == 0, done
        assert b64("u:p") in done.out
    off = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "A", "ECSAUTH_STRICT": "1"}
    off |= {"AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    for program in (str(BIN / "docker-credential-ecr-login"), launcher(tmp_path)):
        done = start([program, "get"], trap, HOST, **off)
        assert "no answer from AWS" in done.out, done  # boto3 was loaded, and it was the real one
        assert start([program, "version"], trap).code == 0
    assert sprung(trap) == ""


def test_children_of_run_get_no_modules_from_the_working_directory(
    trap: Path, tmp_path: Path
) -> None:
    login = tmp_path / "login.json"
    login.write_text(json.dumps({"auths": {"q.io": {"auth": b64("u:p")}}}))
    target = tmp_path / "ecs.config"
    options = ["--to", str(target), "--state-dir", str(tmp_path / "state"), "--restart=never"]
    with subprocess.Popen(
        [str(BIN / "ecsauth"), "run", "--env-file=", str(login), *options],
        cwd=trap,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        first = process.stdout.readline()
        process.terminate()
        rest = process.stdout.read()
    assert "written: 1 registry" in first, first + rest
    assert sprung(trap) == ""


def test_the_trap_works(trap: Path) -> None:
    """The positive control: Python as it is by itself, and with the variables that sudo removes."""
    start([sys.executable, "-c", "import json"], trap)
    assert "json" in sprung(trap)
    (trap.parent / "sprung").unlink()
    start([str(BIN / "ecsauth"), "--version"], Path("/"), PYTHONPATH=str(trap))
    assert sprung(trap)


def test_launcher_takes_nothing_of_python_from_the_environment(trap: Path, tmp_path: Path) -> None:
    program = launcher(tmp_path)
    startup = str(trap / "json.py")
    for name, value in (
        ("PYTHONPATH", str(trap)),
        ("PYTHONSTARTUP", startup),
        ("PYTHONHOME", "/x"),
    ):
        done = start([program, "version"], trap, **{name: value})
        assert (done.code, done.out.split()[0]) == (0, "docker-credential-ecr-login"), done
    assert sprung(trap) == ""
    assert " -I -c " in launcher_text([sys.executable, "-I", "-c", "pass"])


def test_sudo_takes_these_variables_away(trap: Path, tmp_path: Path) -> None:
    """README: env_reset must stay. What gets through is HOME, PATH and the like."""
    need_root()
    need("sudo")
    hostile = {"PYTHONPATH": str(trap), "PYTHONSTARTUP": "/x", "AWS_ENDPOINT_URL": "http://x"}
    hostile |= {"ECSAUTH_TARGETS": "/x", "DOCKER_CONFIG": "/x", "AWS_PROFILE": "x"}
    done = start(["sudo", "-n", "env"], trap, **hostile)
    assert done.code == 0, done
    names = {line.partition("=")[0] for line in done.out.splitlines()}
    assert not names & set(hostile)
    assert "PATH" in names
    done = start(["sudo", "-n", str(BIN / "ecsauth"), "--version"], trap, **hostile)
    assert done.code == 0, done
    assert sprung(trap) == ""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with booted_box() as machine:
        yield machine


def test_units_have_a_clean_environment_and_write_only_where_they_must(box: Box) -> None:
    """A variable of whoever calls systemctl does not get in; the settings file's do."""
    for name, text in unit_texts(Installation(["/opt/ecsauth/bin/ecsauth"])).items():
        box.write(f"/etc/systemd/system/{name}", text)
    script = "#!/bin/sh\nenv >/etc/ecs/env; umask >>/etc/ecs/env; pwd >>/etc/ecs/env\n"
    script += (
        "for file in /usr/x /etc/x /root/x; do touch $file && echo wrote >>/etc/ecs/env; done\n"
    )
    box.write("/opt/ecsauth/bin/ecsauth", f"{script}exit 0\n", 0o755)
    box.write("/etc/ecsauth/ecsauth.env", "ECSAUTH_FORMAT=docker\n", 0o600)
    box.shell("mkdir -p /etc/ecs")
    hostile = " ".join(
        f"{name}=/tmp/evil" for name in (*VARIABLES[:3], "AWS_PROFILE", "ECSAUTH_BASE")
    )
    box.shell(f"{hostile} systemctl start ecsauth-refresh.service")
    shown = box.shell("cat /etc/ecs/env").splitlines()
    assert "/tmp/evil" not in "".join(shown)
    assert "ECSAUTH_FORMAT=docker" in shown
    assert shown[-2:] == ["0077", "/"]
    names = {line.partition("=")[0] for line in shown[:-2]}
    given = {
        "ECSAUTH_FORMAT",
        "STATE_DIRECTORY",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "SYSTEMD_EXEC_PID",
    }
    usual = {"PATH", "LANG", "HOME", "LOGNAME", "USER", "SHELL", "PWD", "SHLVL", "_", "OLDPWD"}
    assert names <= given | usual | {"LC_ALL", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"}


def test_units_say_how_they_are_closed_off() -> None:
    need("systemd-analyze")
    for name in ("ecsauth-refresh.service", "ecsauth-run.service"):
        path = ROOT / "systemd" / name
        lines = path.read_text().splitlines()
        for line in ("UMask=0077", "ProtectSystem=strict", "NoNewPrivileges=yes", "PrivateTmp=yes"):
            assert line in lines
        assert not [line for line in lines if line.startswith(("PassEnvironment", "Environment="))]
        check = ["systemd-analyze", "security", "--offline=true"]
        for threshold, code in (("40", 0), ("1", 1)):
            done = subprocess.run(
                [*check, f"--threshold={threshold}", str(path)], capture_output=True, check=False
            )
            assert min(done.returncode, 1) == code, done.stdout.decode()[-300:]


HELPER_NAMES = [
    "../../evil",
    "/evil",
    "x/../../evil",
    "..",
    ".",
    "a/b",
    "a\0b",
    "",
    "-x",
    " x",
    "a b",
]


@pytest.mark.parametrize("where", ["credHelpers", "credsStore"])
def test_credential_helpers_are_run_by_plain_names_from_path_only(
    ecsauth: RunProgram,
    login_file: Callable[..., Path],
    helpers: Callable[[str, str], Path],
    tmp_path: Path,
    where: str,
) -> None:
    mark = tmp_path / "ran"
    answer = '{"Username":"u","Secret":"p"}' if where == "credHelpers" else "{}"
    log = helpers("plain", f"touch {mark}; echo '{answer}'")
    program = log.with_name("docker-credential-plain")
    for place in (tmp_path / "evil", tmp_path / "docker-credential-evil", program.parent / "evil"):
        place.write_text(program.read_text())
        place.chmod(0o755)
    for name in [*HELPER_NAMES, str(program), f"../{tmp_path.name}/evil", "evil"]:
        path = login_file(**{where: {"q.io": name} if where == "credHelpers" else name})
        if where == "credsStore" and not name:
            continue  # no store at all
        result = ecsauth("convert", path)
        assert result.code == 3, (name, result)
        assert not mark.exists(), name
    path = login_file(**{where: {"q.io": "plain"} if where == "credHelpers" else "plain"})
    ecsauth("convert", path)
    assert mark.exists()  # the positive control


def test_hostile_names_of_sources_and_targets(ecsauth: RunProgram, tmp_path: Path) -> None:
    """Nothing is read or written by them but what they name."""
    target = tmp_path / "ecs.config"
    for source in (
        *("env:../x", "env:A B", "env:", "env:A\n", "docker-config:", "xy:z", "file:///etc/shadow"),
        *("secretsmanager:", "secretsmanager:a b", "secretsmanager:a\nb", "secretsmanager:$(id)"),
        *("ssm:..\\x", "ssm:", "ecr:../x", "ecr:evil.example", "ecr-public:x", "ecr:us-west-2/.."),
        *("s3://", "s3://../x", "s3://A/../x", "s3://b", "s3://bucket/", "s3://bucket/a\nb"),
        *("s3://bucket/x?region=../..", "s3://bucket/x?endpoint=http://evil", "s3:/bucket/x"),
    ):
        result = ecsauth("migrate", source, "--to", target)
        assert result.code == 2, (source, result)
        assert len(result.err.splitlines()) == 1
        assert not target.exists()
    for name in ("", "http://evil/x", "helper:", "file:///x", "a\nb", "x{}"):
        login = tmp_path / "l.json"
        login.write_text(json.dumps({"auths": {"q.io": {"auth": b64("u:p")}}}))
        assert ecsauth("migrate", login, "--to", name).code == 2, name
    for name in ("/dev/null", "/dev/zero", str(tmp_path / "absent")):
        assert ecsauth("check", target, "--env-file", name).code == 2, name
    assert ecsauth("migrate", login, "--to", f"{tmp_path}/a/../ecs.config").code == 4  # no such a
    assert ecsauth("migrate", login, "--to", f"{tmp_path}/../{tmp_path.name}/ecs.config").code == 0
    assert target.exists()


def test_key_of_an_object_with_dots_is_no_path(ecsauth: RunProgram, tmp_path: Path) -> None:
    """``..`` in a key is a part of its name in S3; no file of this host is meant by it."""
    (tmp_path / "ecs.config").write_text("ECS_SECRET=1\n")
    result = ecsauth("check", f"s3://fleet/../../..{tmp_path}/ecs.config?profile=none")
    assert result.code == 3
    assert "no such AWS profile" in result.err


def test_settings_file_that_others_can_write_is_refused(
    ecsauth: RunProgram, tmp_path: Path
) -> None:
    path, target = tmp_path / "e.env", tmp_path / "ecs.config"
    path.write_text("ECSAUTH_FORMAT=docker\n")
    target.write_text("A=1\n")
    for mode, code in ((0o666, 2), (0o620, 2), (0o644, 0)):
        path.chmod(mode)
        assert ecsauth("check", target, "--env-file", path).code == code
