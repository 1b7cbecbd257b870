"""Settings that the agent cannot read, and what their authors meant."""

from __future__ import annotations

import json

import pytest

from ecsauth.ecs_config import full_value, read_engine_auth
from ecsauth.engine_auth import EngineAuth
from ecsauth.recover import read_present
from tests.conftest import DATA, b64

_VECTORS = {
    item["name"]: item["ecs_config"]
    for item in json.loads((DATA / "agent-view.json").read_text())["vectors"]
}
_HUB = "index.docker.io/v1/"
_MEANT = {
    "dockercfg-hub": {_HUB: "my_name"},
    "data-single-quoted": {_HUB: "my_name"},
    "type-upper": {_HUB: "my_name"},
    "pretty-printed": {_HUB: "my_name"},
    "outer-auths-kept": {_HUB: "my_name"},
    "outer-auths-docker": {_HUB: "my_name"},
    "dockercfg:key docker.io": {_HUB: "u"},
    "dockercfg:key https://index.docker.io/v2/": {_HUB: "u"},
    "dockercfg:key GHCR.IO": {"ghcr.io": "u"},
    "dockercfg:unpadded": {"quay.io": "u"},
    "dockercfg:entry string": {"ghcr.io": "u"},
    "dockercfg:auth number": {"ghcr.io": "u"},
    "dockercfg:one bad of two": {"ghcr.io": "u"},
    "dockercfg:no colon": {},
    "dockercfg:latin1 bytes": {},
    "docker:newline in password": {"quay.io": "u"},
    "data-empty-object": {},
    "data-missing": {},
    "trailing-comma": {},
}


@pytest.mark.parametrize(("name", "meant"), _MEANT.items())
def test_present_logins_are_those_that_the_author_meant(name: str, meant: dict[str, str]) -> None:
    data = _VECTORS[name].encode()
    present = read_present(read_engine_auth(data), full_value(data))
    assert {item.match: item.username for item in present.credentials} == meant


@pytest.mark.parametrize("name", ["data-single-quoted", "pretty-printed", "outer-auths-kept"])
def test_recovery_is_said(name: str) -> None:
    data = _VECTORS[name].encode()
    present = read_present(read_engine_auth(data), full_value(data))
    assert any("until now" in line and "docker.io" in line for line in present.warnings)


def test_good_settings_come_without_a_word() -> None:
    present = read_present(EngineAuth("dockercfg", json.dumps({"q.io": {"auth": b64("u:p")}})))
    assert [item.username for item in present.credentials] == ["u"]
    assert present.warnings == ()


def test_value_beyond_repair_is_replaced_and_said() -> None:
    present = read_present(EngineAuth("docker", '{"q.io":'))
    assert present.credentials == ()
    assert any("replaced" in line for line in present.warnings)


def test_entry_in_the_form_of_the_other_format_is_recovered() -> None:
    data = json.dumps({"q.io": {"auth": b64("u:hunter2")}})
    present = read_present(EngineAuth("docker", data))
    assert [item.login for item in present.credentials] == [("u", "hunter2", "", "")]
    assert "hunter2" not in str(present)


def test_alias_beside_the_real_key_is_dropped() -> None:
    data = {"docker.io": {"auth": b64("a:1")}, "https://index.docker.io/v1/": {"auth": b64("b:2")}}
    for entries in data, dict(reversed(data.items())):
        present = read_present(EngineAuth("dockercfg", json.dumps(entries)))
        assert [item.username for item in present.credentials] == ["b"]


def test_session_entries_are_dropped() -> None:
    data = {"https://index.docker.io/v1/access-token": {"auth": b64("a:1")}}
    assert read_present(EngineAuth("dockercfg", json.dumps(data))).credentials == ()
