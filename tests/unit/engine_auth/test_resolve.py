"""The port of the agent's loader, compared with the agent's own results for 61 files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecsauth.engine_auth import env_file as ecs_config
from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.resolve import Resolution, resolve
from tests.builders import DATA

_VIEW = json.loads((DATA / "agent-view.json").read_text())
_FIELDS = {
    "username": "username",
    "password": "secret",
    "identitytoken": "identity_token",
    "registrytoken": "registry_token",
}


def _shown(found: Resolution, auth_type: str) -> dict[str, str]:
    if found.credential is None:
        return {}
    fields = _FIELDS if auth_type == "dockercfg" else {**_FIELDS, "email": "email"}
    values = {name: getattr(found.credential, attribute) for name, attribute in fields.items()}
    return {name: value for name, value in values.items() if value}


@pytest.mark.parametrize("vector", _VIEW["vectors"], ids=lambda item: item["name"])
def test_port_reads_what_the_agent_reads(vector: dict[str, Any]) -> None:
    data = vector["ecs_config"].encode()
    settings = ecs_config.read_engine_auth(data)
    credentials = decode(settings).credentials
    seen = {
        image: _shown(resolve(credentials, image), settings.auth_type) for image in _VIEW["images"]
    }
    assert {image: auth for image, auth in seen.items() if auth} == vector["auth"]
    assert settings.auth_type.strip() == vector["type"]
    assert ecs_config.read(data).get("ECS_CLUSTER", "") == vector["cluster"]


def test_vectors_hold_both_readable_and_unreadable_files() -> None:
    readable = [vector["name"] for vector in _VIEW["vectors"] if vector["auth"]]
    assert len(_VIEW["vectors"]) == 61
    assert 20 < len(readable) < 50
