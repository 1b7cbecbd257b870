"""docker-credential-ecr-login, called by its clients, against a registry by the name of ECR."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.builders import HOST
from tests.conftest import need
from tests.lab.aws_stub import PRIVATE, PUBLIC
from tests.lab.ecr_world import (
    CLIS,
    IMAGE,
    LOCAL_IMAGE,
    ONE_CALL,
    OTHER_IMAGE,
    PUBLIC_HOST,
    PUBLIC_IMAGE,
    SECRET_KEY,
    TOKEN,
    Desk,
)

HOUR = 3600
PULL = "import docker, sys; print(docker.from_env().images.pull(sys.argv[1]).tags)"
BUILD = """
import docker, io, sys
dockerfile = io.BytesIO(f"FROM {sys.argv[1]}\\nLABEL lab=1\\n".encode())
image, _ = docker.from_env().images.build(fileobj=dockerfile, tag="lab/built")
print(image.tags)
"""
Client = Callable[[Desk], "subprocess.CompletedProcess[str]"]


def docker_pull(desk: Desk) -> subprocess.CompletedProcess[str]:
    return desk.docker("pull", IMAGE)


def docker_py_pull(desk: Desk) -> subprocess.CompletedProcess[str]:
    return desk.run(sys.executable, "-c", PULL, IMAGE)


def skopeo_inspect(desk: Desk) -> subprocess.CompletedProcess[str]:
    return desk.run("skopeo", "inspect", f"docker://{IMAGE}")


def skopeo_inspect_with_a_named_file(desk: Desk) -> subprocess.CompletedProcess[str]:
    named = desk.home / "auth.json"
    if desk.config.exists():
        desk.config.replace(named)
    elif not named.exists():
        named.write_text("{}")
    return desk.run("skopeo", "inspect", f"--authfile={named}", f"docker://{IMAGE}")


def podman_pull(desk: Desk) -> subprocess.CompletedProcess[str]:
    storage = f"/run/{desk.home.parent.name}"  # podman allows a runroot of 50 characters
    options = [f"--root={storage}/root", f"--runroot={storage}/run", "--storage-driver=vfs"]
    return desk.run("podman", *options, "pull", "-q", IMAGE)


CLIENTS = [
    (docker_pull, "docker"),
    (docker_py_pull, "docker"),
    (skopeo_inspect, "skopeo"),
    (skopeo_inspect_with_a_named_file, "skopeo"),
    (podman_pull, "podman"),
]


@pytest.mark.parametrize(
    ("client", "program"), CLIENTS, ids=[client.__name__ for client, _ in CLIENTS]
)
def test_client_is_let_in_by_cred_helpers_alone(desk: Desk, client: Client, program: str) -> None:
    need(program)
    refused = client(desk)
    assert refused.returncode != 0
    assert "no basic auth" in refused.stderr or "authentication required" in refused.stderr
    assert desk.world.aws.calls == []
    desk.install(HOST)
    for _ in range(2):
        done = client(desk)
        assert done.returncode == 0, done.stderr
    assert desk.world.aws.calls == ONE_CALL
    assert len(desk.tokens) == 1


@pytest.mark.parametrize("arguments", [[HOST], ["--store"]], ids=["credHelpers", "credsStore"])
@pytest.mark.parametrize("cli", CLIS or ["docker"])
def test_every_docker_pulls_twice_with_one_call(desk: Desk, cli: str, arguments: list[str]) -> None:
    refused = desk.docker("pull", IMAGE, cli=cli)
    assert refused.returncode == 1
    assert "no basic auth credentials" in refused.stderr
    desk.install(*arguments)
    for _ in range(2):
        pulled = desk.docker("pull", IMAGE, cli=cli)
        assert pulled.returncode == 0, pulled.stderr
        assert desk.docker("rmi", IMAGE, cli=cli).returncode == 0
    assert desk.world.aws.calls == ONE_CALL
    assert len(desk.tokens) == 1
    assert TOKEN not in desk.config.read_text()


def test_docker_pull_asks_again_when_nothing_may_be_cached(desk: Desk) -> None:
    desk.install(HOST)
    for _ in range(2):
        pulled = desk.docker("pull", IMAGE, AWS_ECR_DISABLE_CACHE="1")
        assert pulled.returncode == 0, pulled.stderr
    assert desk.world.aws.calls == ONE_CALL * 2
    assert desk.tokens == []


def test_clients_that_come_at_once_make_one_call(desk: Desk) -> None:
    need("skopeo")
    desk.install(HOST)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(skopeo_inspect, [desk] * 6))
    assert [one.returncode for one in done] == [0] * 6, done
    assert desk.world.aws.calls == ONE_CALL


def test_docker_py_pulls_with_a_store(desk: Desk) -> None:
    assert "no basic auth credentials" in docker_py_pull(desk).stderr
    desk.install("--store")
    done = docker_py_pull(desk)
    assert done.returncode == 0, done.stderr
    assert IMAGE in done.stdout
    assert desk.world.aws.calls == ONE_CALL


@pytest.mark.parametrize("arguments", [[HOST], ["--store"]], ids=["credHelpers", "credsStore"])
def test_docker_py_builds_while_ecr_is_down_unless_failures_are_told(
    desk: Desk, arguments: list[str]
) -> None:
    desk.install(*arguments)
    assert desk.docker("pull", IMAGE).returncode == 0
    for token in desk.tokens:  # a store lists the host still, and has no login for it any more
        token.unlink()
    for answer in desk.answers:
        os.utime(answer, (1, 1))
    desk.world.break_aws()
    desk.world.aws.calls.clear()
    strict = desk.run(sys.executable, "-c", BUILD, LOCAL_IMAGE, ECSAUTH_STRICT="1")
    assert strict.returncode == 1
    assert "Credentials store error" in strict.stderr
    asked = len(desk.world.aws.calls)
    assert asked > 0
    built = desk.run(sys.executable, "-c", BUILD, LOCAL_IMAGE)
    assert (built.returncode, built.stdout) == (0, "['lab/built:latest']\n"), built.stderr
    assert len(desk.world.aws.calls) > asked
    assert desk.docker("rmi", "lab/built").returncode == 0


@pytest.mark.parametrize("cli", CLIS or ["docker"])
def test_docker_login_is_refused_unless_storage_is_ignored_and_logout_forgets(
    desk: Desk, cli: str
) -> None:
    desk.install("--store")
    ignoring = {"AWS_ECR_IGNORE_CREDS_STORAGE": "true"}
    login = ["login", "--username", "AWS", "--password-stdin", HOST]
    refused = desk.docker(*login, cli=cli, stdin=TOKEN)
    assert refused.returncode == 1
    assert "not implemented" in refused.stderr
    wrong = desk.docker(*login, cli=cli, stdin="wrong", **ignoring)
    assert wrong.returncode == 1
    assert "not implemented" not in wrong.stderr
    accepted = desk.docker(*login, cli=cli, stdin=TOKEN, **ignoring)
    assert accepted.returncode == 0, accepted.stderr
    assert "Login Succeeded" in accepted.stdout
    assert TOKEN not in desk.config.read_text()

    for _ in range(2):
        assert desk.docker("pull", IMAGE, cli=cli).returncode == 0
    assert desk.world.aws.calls == ONE_CALL
    logout = desk.docker("logout", HOST, cli=cli, **ignoring)
    assert logout.returncode == 0, logout.stderr
    assert desk.tokens == []
    assert desk.docker("pull", IMAGE, cli=cli).returncode == 0
    assert desk.world.aws.calls == ONE_CALL * 2


def test_pull_while_ecr_is_down_fails_in_docker_words_and_the_log_says_why(desk: Desk) -> None:
    desk.install(HOST)
    desk.world.break_aws()
    failed = docker_pull(desk)
    assert failed.returncode == 1
    assert "no basic auth credentials" in failed.stderr
    assert set(desk.world.aws.calls) == set(ONE_CALL)
    (line,) = desk.log.read_text().splitlines()
    assert " error [" in line
    assert f"no login: {HOST}: " in line
    assert "GetAuthorizationToken" in line
    assert desk.log.stat().st_mode & 0o777 == 0o600

    desk.world.reset()
    pulled = docker_pull(desk)
    assert pulled.returncode == 0, pulled.stderr
    assert TOKEN in desk.tokens[0].read_text()
    log = desk.log.read_text()
    assert "a new token" in log
    assert TOKEN not in log
    assert SECRET_KEY not in log


def test_pull_without_permission_has_the_cure_in_the_log(desk: Desk) -> None:
    desk.install(HOST)
    desk.world.aws.answers[PRIVATE] = lambda _, __: (
        400,
        {
            "__type": "AccessDeniedException",
            "message": "User: arn:aws:sts::123456789012:assumed-role/builder/i-0abc is not"
            " authorized to perform: ecr:GetAuthorizationToken on resource: *",
        },
    )
    assert docker_pull(desk).returncode == 1
    assert "attach AmazonEC2ContainerRegistryReadOnly to role builder" in desk.log.read_text()


@pytest.mark.parametrize("client", [skopeo_inspect, podman_pull, docker_py_pull])
def test_strict_reason_reaches_the_user_of_clients_that_show_it(desk: Desk, client: Client) -> None:
    need("skopeo", "podman")
    desk.install(HOST)
    desk.world.break_aws()
    quiet = client(desk)
    assert quiet.returncode != 0
    assert "GetAuthorizationToken" not in quiet.stderr
    strict = client(replace(desk, variables={"ECSAUTH_STRICT": "1"}))
    assert strict.returncode != 0
    assert f"{HOST}: ecr:GetAuthorizationToken failed" in strict.stderr


@pytest.mark.parametrize("cli", CLIS or ["docker"])
def test_docker_pulls_without_login_whatever_the_helper_says(desk: Desk, cli: str) -> None:
    desk.install("--store")
    desk.world.break_aws()
    for strict in "", "1":
        refused = desk.docker("pull", IMAGE, cli=cli, ECSAUTH_STRICT=strict)
        assert refused.returncode == 1
        assert "no basic auth credentials" in refused.stderr
        assert "GetAuthorizationToken" not in refused.stderr
        public = desk.docker("pull", PUBLIC_IMAGE, cli=cli, ECSAUTH_STRICT=strict)
        assert public.returncode == 0, public.stderr
    assert {call.split()[0] for call in desk.world.aws.calls} == {PRIVATE, PUBLIC}


@pytest.mark.parametrize(
    "arguments", [[PUBLIC_HOST], ["--store"]], ids=["credHelpers", "credsStore"]
)
def test_public_image_is_pulled_by_docker_py_while_its_api_is_down_unless_failures_are_told(
    desk: Desk, arguments: list[str]
) -> None:
    desk.install(*arguments)
    desk.world.break_aws()
    command = [sys.executable, "-c", PULL, PUBLIC_IMAGE]
    strict = desk.run(*command, ECSAUTH_STRICT="1")
    assert strict.returncode == 1
    assert "Credentials store error" in strict.stderr
    pulled = desk.run(*command)
    assert pulled.returncode == 0, pulled.stderr
    assert PUBLIC_IMAGE in pulled.stdout
    assert {call.split()[0] for call in desk.world.aws.calls} == {PUBLIC}


def test_public_login_is_asked_for_once(desk: Desk) -> None:
    desk.install(PUBLIC_HOST)
    for _ in range(2):
        assert desk.docker("pull", PUBLIC_IMAGE).returncode == 0
    assert [call.split()[:3] for call in desk.world.aws.calls] == [[PUBLIC, "in", "us-east-1"]]


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        (HOST, "api.ecr.us-west-2.amazonaws.com"),
        (HOST.replace(".ecr.", ".ecr-fips."), "ecr-fips.us-west-2.amazonaws.com"),
        ("123456789012.dkr-ecr.us-west-2.on.aws", "ecr.us-west-2.api.aws"),
        (PUBLIC_HOST, "api.ecr-public.us-east-1.amazonaws.com"),
    ],
)
def test_login_is_asked_for_at_the_endpoint_of_its_kind(
    desk: Desk, host: str, endpoint: str
) -> None:
    desk.install(host)
    got = desk.run("docker-credential-ecr-login", "get", stdin=f"https://{host}/v2/\n")
    assert got.returncode == 0, desk.log.read_text()
    login = {"ServerURL": f"https://{host}/v2/", "Username": "AWS", "Secret": TOKEN}
    assert json.loads(got.stdout) == login
    (asked,) = desk.world.endpoints
    assert asked.replace("api.ecr-fips", "ecr-fips") == endpoint  # botocore has the longer name


def test_store_asks_aws_nothing_for_the_registry_of_somebody_else(desk: Desk) -> None:
    desk.install("--store")
    pulled = desk.docker("pull", OTHER_IMAGE)
    assert pulled.returncode == 0, pulled.stderr
    assert desk.world.aws.calls == []
    assert not desk.log.exists()
    assert docker_pull(desk).returncode == 0
    assert desk.world.aws.calls == ONE_CALL


def test_token_past_half_its_life_serves_while_ecr_is_down_until_it_expires(desk: Desk) -> None:
    desk.install(HOST)
    assert docker_pull(desk).returncode == 0
    desk.world.break_aws()
    desk.age(7 * HOUR)
    pulled = docker_pull(desk)
    assert pulled.returncode == 0, pulled.stderr
    assert len(desk.world.aws.calls) > 1  # it tried to renew it
    assert "warning" in desk.log.read_text().splitlines()[-1]
    assert "using the cached token, valid until " in desk.log.read_text().splitlines()[-1]
    desk.age(6 * HOUR)
    expired = docker_pull(desk)
    assert expired.returncode == 1
    assert "no basic auth credentials" in expired.stderr


def test_token_past_half_its_life_is_renewed_when_ecr_answers(desk: Desk) -> None:
    desk.install(HOST)
    assert docker_pull(desk).returncode == 0
    desk.age(5 * HOUR)
    assert docker_pull(desk).returncode == 0
    assert desk.world.aws.calls == ONE_CALL
    desk.age(2 * HOUR)
    assert docker_pull(desk).returncode == 0
    assert desk.world.aws.calls == ONE_CALL * 2
    (token,) = desk.tokens
    assert json.loads(token.read_text())["password"] == TOKEN


def test_uninstall_takes_the_login_away(desk: Desk) -> None:
    desk.install(HOST)
    assert docker_pull(desk).returncode == 0
    desk.world.reset()
    command = ["-m", "ecsauth", "install", "helper", "--bin-dir", str(desk.programs)]
    removed = desk.run(sys.executable, *command, "--uninstall")
    assert removed.returncode == 0, removed.stderr
    assert list(desk.programs.iterdir()) == []
    refused = docker_pull(desk)
    assert refused.returncode == 1
    assert "no basic auth credentials" in refused.stderr
