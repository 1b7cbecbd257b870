"""The agent's JSON file."""

from __future__ import annotations

import json

import pytest

from ecsauth.engine_auth.agent_json import is_untidy, read_engine_auth, write_engine_auth
from ecsauth.engine_auth.codec import EngineAuth
from ecsauth.errors import TargetError

NEW = EngineAuth("dockercfg", '{"q.io":{"auth":"dTpw"}}')


def test_members_are_written_and_others_kept_in_order() -> None:
    before = b'{"Cluster": "c", "engineauthtype": "docker", "Checkpoint": true, "N": 12345678901}'
    written = write_engine_auth(before, NEW)
    document = json.loads(written)
    assert list(document) == ["Cluster", "Checkpoint", "N", "EngineAuthType", "EngineAuthData"]
    assert document["EngineAuthData"] == {"q.io": {"auth": "dTpw"}}
    assert document["N"] == 12345678901
    assert read_engine_auth(written) == NEW
    assert write_engine_auth(written, NEW) == written


def test_numbers_stay_as_they_are_spelled() -> None:
    before = b'{"A": 1.10, "B": 1e999, "C": [0.10, -0, 123456789012345678901234567890]}'
    written = write_engine_auth(before, NEW).decode()
    for number in ("1.10", "1e999", "0.10", "-0", "123456789012345678901234567890"):
        assert f" {number}" in written


def test_repeated_settings_are_untidy() -> None:
    assert is_untidy(b'{"EngineAuthType": "docker", "engineauthtype": "docker"}')
    assert not is_untidy(b'{"EngineAuthType": "docker", "EngineAuthData": {}}')


@pytest.mark.parametrize("before", [b"", b"\n", b"{}"])
def test_empty_file_becomes_a_json_object(before: bytes) -> None:
    assert read_engine_auth(before) == EngineAuth("", "")
    assert read_engine_auth(write_engine_auth(before, NEW)) == NEW


def test_names_are_case_insensitive_as_in_go() -> None:
    text = b'{"ENGINEAUTHTYPE": "docker", "engineAuthData": {"q.io": {}}}'
    assert read_engine_auth(text) == EngineAuth("docker", '{"q.io":{}}')


@pytest.mark.parametrize("text", [b"{", b"[]", b"5", b'{"a":1} x', b"\xef\xbb\xbf{}"])
def test_broken_file_is_refused_not_replaced(text: bytes) -> None:
    for use in read_engine_auth, lambda data: write_engine_auth(data, NEW):
        with pytest.raises(TargetError) as caught:
            use(text)
        assert caught.value.reference == "agent-json-broken"
