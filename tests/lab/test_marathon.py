"""samples/marathon: the helper without Python, put onto a host by a container, pulls an image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ecsauth.helper.protocol import VERSION
from ecsauth.installation.bundle import archive, config_text
from ecsauth.token_cache.server import NOT_FOUND
from tests.builders import HOST
from tests.conftest import Result, need, need_root
from tests.lab.aws_stub import PRIVATE, PUBLIC, AwsStub, error_answer
from tests.lab.conftest import Docker
from tests.lab.ecr_world import CLIS, ONE_CALL, Desk
from tests.lab.ecr_world import IMAGE as ECR_IMAGE
from tests.lab.marathon import PROGRAM, Agent, Built, build, make_root
from tests.lab.test_ecr import ASSUMED

UP_TO_DATE = [
    f"ecsauth-helper: /host/bin/{PROGRAM}: up to date",
    "ecsauth-helper: /host/etc/docker.tar.gz: up to date",
]
WRITTEN = [line.replace("up to date", "written") for line in UP_TO_DATE]
SERVICES = {"ecr", "ecr-public", "sts", "sso", "sso-oidc"}


@pytest.fixture(scope="session")
def built(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Built:
    need("ldd", "objcopy", "unshare", "chroot")
    return build(tmp_path_factory.mktemp("marathon"), docker)


@pytest.fixture
def agent(built: Built, docker: Docker, tmp_path: Path) -> Agent:
    """A new host, on which nothing was put yet."""
    root = tmp_path / "agent"
    make_root(root, built.program)
    return Agent(root, docker)


@pytest.fixture
def ready(agent: Agent, aws: AwsStub) -> Agent:
    """A host with the helper, to which the API answers."""
    done = agent.put()
    assert done.returncode == 0, done.stderr
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    variables = {name: os.environ[name] for name in names}
    return Agent(
        agent.root, agent.docker, {**variables, "AWS_EC2_METADATA_DISABLED": "true", "LANG": "C"}
    )


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_what_is_built_is_small_and_has_what_the_sdk_needs(built: Built) -> None:
    data = built.program / "lib" / "botocore" / "data"
    assert {path.name for path in data.iterdir() if path.is_dir()} - {"signin"} == SERVICES
    size = sum(path.stat().st_size for path in built.program.rglob("*") if path.is_file())
    assert size < 60_000_000
    assert (built.context / "docker.tar.gz").read_bytes() == archive(config_text(()))
    assert VERSION in built.said
    assert "or later" in built.said


def test_image_puts_helper_and_archive_onto_the_host(agent: Agent, built: Built) -> None:
    done = agent.put()
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, WRITTEN, "")
    made = agent.program.readlink()
    assert files(agent.bin) == {PROGRAM, made.parts[0]}
    assert files(agent.etc) == {"docker.tar.gz"} | files(agent.etc) & {"ld.so.cache"}
    put = agent.etc / "docker.tar.gz"
    assert put.read_bytes() == (built.context / "docker.tar.gz").read_bytes()
    assert put.stat().st_mode & 0o7777 == 0o644
    assert (agent.bin / made.parts[0]).stat().st_mode & 0o7777 == 0o755
    assert (agent.bin / made).stat().st_mode & 0o7777 == 0o755
    assert subprocess.run(["diff", "-r", built.program, agent.bin / made.parts[0]]).returncode == 0


def test_second_run_changes_nothing(agent: Agent) -> None:
    def look() -> list[tuple[int, int]]:
        paths = (agent.program, agent.bin, agent.etc, agent.etc / "docker.tar.gz")
        return [(path.lstat().st_ino, path.lstat().st_ctime_ns) for path in paths]

    agent.put()
    before = look()
    done = agent.put()
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, UP_TO_DATE, "")
    assert look() == before


def test_broken_helper_is_replaced_while_the_old_one_is_used(ready: Agent) -> None:
    old = ready.bin / ready.program.readlink().parts[0]
    (old / "lib" / "base_library.zip").write_bytes(b"")
    assert ready.run("version").returncode != 0
    assert ready.put().stdout.splitlines() == [WRITTEN[0], UP_TO_DATE[1]]
    new = ready.bin / ready.program.readlink().parts[0]
    assert files(ready.bin) == {PROGRAM, old.name, new.name}
    assert ready.run("version").stdout == f"{VERSION}\n"
    os.utime(old, (time.time() - 7200,) * 2)
    (new / "lib" / "base_library.zip").unlink()
    ready.put()
    assert files(ready.bin) == {PROGRAM, new.name, ready.program.readlink().parts[0]}


def test_helper_can_be_run_at_any_moment_while_two_containers_put_it(ready: Agent) -> None:
    for _ in range(2):
        folder = ready.bin / ready.program.readlink().parts[0]
        (folder / "lib" / "certifi" / "cacert.pem").unlink()  # not whole, but it runs
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(ready.put) for _ in range(2)]
            while not all(run.done() for run in runs):
                assert ready.run("version").stdout == f"{VERSION}\n"
        assert [run.result().returncode for run in runs] == [0, 0]
        assert ready.put().stdout.splitlines() == UP_TO_DATE
    assert not [name for name in files(ready.bin) if ".new-" in name or ".link-" in name]


def test_program_and_archive_of_others_are_replaced(agent: Agent) -> None:
    agent.program.write_text("another\n")
    (agent.etc / "docker.tar.gz").write_text("another\n")
    done = agent.put()
    assert done.returncode == 0
    assert "was not ecsauth's" in done.stdout
    assert agent.program.with_name(f"{PROGRAM}.ecsauth-previous").read_text() == "another\n"
    assert agent.program.is_symlink()
    assert (agent.etc / "docker.tar.gz").read_bytes() == archive(config_text(()))


def test_link_of_others_is_kept_beside(agent: Agent) -> None:
    agent.program.symlink_to("/opt/other/helper")
    assert agent.put().returncode == 0
    kept = agent.program.with_name(f"{PROGRAM}.ecsauth-previous")
    assert str(kept.readlink()) == "/opt/other/helper"
    assert str(agent.program.readlink()).startswith(f".{PROGRAM}-")


def test_what_cannot_be_put_is_said(agent: Agent, docker: Docker) -> None:
    done = agent.put(mode="ro")
    assert done.returncode == 1
    assert "error: /host/bin cannot be written" in done.stderr
    assert files(agent.bin) == set()
    done = docker.run("run", "--rm", "--network=none", agent.container()[-1])
    assert done.returncode == 1
    assert "error: /host/bin is not mounted" in done.stderr
    agent.program.mkdir()
    done = agent.put()
    assert done.returncode == 1
    assert f"error: /host/bin/{PROGRAM} is a directory" in done.stderr


def test_container_stays_as_long_as_it_is_told_and_ends_when_asked(agent: Agent) -> None:
    started = agent.docker.run("run", "--detach", *agent.container(stay=300))
    name = started.stdout.strip()
    try:
        for _ in range(100):
            if "staying for 300 s" in agent.docker.run("logs", name).stdout:
                break
            time.sleep(0.05)
        _, inspected = agent.docker.api("GET", f"/containers/{name}/json")
        assert inspected["State"]["Running"]
        begun = time.monotonic()
        agent.docker.run("stop", name)
        assert time.monotonic() - begun < 5
        _, inspected = agent.docker.api("GET", f"/containers/{name}/json")
        assert inspected["State"]["ExitCode"] == 0
    finally:
        agent.docker.remove(name)


def test_helper_answers_on_a_host_without_python(ready: Agent, aws: AwsStub) -> None:
    assert [path for path in ready.root.rglob("python*") if ready.bin not in path.parents] == []
    done = ready.run("get", f"https://{HOST}\n")
    assert (done.returncode, done.stderr) == (0, "")
    login = {"ServerURL": f"https://{HOST}", "Username": "AWS", "Secret": "t0ken"}
    assert json.loads(done.stdout) == login
    assert aws.calls == [f"{PRIVATE} in us-west-2 by BASE"]
    assert json.loads(ready.run("get", HOST).stdout) == {**login, "ServerURL": HOST}
    assert json.loads(ready.run("list").stdout) == {f"https://{HOST}": "AWS"}
    assert ready.run("version").stdout == f"{VERSION}\n"
    done = ready.run("get", "docker.io")
    assert (done.returncode, done.stdout) == (1, f"{NOT_FOUND}\n")
    assert len(aws.calls) == 1  # the second was answered from the cache, the others by nobody


def test_helper_on_the_host_knows_public_roles_and_special_endpoints(
    ready: Agent, aws: AwsStub
) -> None:
    assert ready.run("get", "public.ecr.aws").returncode == 0
    aws.answers["sts.AssumeRole"] = lambda _, __: (200, ASSUMED)
    role = {f"AWS_ROLE_ARN_{HOST[:12]}": "arn:aws:iam::123456789012:role/pull"}
    assert ready.run("get", HOST, AWS_DEFAULT_REGION="us-west-2", **role).returncode == 0
    fips = HOST.replace(".ecr.", ".ecr-fips.")
    assert ready.run("get", fips).returncode == 0
    assert [call.split()[0] for call in aws.calls] == [PUBLIC, "sts.AssumeRole", PRIVATE, PRIVATE]


def test_helper_on_the_host_says_why_there_is_no_login(ready: Agent, aws: AwsStub) -> None:
    aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    done = ready.run("get", HOST)
    assert (done.returncode, done.stdout) == (1, f"{NOT_FOUND}\n")
    log = (ready.root / "sandbox" / ".ecr" / "log" / "ecr-login.log").read_text()
    assert "access denied to ecr:GetAuthorizationToken" in log


@pytest.mark.parametrize("cli", CLIS)
def test_docker_pulls_with_what_was_put_onto_the_host(agent: Agent, desk: Desk, cli: str) -> None:
    assert agent.put().returncode == 0
    subprocess.run(["tar", "-C", desk.home, "-xf", agent.etc / "docker.tar.gz"], check=True)
    os.symlink(agent.program, desk.programs / PROGRAM)
    path = desk.world.environment(desk.home, str(desk.programs))["PATH"]
    assert shutil.which(PROGRAM, path=path) == str(desk.programs / PROGRAM)
    done = desk.docker("pull", ECR_IMAGE, cli=cli)
    assert done.returncode == 0, done.stderr
    assert desk.world.aws.calls == ONE_CALL
    assert desk.world.endpoints == ["api.ecr.us-west-2.amazonaws.com"]


def test_docker_cannot_pull_without_the_archive(agent: Agent, desk: Desk) -> None:
    assert desk.docker("pull", ECR_IMAGE).returncode != 0


def test_read_only_directory_keeps_the_archive_that_is_there(
    ecsauth: Callable[..., Result], tmp_path: Path
) -> None:
    need_root()
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "docker.tar.gz"
    target.write_bytes(b"before")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        result = ecsauth("bundle", target)
    finally:
        subprocess.run(["umount", folder], check=True)
    assert result.code == 4
    assert "was not written: Read-only file system; " in result.errors[0]
    assert files(folder) == {"docker.tar.gz"}
    assert target.read_bytes() == b"before"
