"""The samples for plain Docker, podman, Kubernetes and GitLab Runner, used by what they are for."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.builders import HOST, ROOT, b64
from tests.conftest import Result, need
from tests.lab.ecr_world import CLIS, IMAGE, ONE_CALL, Desk

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SAMPLES = ROOT / "samples"
CONTAINERS = SAMPLES / "containers"
GITLAB = SAMPLES / "gitlab-runner"


def put_helper_on_path(desk: Desk) -> None:
    desk.install()
    assert not desk.config.exists()


def use(desk: Desk, text: str) -> None:
    """Make a text the docker config of a user."""
    desk.config.parent.mkdir()
    desk.config.write_text(text)


@pytest.mark.parametrize(
    "sample",
    [
        CONTAINERS / "docker-config.json",
        CONTAINERS / "docker-config.store.json",
        GITLAB / "job-config.json",
    ],
    ids=lambda path: path.name,
)
@pytest.mark.parametrize("cli", CLIS)
def test_docker_pulls_with_the_config(desk: Desk, sample: Path, cli: str) -> None:
    put_helper_on_path(desk)
    assert desk.docker("pull", IMAGE, cli=cli).returncode != 0
    use(desk, sample.read_text())
    done = desk.docker("pull", IMAGE, cli=cli)
    assert done.returncode == 0, done.stderr
    assert desk.world.aws.calls == ONE_CALL


@pytest.mark.parametrize("program", ["skopeo", "podman"])
def test_podman_and_skopeo_take_auth_json(desk: Desk, program: str) -> None:
    need(program)
    put_helper_on_path(desk)
    done = pull(desk, program, REGISTRY_AUTH_FILE=str(CONTAINERS / "auth.json"))
    assert done.returncode == 0, done.stderr
    assert desk.world.aws.calls == ONE_CALL


@pytest.mark.parametrize("program", ["skopeo", "podman"])
def test_podman_and_skopeo_take_registries_conf(desk: Desk, program: str) -> None:
    need(program)
    put_helper_on_path(desk)
    assert pull(desk, program).returncode != 0
    conf = str(CONTAINERS / "registries.conf")
    done = pull(desk, program, CONTAINERS_REGISTRIES_CONF=conf)
    assert done.returncode == 0, done.stderr
    assert desk.world.aws.calls == ONE_CALL


def pull(desk: Desk, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    if program == "skopeo":
        conf = variables.pop("CONTAINERS_REGISTRIES_CONF", "")
        options = [f"--registries-conf={conf}"] if conf else []
        return desk.run("skopeo", *options, "inspect", f"docker://{IMAGE}", **variables)
    storage = f"/run/{desk.home.parent.name}"
    options = [f"--root={storage}/root", f"--runroot={storage}/run", "--storage-driver=vfs"]
    return desk.run("podman", *options, "pull", "-q", IMAGE, **variables)


def runner_setting() -> str:
    document = tomllib.loads((GITLAB / "config.toml").read_text())
    (runner,) = document["runners"]
    (setting,) = runner["environment"]
    name, _, value = str(setting).partition("=")
    assert name == "DOCKER_AUTH_CONFIG"
    return value


def test_block_in_the_runners_sample_is_what_the_command_prints(
    ecsauth: Callable[..., Result],
) -> None:
    printed = ecsauth("install", "helper", "--print=gitlab-runner", HOST).out
    assert tomllib.loads(printed)["environment"] == [f"DOCKER_AUTH_CONFIG={runner_setting()}"]
    conf = ecsauth("install", "helper", "--print=registries-conf").out
    assert conf == (CONTAINERS / "registries.conf").read_text()
    both = ecsauth("install", "helper", "--print=docker", HOST, "public.ecr.aws").out
    for sample in (
        CONTAINERS / "docker-config.json",
        CONTAINERS / "auth.json",
        GITLAB / "job-config.json",
    ):
        assert sample.read_text() == both


@pytest.mark.parametrize("cli", CLIS)
def test_runners_setting_lets_docker_and_skopeo_in(desk: Desk, cli: str) -> None:
    need("skopeo")
    put_helper_on_path(desk)
    use(desk, runner_setting())
    assert desk.docker("pull", IMAGE, cli=cli).returncode == 0
    assert desk.run("skopeo", "inspect", f"docker://{IMAGE}").returncode == 0
    assert desk.world.aws.calls == ONE_CALL


def test_runners_list_needs_no_region(desk: Desk) -> None:
    put_helper_on_path(desk)
    program = str(desk.programs / "docker-credential-ecr-login")
    bare = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    assert desk.run(program, "list", **bare).stdout == "{}\n"
    assert desk.world.aws.calls == []


def test_user_data_of_the_runners_host_puts_everything_in_place(tmp_path: Path) -> None:
    need("python3")
    root = tmp_path / "root"
    for name in ("bin", "opt/ecsauth/bin", "root", "etc"):
        (root / name).mkdir(parents=True)
    script = (GITLAB / "user-data.sh").read_text()
    script = re.sub("(/opt/ecsauth|/etc/gitlab-runner|/root)", rf"{root}\1", script)
    stub = f'#!/bin/sh\n[ "$1 $2" = "-m venv" ] || exec {sys.executable} "$@"\n'
    (root / "bin" / "python3").write_text(stub)
    (root / "opt/ecsauth/bin/pip").write_text('#!/bin/sh\necho "pip $*"\n')
    real = f'#!/bin/sh\nexec {sys.executable} -m ecsauth "$@" --bin-dir {root}/bin\n'
    (root / "opt/ecsauth/bin/ecsauth").write_text(real)
    for path in (root / "bin/python3", *(root / "opt/ecsauth/bin").iterdir()):
        path.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": f"{root}/bin:{os.environ['PATH']}", "ECSAUTH_PACKAGE": "ecsauth==1"},
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert "pip install --quiet --disable-pip-version-check ecsauth==1" in done.stdout
    made = (root / "etc/gitlab-runner/job-config.json").read_text()
    assert made == (GITLAB / "job-config.json").read_text()
    assert (root / "bin/docker-credential-ecr-login").exists()


def test_image_pull_secret_holds_the_logins(
    tmp_path: Path, login_file: Callable[..., Path], ecsauth: Callable[..., Result]
) -> None:
    path = login_file({"q.io": {"auth": b64("u:pässword")}, HOST: {"auth": b64("AWS:t")}})
    script = CONTAINERS / "image-pull-secret.sh"
    environment = {**os.environ, "ECSAUTH": f"{sys.executable} -m ecsauth"}
    done = subprocess.run(
        [str(script), "pull", str(path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    secret = yaml.safe_load(done.stdout)
    assert (secret["kind"], secret["type"]) == ("Secret", "kubernetes.io/dockerconfigjson")
    again = tmp_path / "again.json"
    again.write_bytes(base64.b64decode(secret["data"][".dockerconfigjson"]))
    assert ecsauth("convert", again).out == ecsauth("convert", path).out
    assert json.loads(again.read_text())["auths"]["q.io"] == {"auth": b64("u:pässword")}
    failed = subprocess.run(
        [str(script), "pull", "/absent"], env=environment, capture_output=True, text=True
    )
    assert failed.returncode != 0
    assert failed.stdout == ""
