"""convert as a user types it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import HUB, b64
from tests.unit.cli.cases import AUTHS, ENV, LoginFile, RunProgram


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
