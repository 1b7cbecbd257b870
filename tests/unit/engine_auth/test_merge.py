"""Merging: what is added, updated, kept or dropped, and when there is nothing to write."""

from __future__ import annotations

import json

import pytest

from ecsauth.credentials.ecr_token import ecr_token_expiry, with_known_expiry
from ecsauth.engine_auth.codec import EngineAuth, decode, encode
from ecsauth.engine_auth.merge import Plan, make_plan
from ecsauth.errors import EncodeError
from tests.builders import HOST, b64, credential, ecr_password

UNSET = EngineAuth("", "")
NOW = 1_800_000_000


def kinds(plan: Plan) -> dict[str, str]:
    return {change.credential.match: change.kind for change in plan.changes}


def test_first_run_adds_all() -> None:
    plan = make_plan(UNSET, [credential("a.io"), credential("b.io")], now=NOW)
    assert kinds(plan) == {"a.io": "added", "b.io": "added"}
    assert plan.changed
    assert plan.engine_auth == encode(plan.credentials, "dockercfg")


def test_second_run_changes_nothing() -> None:
    first = make_plan(UNSET, [credential("a.io")], now=NOW)
    second = make_plan(first.engine_auth, [credential("a.io")], now=NOW)
    assert not second.changed
    assert kinds(second) == {"a.io": "unchanged"}


def test_same_logins_in_another_spelling_change_nothing() -> None:
    current = EngineAuth("dockercfg", '{ "b.io": {"auth":"dTpw"},\t"a.io": {"auth":"dTpw"} }')
    assert not make_plan(current, [credential("a.io")], now=NOW).changed


def test_new_secret_updates_in_place_and_others_are_kept() -> None:
    current = encode([credential("a.io"), credential("b.io"), credential("c.io")], "dockercfg")
    plan = make_plan(current, [credential("b.io", secret="new")], now=NOW)
    assert kinds(plan) == {"a.io": "kept", "b.io": "updated", "c.io": "kept"}
    assert [item.match for item in plan.credentials] == ["a.io", "b.io", "c.io"]
    assert plan.changed


def test_replace_drops_what_was_not_produced() -> None:
    current = encode([credential("a.io"), credential("b.io")], "dockercfg")
    plan = make_plan(current, [credential("b.io")], replace=True, now=NOW)
    assert kinds(plan) == {"b.io": "unchanged", "a.io": "removed"}
    assert [item.match for item in decode(plan.engine_auth).credentials] == ["b.io"]
    assert plan.changed


def test_key_with_another_scheme_is_the_same_registry() -> None:
    current = encode([credential("https://a.io", secret="old")], "dockercfg")
    plan = make_plan(current, [credential("a.io")], now=NOW)
    assert kinds(plan) == {"a.io": "updated"}
    assert list(json.loads(plan.engine_auth.auth_data)) == ["a.io"]


def test_auto_switches_all_entries_to_docker_for_a_token() -> None:
    current = encode([credential("a.io")], "dockercfg")
    plan = make_plan(current, [credential("b.io", identity_token="t")], now=NOW)
    assert plan.engine_auth.auth_type == "docker"
    assert [item.login for item in decode(plan.engine_auth).credentials] == [
        ("u", "p", "", ""),
        ("u", "p", "t", ""),
    ]


def test_auto_leaves_a_target_in_docker_format() -> None:
    current = encode([credential("a.io")], "docker")
    assert not make_plan(current, [credential("a.io")], now=NOW).changed
    assert make_plan(current, [credential("a.io")], auth_format="dockercfg", now=NOW).changed


def test_dockercfg_cannot_take_a_kept_token() -> None:
    current = encode([credential("a.io", identity_token="t")], "docker")
    with pytest.raises(EncodeError):
        make_plan(current, [credential("b.io")], auth_format="dockercfg", now=NOW)


def test_unreadable_type_is_repaired() -> None:
    good = encode([credential("a.io")], "dockercfg")
    plan = make_plan(EngineAuth("DockerCfg", good.auth_data), [credential("a.io")], now=NOW)
    assert plan.changed
    assert plan.engine_auth == good


def test_email_survives_a_merge() -> None:
    current = EngineAuth("dockercfg", '{"a.io":{"auth":"dTpw","email":"e@x"}}')
    plan = make_plan(current, [credential("b.io")], now=NOW)
    assert json.loads(plan.engine_auth.auth_data)["a.io"]["email"] == "e@x"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["ghcr.io/a", "ghcr.io/b"], "only some of its namespaces"),
        (["ghcr.io/a"], "only some of its namespaces"),
        (["ghcr.io/a", "ghcr.io"], ""),
        (["myregistry"], "no dot or port"),
        (["myregistry:5000"], ""),
    ],
)
def test_plan_warns_of_keys_that_match_too_much_or_never(keys: list[str], words: str) -> None:
    plan = make_plan(UNSET, [credential(key) for key in keys], now=NOW)
    assert bool(plan.warnings) is bool(words)
    assert words in "".join(plan.warnings)


@pytest.mark.parametrize(("expiration", "warned"), [(NOW, True), (NOW + 1, False)])
def test_kept_ecr_token_that_has_expired_gives_a_warning(expiration: int, warned: bool) -> None:
    old = credential(HOST, "AWS", ecr_password(expiration))
    plan = make_plan(encode([old], "dockercfg"), [credential("a.io")], now=NOW)
    assert any("expired" in line for line in plan.warnings) is warned
    assert kinds(plan) == {HOST: "kept", "a.io": "added"}


@pytest.mark.parametrize(
    ("password", "expiry"),
    [
        (ecr_password(NOW), NOW),
        (ecr_password(NOW + 0.9), NOW),
        (ecr_password("soon"), None),
        (ecr_password(True), None),
        (ecr_password(-1), None),
        (ecr_password(2**50), None),
        (ecr_password(None), None),
        ("", None),
        ("hunter2", None),
        ("é", None),
        (b64("[1]"), None),
        (b64("[" * 100_000), None),
    ],
)
def test_expiry_of_an_ecr_password(password: str, expiry: int | None) -> None:
    assert ecr_token_expiry(password) == expiry


def test_expiry_is_read_only_for_ecr_hosts() -> None:
    password = ecr_password(NOW)
    for host in HOST, "public.ecr.aws":
        assert with_known_expiry(credential(host, "AWS", password)).expires_at == NOW
    assert with_known_expiry(credential("quay.io", "AWS", password)).expires_at is None
