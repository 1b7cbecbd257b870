"""Any input: only errors of our own, and what is written is read back by all three readers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecsauth.engine_auth.check import check_env_file, fix_text
from ecsauth.engine_auth.codec import AUTH_DATA_KEY, AUTH_TYPE_KEY, decode
from ecsauth.engine_auth.env_file import read, read_engine_auth
from ecsauth.engine_auth.layouts import ENV_FILE
from ecsauth.errors import SourceError
from tests.lab.box import Box, booted_box
from tests.lab.conftest import IMAGE, Docker
from tests.lab.security import properties
from tests.lab.security.inputs import CREDENTIALS
from tests.lab.security.targets import TARGETS, Target

EXAMPLES = 250
VALUES = 100
"""Of each batch that the real readers get; a container and a unit take that many at once."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name.replace(" ", "-"))
def test_any_input_keeps_its_property(target: Target) -> None:
    examples = EXAMPLES // 4 if target.kind == "values" else EXAMPLES  # slow to make

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(target.strategy)
    def check(value: Any) -> None:
        target.check(value)

    check()


@given(st.binary(max_size=300))
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_any_bytes_keep_every_property(data: bytes) -> None:
    for target in TARGETS:
        if target.kind != "values":
            target.from_bytes()(data)


def test_a_property_that_does_not_hold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: a foreign error, and a login that is altered on its way."""

    def fails(*_: object) -> None:
        raise ValueError("foreign")

    monkeypatch.setattr(properties, "parse_image_registry", fails)
    with pytest.raises(ValueError, match="foreign"):
        properties.name("q.io")
    with properties.only_ours():
        raise SourceError("one of ours passes")
    monkeypatch.setattr(properties, "encode", lambda *_: properties._NEW)
    with pytest.raises(AssertionError):
        properties.login_file(b'{"auths":{"a.io":{"auth":"dTpw"}}}')


@pytest.mark.parametrize("key", ["r{}.io", "q.io/{}"])
def test_many_registries_take_a_time_that_grows_with_their_number(key: str) -> None:
    data = {key.format(number): {"username": "u", "password": "p"} for number in range(2000)}
    text = f"{AUTH_TYPE_KEY}=docker\n{AUTH_DATA_KEY}='{json.dumps(data)}'\n".encode()
    started = time.process_time()
    repaired = fix_text(ENV_FILE, text)
    check_env_file(repaired, 1_800_000_000.0)
    assert time.process_time() - started < 2.5
    assert len(decode(read_engine_auth(repaired)).credentials) == 2000


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    """What is written for very many logins: name → value, numbered so that one file has all."""
    found: dict[str, str] = {}

    @settings(max_examples=VALUES, database=None, suppress_health_check=list(HealthCheck))
    @given(CREDENTIALS)
    def collect(given_: Any) -> None:
        written = read_engine_auth(properties.credentials(given_))
        number = len(found) // 2
        found[f"T{number}_{AUTH_TYPE_KEY}"] = written.auth_type
        found[f"D{number}_{AUTH_DATA_KEY}"] = written.auth_data

    collect()
    assert len(found) > VALUES
    return found


def lines(values: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


def test_ecs_init_reads_what_was_written(values: dict[str, str]) -> None:
    assert read(lines(values).encode("ascii")) == values


def test_docker_reads_what_was_written(
    values: dict[str, str], docker: Docker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("env") / "all"
    path.write_text(lines(values) + "CONTROL=a b'\"\\ c\n")
    for cli in docker.clis:
        done = docker.run("create", "--network=none", f"--env-file={path}", IMAGE, "env", cli=cli)
        assert done.returncode == 0, done.stderr
        found = docker.environment(done.stdout.strip())
        docker.remove(done.stdout.strip())
        assert {name: found[name] for name in values} == values
        assert found["CONTROL"] == "a b'\"\\ c"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with booted_box() as machine:
        yield machine


def unescaped(value: str) -> str:
    """Return what systemd makes of a value without quotes around it (systemd.exec(5))."""
    return re.sub(r"\\(.)", r"\1", value)


def test_systemd_reads_what_was_written_but_for_backslashes(
    values: dict[str, str], box: Box
) -> None:
    """It takes backslashes away, of which check warns; without one, all read the same."""
    found = box.environment_of("/etc/ecs/all", lines(values) + 'CONTROL="q" # c\n')
    assert {name: found[name] for name in values} == {
        name: unescaped(value) for name, value in values.items()
    }
    assert found["CONTROL"] != '"q" # c'
    plain = {name: value for name, value in values.items() if "\\" not in value}
    assert len(plain) > len(values) / 2
    for name, value in values.items():
        if name.startswith("D"):
            kind = values["T" + name[1:].replace(AUTH_DATA_KEY, AUTH_TYPE_KEY)]
            text = f"{AUTH_TYPE_KEY}={kind}\n{AUTH_DATA_KEY}={value}\n".encode()
            codes = {finding.code for finding in check_env_file(text, 1_800_000_000.0)}
            assert ("backslash" in codes) is (name not in plain), text
