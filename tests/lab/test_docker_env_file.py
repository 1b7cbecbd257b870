"""What we write, read by the real docker CLI and put into a real container's environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.engine_auth.codec import (
    AUTH_DATA_KEY,
    AUTH_TYPE_KEY,
    MAX_AUTH_DATA_BYTES,
    MAX_ENV_FILE_LINE_BYTES,
    EngineAuth,
    choose_format,
    decode,
    difference,
    encode,
)
from ecsauth.engine_auth.env_file import read, write_engine_auth
from tests.lab.conftest import IMAGE, Docker

_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_ODD = st.sampled_from(["", '"', "\\", "p\\", "'x'", "a # b", "$HOME", "%n", "`id`", "\n", "ü€😀"])
_PART = _TEXT | _ODD
_KEY = st.from_regex(r"[a-z0-9]{1,6}\.[a-z]{2,3}(:[0-9]{2,5})?(/[a-z]{1,4})?", fullmatch=True)
_LOGIN = st.tuples(_PART, _PART, _PART, _PART, _PART)
_CREDENTIALS = st.dictionaries(_KEY, _LOGIN, min_size=1, max_size=5)
_BEFORE = st.sampled_from(
    [b"", b"ECS_CLUSTER=x\n", b"A=1\r\nB=2\r\n", b"# c\n\nA=1", b"A=1\\\n", b"A='q'\n\n\n"]
)


def container_settings(docker: Docker, cli: str, path: Path) -> tuple[EngineAuth, dict[str, str]]:
    done = docker.run("create", "--network=none", f"--env-file={path}", IMAGE, "env", cli=cli)
    assert done.returncode == 0, done.stderr
    container = done.stdout.strip()
    variables = docker.environment(container)
    docker.remove(container)
    found = EngineAuth(variables.get(AUTH_TYPE_KEY, ""), variables.get(AUTH_DATA_KEY, ""))
    return found, variables


@given(_CREDENTIALS, st.booleans(), _BEFORE)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_credentials_survive_the_env_file(
    docker: Docker,
    tmp_path: Path,
    entries: dict[str, tuple[str, str, str, str, str]],
    as_docker: bool,
    before: bytes,
) -> None:
    lenient = [
        Credential(
            parse_auth_key(key),
            user,
            secret,
            identity_token=identity if as_docker else "",
            registry_token=bearer if as_docker else "",
            email=email,
        )
        for key, (user, secret, email, identity, bearer) in entries.items()
    ]
    auth_format = "docker" if as_docker else choose_format(lenient)
    text = write_engine_auth(before, encode(lenient, auth_format))
    path = tmp_path / "ecs.config"
    path.write_bytes(text)
    for cli in docker.clis:
        found, variables = container_settings(docker, cli, path)
        assert difference(lenient, decode(found)) == ""
        foreign = {name: value for name, value in read(before).items() if name[0].isalpha()}
        assert {name: variables[name] for name in foreign} == foreign


@pytest.mark.parametrize("excess", [0, 1])
def test_our_limit_of_a_line_is_docker_s(docker: Docker, tmp_path: Path, excess: int) -> None:
    length = MAX_ENV_FILE_LINE_BYTES - len(f"{AUTH_DATA_KEY}=") + excess
    path = tmp_path / "ecs.config"
    path.write_text(f"A=1\n{AUTH_DATA_KEY}={'x' * length}\nB=2\n")
    for cli in docker.clis:
        done = docker.run("create", f"--env-file={path}", IMAGE, "env", cli=cli)
        assert (done.returncode == 0) is (excess == 0), done.stderr
        assert ("too long" in done.stderr) is (excess == 1)
        if not excess:
            docker.remove(done.stdout.strip())


@pytest.mark.parametrize("excess", [0, 1])
def test_our_limit_of_a_value_is_the_kernel_s(docker: Docker, excess: int) -> None:
    variable = f"{AUTH_DATA_KEY}={'x' * (MAX_AUTH_DATA_BYTES + excess)}"
    settings_ = {"NetworkMode": "none"}
    body = {"Image": IMAGE, "Cmd": ["env"], "Env": [variable], "HostConfig": settings_}
    status, created = docker.api("POST", "/containers/create", body)
    assert status == 201
    container = created["Id"]
    try:
        docker.api("POST", f"/containers/{container}/start")
        _, ended = docker.api("POST", f"/containers/{container}/wait")
        logs = docker.run("logs", container)
        assert (ended["StatusCode"] == 0) is (excess == 0), logs
        assert ("x" * 100 in logs.stdout) is (excess == 0)
        assert ("argument list too long" in logs.stderr) is (excess == 1)
    finally:
        docker.remove(container)
