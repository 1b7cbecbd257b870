"""The helper in docker's config.json: put in, taken out, everything else kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecsauth.errors import TargetError
from ecsauth.installation.docker_settings import Wanted, put_in, take_out
from tests.builders import HOST, b64

PUBLIC = "public.ecr.aws"
BOTH = Wanted((HOST, PUBLIC))


def text(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_new_file_is_made() -> None:
    edited = put_in(b"", BOTH, "f")
    assert json.loads(edited.text) == {"credHelpers": {HOST: "ecr-login", PUBLIC: "ecr-login"}}
    assert edited.text.startswith(b'{\n\t"credHelpers"'), "as docker writes it"
    assert edited.changes == [
        f"credHelpers: set {HOST} to ecr-login",
        f"credHelpers: set {PUBLIC} to ecr-login",
    ]


def test_all_else_is_kept_in_its_order_and_spelling() -> None:
    before = '{"z":1.50,"auths":{"q.io":{}},"credHelpers":{"gcr.io":"gcr"},"a":[1e2,"\\u00e9"]}'
    edited = put_in(before.encode(), BOTH, "f")
    after = json.loads(edited.text)
    assert list(after) == ["z", "auths", "credHelpers", "a"]
    assert after["credHelpers"] == {"gcr.io": "gcr", HOST: "ecr-login", PUBLIC: "ecr-login"}
    assert b"1.50" in edited.text
    assert b"1e2" in edited.text
    back = take_out(edited.text, (), "f")
    assert json.loads(back.text) == json.loads(before)


def test_nothing_to_do_keeps_the_bytes() -> None:
    once = put_in(b'{ "a" : 1 }', BOTH, "f").text
    again = put_in(once, BOTH, "f")
    assert again.text == once
    assert again.changes == []
    odd = b'{ "a" : 1 }'
    assert take_out(odd, (), "f").text == odd
    assert put_in(odd, Wanted(), "f").text == odd


def test_another_helper_of_the_registry_is_replaced_and_named() -> None:
    edited = put_in(text({"credHelpers": {HOST: "pass"}}), Wanted((HOST,)), "f")
    assert edited.changes == [f"credHelpers: set {HOST} to ecr-login (was pass)"]


def test_store_is_put_in_but_replaces_no_other() -> None:
    edited = put_in(text({"a": 1}), Wanted(is_store=True), "f")
    assert json.loads(edited.text) == {"a": 1, "credsStore": "ecr-login"}
    assert put_in(edited.text, Wanted(is_store=True), "f").changes == []
    assert put_in(text({"credsStore": ""}), Wanted(is_store=True), "f").changes
    with pytest.raises(TargetError, match="credsStore is already set to pass") as caught:
        put_in(text({"credsStore": "pass"}), Wanted(is_store=True), "f")
    assert caught.value.reference == "docker-store-taken"


def test_member_names_are_read_in_any_case() -> None:
    edited = put_in(text({"CREDHELPERS": {"gcr.io": "gcr"}}), Wanted((HOST,)), "f")
    assert json.loads(edited.text) == {"CREDHELPERS": {"gcr.io": "gcr", HOST: "ecr-login"}}
    assert put_in(text({"credsstore": "ecr-login"}), Wanted(is_store=True), "f").changes == []
    assert json.loads(take_out(text({"CredsStore": "ecr-login"}), (), "f").text) == {}


LEFT = {HOST: {"auth": b64("AWS:old")}, "q.io": {"auth": b64("u:p")}}


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v2/"])
def test_left_over_login_is_warned_of_or_taken_out(key: str) -> None:
    before = text({"auths": {key: LEFT[HOST], "q.io": LEFT["q.io"]}})
    warned = put_in(before, Wanted((HOST,)), "f")
    assert len(warned.warnings) == 1
    assert "--logout" in warned.warnings[0]
    assert key in json.loads(warned.text)["auths"]
    edited = put_in(before, Wanted((HOST,), logs_out=True), "f")
    assert edited.warnings == []
    assert json.loads(edited.text)["auths"] == {"q.io": LEFT["q.io"]}
    assert f"auths: remove the login for {HOST}" in edited.changes


def test_store_checks_leftover_logins_of_every_ecr_registry() -> None:
    before = text({"auths": {**LEFT, PUBLIC: {"password": "x"}, "https://u:p@q.io": {"auth": "x"}}})
    assert len(put_in(before, Wanted(is_store=True), "f").warnings) == 2
    after = put_in(before, Wanted(is_store=True, logs_out=True), "f")
    assert set(json.loads(after.text)["auths"]) == {"q.io", "https://u:p@q.io"}


@pytest.mark.parametrize("entry", [{}, {"auth": ""}, {"email": "e"}, None, "x"])
def test_entry_without_a_login_is_kept_without_a_warning(entry: Any) -> None:
    edited = put_in(text({"auths": {HOST: entry}}), Wanted((HOST,), logs_out=True), "f")
    assert edited.warnings == []
    assert HOST in json.loads(edited.text)["auths"]


def test_take_out_leaves_other_helpers_and_other_registries() -> None:
    before = text({"credHelpers": {HOST: "ecr-login", PUBLIC: "ecr-login", "gcr.io": "gcr"}})
    some = take_out(before, [PUBLIC], "f")
    assert json.loads(some.text) == {"credHelpers": {HOST: "ecr-login", "gcr.io": "gcr"}}
    assert json.loads(take_out(before, (), "f").text) == {"credHelpers": {"gcr.io": "gcr"}}
    store = text({"credsStore": "ecr-login", "credHelpers": {HOST: "ecr-login"}})
    assert json.loads(take_out(store, [HOST], "f").text) == {"credsStore": "ecr-login"}
    assert json.loads(take_out(text({"credsStore": "pass"}), (), "f").text) == {
        "credsStore": "pass"
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "f is not JSON"),
        (b"[]", "f is not a JSON object"),
        (b"\xff\xfe", "f is not UTF-8 text"),
        (b'{"credHelpers":[]}', "f: credHelpers is not a JSON object"),
        (b'{"auths":1}', "f: auths is not a JSON object"),
    ],
)
def test_file_that_docker_cannot_read_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(TargetError, match=said) as caught:
        put_in(data, BOTH, "f")
    assert caught.value.reference == "docker-config-invalid"


def test_no_secret_is_shown() -> None:
    before = text({"auths": {HOST: {"auth": "s3cret"}}, "credHelpers": {HOST: "\x1b s3cret"}})
    edited = put_in(before, Wanted((HOST,), logs_out=True), "f")
    assert "s3cret" not in repr(edited)
