"""Every file of samples/ is exercised: here, or in another test."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth.engine_auth.codec import EngineAuth, decode
from ecsauth.engine_auth.resolve import resolve
from tests.builders import ROOT
from tests.conftest import Result

SAMPLES = ROOT / "samples"
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


def test_every_sample_is_opened_by_a_test_or_by_another_sample() -> None:
    """Its name ends a string there; tests make the name of a policy of what follows iam-."""
    here = Path(__file__)
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]
    others = [path for path in (*here.parents[1].rglob("*.py"), *files) if path != here]
    texts = {path: path.read_text() for path in others}
    unopened = []
    for path in files:
        names = {path.name, path.stem.removeprefix("iam-") if "iam-" in path.name else path.name}
        wanted = re.compile(rf"""["'/ ]({"|".join(map(re.escape, names))})["'\s]""")
        is_opened = any(wanted.search(text) for other, text in texts.items() if other != path)
        if path.name not in LOGIN_FILES and not is_opened:
            unopened.append(str(path.relative_to(SAMPLES)))
    assert unopened == []
