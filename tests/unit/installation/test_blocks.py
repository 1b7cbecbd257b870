"""install helper --print: text for configurations that are kept elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth.installation.blocks import block
from tests.builders import HOST
from tests.conftest import Result

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HELPERS = {"credHelpers": {HOST: "ecr-login"}}


def test_gitlab_block_is_toml_with_json_in_a_variable() -> None:
    found = tomllib.loads(block("gitlab-runner", [HOST], is_store=False))
    (setting,) = found["environment"]
    name, _, value = setting.partition("=")
    assert name == "DOCKER_AUTH_CONFIG"
    assert json.loads(value) == HELPERS
    store = tomllib.loads(block("gitlab-runner", [], is_store=True))["environment"][0]
    assert json.loads(store.partition("=")[2]) == {"credsStore": "ecr-login"}


def test_docker_and_podman_blocks_are_login_files() -> None:
    assert json.loads(block("podman", [HOST], is_store=False)) == HELPERS
    both = json.loads(block("docker", [HOST], is_store=True))
    assert both == {**HELPERS, "credsStore": "ecr-login"}


def test_registries_block_is_toml() -> None:
    found = tomllib.loads(block("registries-conf", [], is_store=False))
    assert found == {"credential-helpers": ["containers-auth.json", "ecr-login"]}


@pytest.mark.parametrize("arguments", [["docker"], ["gitlab-runner"], ["podman", "--store"]])
def test_block_that_says_nothing_is_refused(
    ecsauth: Callable[..., Result], arguments: list[str]
) -> None:
    assert ecsauth("install", "helper", "--print", *arguments).code == 2
    assert ecsauth("install", "helper", "--print", *arguments, "--print=docker", HOST).code == 0


def test_printing_puts_nothing_in_place(ecsauth: Callable[..., Result], tmp_path: Path) -> None:
    result = ecsauth("install", "helper", "--print=docker", "--bin-dir", tmp_path / "bin", HOST)
    assert (json.loads(result.out), result.err) == (HELPERS, "")
    assert not (tmp_path / "bin").exists()
    assert not (tmp_path / "home" / ".docker").exists()
