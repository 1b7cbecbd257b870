"""docker login → migrate → a container that can pull: every part real."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth.engine_auth.codec import EngineAuth, decode
from ecsauth.engine_auth.resolve import resolve
from tests.conftest import Result, need
from tests.lab.conftest import IMAGE, Docker, Registry

RunProgram = Callable[..., Result]

_STORE = """
store=$(dirname "$0")/secrets
case $1 in
store) mkdir -p "$store"; echo "$url" > "$store/$(echo "$url" | jq -r .ServerURL | tr / _)" ;;
get) cat "$store/$(echo "$url" | tr / _)" 2>/dev/null ||
    { echo "credentials not found in native keychain"; exit 1; } ;;
list) cat "$store"/* | jq -s 'map({(.ServerURL): .Username}) | add' ;;
erase) rm -f "$store/$(echo "$url" | tr / _)" ;;
esac
"""


def skopeo_can_pull(image: str, username: str, password: str) -> bool:
    done = subprocess.run(
        [
            "skopeo",
            "inspect",
            "--tls-verify=false",
            f"--creds={username}:{password}",
            f"docker://{image}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or "unauthorized" in done.stderr.lower(), done.stderr
    return done.returncode == 0


@pytest.fixture(scope="session")
def image(docker: Docker, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image in the registry, which only a login can pull."""
    need("skopeo")
    name = f"{registry.host}/team/app:1"
    config = {"DOCKER_CONFIG": str(tmp_path_factory.mktemp("pusher"))}
    for arguments in (
        ("login", "-u", registry.username, "-p", registry.password, registry.host),
        ("tag", IMAGE, name),
        ("push", "-q", name),
    ):
        done = docker.run(*arguments, env=config)
        assert done.returncode == 0, done.stderr
    return name


def login(docker: Docker, registry: Registry, directory: Path, cli: str) -> Path:
    """Log in as a person does and return the login file that docker wrote."""
    done = docker.run(
        "login",
        "-u",
        registry.username,
        "--password-stdin",
        registry.host,
        cli=cli,
        env={"DOCKER_CONFIG": str(directory)},
        stdin=registry.password,
    )
    assert done.returncode == 0, done.stderr
    return directory / "config.json"


def agent_can_pull(docker: Docker, cli: str, target: Path, image: str) -> bool:
    """Start a container with the file, as the agent's, and pull with the login that it reads."""
    done = docker.run("create", "--network=none", f"--env-file={target}", IMAGE, "env", cli=cli)
    assert done.returncode == 0, done.stderr
    container = done.stdout.strip()
    variables = docker.environment(container)
    docker.remove(container)
    settings = EngineAuth(variables["ECS_ENGINE_AUTH_TYPE"], variables["ECS_ENGINE_AUTH_DATA"])
    found = resolve(decode(settings).credentials, image).credential
    return found is not None and skopeo_can_pull(image, found.username, found.secret)


@pytest.mark.parametrize("auth_format", ["dockercfg", "docker"])
def test_docker_login_becomes_a_login_that_pulls(
    docker: Docker,
    registry: Registry,
    image: str,
    ecsauth: RunProgram,
    tmp_path: Path,
    auth_format: str,
) -> None:
    for number, cli in enumerate(docker.clis):
        directory = tmp_path / str(number)
        directory.mkdir()
        login_file = login(docker, registry, directory, cli)
        target = directory / "ecs.config"
        target.write_text("ECS_CLUSTER=lab\n")
        result = ecsauth("migrate", login_file, "--to", target, "--format", auth_format)
        assert result.code == 0, result
        assert registry.password not in result.out + result.err
        assert agent_can_pull(docker, cli, target, image)


def test_wrong_password_does_not_pull(image: str, registry: Registry) -> None:
    assert not skopeo_can_pull(image, registry.username, "wrong")


def test_login_in_a_credential_store_becomes_a_login_that_pulls(
    docker: Docker,
    registry: Registry,
    image: str,
    ecsauth: RunProgram,
    tmp_path: Path,
    helpers: Callable[[str, str], Path],
) -> None:
    need("jq")
    helpers("lab", _STORE)
    for number, (cli, member) in enumerate(
        (cli, member)
        for cli in docker.clis
        for member in ({"credsStore": "lab"}, {"credHelpers": {registry.host: "lab"}})
    ):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps(member))
        login_file = login(docker, registry, directory, cli)
        assert registry.password not in login_file.read_text()
        target = directory / "ecs.config"
        result = ecsauth("migrate", login_file, "--to", target)
        assert result.code == 0, result
        assert agent_can_pull(docker, cli, target, image)
