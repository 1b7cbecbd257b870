"""explain: the agent's choice in words, identical to what the agent does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecsauth.engine_auth import env_file as ecs_config
from ecsauth.engine_auth.codec import AgentView, EngineAuth, decode
from ecsauth.engine_auth.explain import explain
from tests.builders import DATA, HOST, b64, ecr_password

_VIEW = json.loads((DATA / "agent-view.json").read_text())


def view_of(entries: dict[str, Any], auth_type: str = "dockercfg") -> AgentView:
    return decode(EngineAuth(auth_type, json.dumps(entries)))


def logins(*pairs: str) -> dict[str, Any]:
    return {key: {"auth": b64(f"{user}:p")} for key, user in (pair.split("=") for pair in pairs)}


@pytest.mark.parametrize("vector", _VIEW["vectors"], ids=lambda item: item["name"])
def test_explanation_agrees_with_the_agent(vector: dict[str, Any]) -> None:
    view = decode(ecs_config.read_engine_auth(vector["ecs_config"].encode()))
    for image in _VIEW["images"]:
        found = explain(view, image)
        agent = vector["auth"].get(image, {})
        assert found.username == agent.get("username", "")
        kinds = {
            "password": "password",
            "identitytoken": "identity_token",
            "registrytoken": "registry_token",
        }
        expected = {kinds[name] for name in agent if name in kinds}
        if agent.get("username") and not expected:
            expected = {"password"}
        assert ({found.auth} - {None}) == expected
        assert (found.key is None) or agent or not found.auth
        assert found.reason


@pytest.mark.parametrize(
    ("keys", "image", "key", "words"),
    [
        (["q.io=u"], "q.io/app", "q.io", "is the image's registry"),
        (["https://q.io=u"], "q.io/app", "https://q.io", "is the image's registry"),
        (["https://index.docker.io/v1/=u"], "nginx", "https://index.docker.io/v1/", "Docker Hub"),
        (["q.io=u", "q.io/a=v"], "q.io/a/b", "q.io/a", "the longest key"),
        (["q.io/a=v"], "q.io/a/b", "q.io/a", "a key that the image's name starts with"),
        (["q.io/a=v"], "q.io/b", "q.io/a", "sends this login anyway"),
        (["x.io=u"], "q.io/b", None, "no key for q.io"),
        (["docker.io=u"], "nginx", None, "never matches"),
        (["Q.io=u"], "q.io/x", None, "never matches"),
        ([], "nginx", None, "no logins"),
        ([f"{HOST}=AWS"], f"{HOST}/app", HOST, "asks ECR for a token by itself"),
        ([], f"{HOST}/app", None, "asks ECR for a token by itself"),
        ([], "public.ecr.aws/x/y", None, "1 instead of 10"),
    ],
)
def test_reason_names_the_rule_that_applies(
    keys: list[str], image: str, key: str | None, words: str
) -> None:
    found = explain(view_of(logins(*keys)), image)
    assert found.key == key
    assert words in found.reason


def test_random_choice_is_reported() -> None:
    found = explain(view_of(logins("q.io/aa=u", "q.io/bbb=v")), "q.io/c")
    assert found.ambiguous
    for words in "random", "q.io/aa, q.io/bbb", "a key for q.io itself":
        assert words in found.reason
    assert not explain(view_of(logins("q.io/aa=u", "q.io=v")), "q.io/c").ambiguous


def test_skipped_entry_and_fault_are_the_reason() -> None:
    assert "not base64" in explain(view_of({"q.io": {"auth": "!"}}), "q.io/a").reason
    fault = explain(view_of(logins("q.io=u"), "Docker"), "q.io/a")
    assert "no login at all" in fault.reason
    assert (fault.key, fault.auth) == (None, None)


def test_kind_of_login() -> None:
    entries = {
        "a.io": {"username": "u", "password": "p"},
        "b.io": {"identitytoken": "t"},
        "c.io": {"registrytoken": "t"},
        "d.io": {"email": "e"},
    }
    view = view_of(entries, "docker")
    kinds = [explain(view, f"{host}/x").auth for host in entries]
    assert kinds == ["password", "identity_token", "registry_token", None]


def test_expiry_of_an_ecr_token_is_shown_without_its_password() -> None:
    password = ecr_password(1_900_000_000)
    found = explain(view_of({HOST: {"auth": b64(f"AWS:{password}")}}), f"{HOST}/x")
    assert found.expires_at == 1_900_000_000
    assert password not in repr(found)
