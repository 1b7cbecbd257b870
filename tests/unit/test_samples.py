"""Every file of samples/ is exercised: here, or in the test that is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ecsauth.engine_auth.codec import EngineAuth, decode
from ecsauth.engine_auth.resolve import resolve
from tests.builders import ROOT
from tests.conftest import Result

SAMPLES = ROOT / "samples"
ELSEWHERE = {
    "try": "lab/test_first_screen.py",
    "status.svg": "unit/app/test_status.py",
    "ecsauth.env": "lab/test_settings.py",
    "iam-publisher.json": "lab/test_policies.py",
    "iam-instance.json": "lab/test_policies.py",
    "iam-instance-sources.json": "lab/test_policies.py",
    "user-data.sh": "lab/test_user_data.py",
    "containers/auth.json": "lab/test_hosts.py",
    "containers/docker-config.json": "lab/test_hosts.py",
    "containers/docker-config.store.json": "lab/test_hosts.py",
    "containers/image-pull-secret.sh": "lab/test_hosts.py",
    "containers/registries.conf": "lab/test_hosts.py",
    "gitlab-runner/config.toml": "lab/test_hosts.py",
    "gitlab-runner/job-config.json": "lab/test_hosts.py",
    "gitlab-runner/user-data.sh": "lab/test_hosts.py",
    "marathon/Dockerfile": "lab/test_marathon.py",
    "marathon/app.json": "unit/installation/test_marathon.py",
    "marathon/build.sh": "lab/test_marathon.py",
    "marathon/helper.json": "lab/test_marathon.py",
    "marathon/helper.spec": "lab/test_marathon.py",
    "marathon/iam-agent.json": "unit/installation/test_marathon.py",
    "marathon/put.sh": "lab/test_marathon.py",
    "marathon/start.py": "lab/test_marathon.py",
    "iam-fleet.json": "lab/test_fleet.py",
    "ssm-refresh.json": "lab/test_ssm_document.py",
    "ssm-association.yaml": "lab/test_ssm_document.py",
    "user-data.yaml": "lab/test_user_data.py",
    "bake-ami.sh": "lab/test_user_data.py",
    "cluster.yaml": "lab/test_templates.py",
    "publisher.yaml": "lab/test_templates.py",
    "build-lambda.sh": "lab/test_lambda.py",
}
LOGIN_FILES = {
    # sample → format, image → user name
    "docker-config.json": (
        "dockercfg",
        {"nginx": "my_name", "ghcr.io/a/b": "ci-bot", "registry.example.com:5000/x": "deploy"},
    ),
    "dockercfg.json": ("dockercfg", {"myorg/app": "my_name"}),
    "identity-token.json": (
        "docker",
        {"example.azurecr.io/app": "00000000-0000-0000-0000-000000000000"},
    ),
}


@pytest.mark.parametrize("name", LOGIN_FILES)
def test_sample_login_file_serves_its_images(ecsauth: Callable[..., Result], name: str) -> None:
    auth_type, users = LOGIN_FILES[name]
    result = ecsauth("convert", SAMPLES / name)
    assert result.code == 0
    first, second = result.out.splitlines()
    assert first == f"ECS_ENGINE_AUTH_TYPE={auth_type}"
    credentials = decode(EngineAuth(auth_type, second.partition("=")[2])).credentials
    for image, user in users.items():
        found = resolve(credentials, image).credential
        assert found is not None
        assert found.username == user


def test_every_sample_is_exercised() -> None:
    files = {str(path.relative_to(SAMPLES)) for path in SAMPLES.rglob("*") if path.is_file()}
    assert files == {*LOGIN_FILES, *ELSEWHERE}
    for test in ELSEWHERE.values():
        assert (SAMPLES.parent / "tests" / test).exists()
