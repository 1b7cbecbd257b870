"""Login files of every known shape, and errors for the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecsauth.credentials.login_file import decode_entry, parse_docker_config, parse_document
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.errors import SourceError, UsageError
from tests.builders import b64

QUAY = parse_auth_key("quay.io")


def _decoded(entry: dict[str, Any]) -> tuple[str, str, str, str, str]:
    credential, _ = decode_entry(QUAY, entry)
    assert credential is not None
    return (*credential.login, credential.email)


@pytest.mark.parametrize(
    ("document", "keys"),
    [
        ({"auths": {"quay.io": {"auth": "dTpw"}}}, ["quay.io"]),
        ({"quay.io": {"auth": "dTpw"}}, ["quay.io"]),
        ({"auths": {}, "credHelpers": {"quay.io": "x"}}, []),
        ({"credsStore": "x"}, []),
        ({"auths": None, "credsStore": "x"}, []),
        ({"auths": {}}, []),
    ],
)
def test_known_shape_is_parsed(document: dict[str, Any], keys: list[str]) -> None:
    config = parse_docker_config(document, "f")
    assert list(config.auths) == keys
    assert config.creds_store == document.get("credsStore", "")
    assert config.cred_helpers == document.get("credHelpers", {})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "not a docker login file"),
        ({}, "holds no logins"),
        ({"x": 1}, "holds no logins"),
        ({"quay.io": {"auth": "dTpw"}, "HttpHeaders": {"a": "b"}}, "holds no logins"),
        ({"kind": "Secret", "data": {}}, "Kubernetes Secret"),
        ({"auths": []}, "auths is not an object"),
        ({"auths": "x"}, "auths is not an object"),
        ({"auths": {"quay.io": "dTpw"}}, "entry of 'quay.io' is not an object"),
        ({"auths": {"quay.io": None}}, "entry of 'quay.io' is not an object"),
        ({"auths": {}, "credsStore": 5}, "credsStore is not a string"),
        ({"auths": {}, "credHelpers": ["x"]}, "credHelpers is not an object"),
        ({"auths": {}, "credHelpers": {"quay.io": 5}}, "credHelpers is not an object"),
    ],
)
def test_other_shape_is_refused(document: Any, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        parse_docker_config(document, "f")


def test_select_finds_entries_elsewhere_in_the_document() -> None:
    document = {"clusters": {"prod": {"quay.io": {"auth": "dTpw"}}}}
    assert list(parse_docker_config(document, "f", "clusters.prod").auths) == ["quay.io"]
    with pytest.raises(SourceError) as caught:
        parse_docker_config(document, "f", "clusters.dev")
    assert caught.value.reference == "select-empty"
    for expression, reference in ("clusters[", "jmespath-syntax"), ("sum(@)", "jmespath-mismatch"):
        with pytest.raises(UsageError) as wrong:
            parse_docker_config(document, "f", expression)
        assert wrong.value.reference == reference


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b'{"auths": "\xff"}', "not UTF-8 text .byte 11"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{\n "auths": {,}\n}', "line 2, column 12"),
        (b'{"auths": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_invalid_json_error_names_the_position(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        parse_document(data, "f")


def test_json_error_does_not_show_the_document() -> None:
    with pytest.raises(SourceError) as caught:
        parse_document(b'{"auths": {"quay.io": {"auth": "aHVudGVyMg=="', "f")
    assert caught.value.__cause__ is None
    assert "aHVudGVyMg" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"auth": b64("u:p")}, ("u", "p", "", "", "")),
        ({"auth": b64("u:p"), "email": "e@x"}, ("u", "p", "", "", "e@x")),
        ({"auth": b64("u:p:q")}, ("u", "p:q", "", "", "")),
        ({"auth": b64("u:")}, ("u", "", "", "", "")),
        ({"auth": b64(":p")}, ("", "p", "", "", "")),
        ({"auth": b64("u:p\0\0")}, ("u", "p", "", "", "")),
        ({"auth": b64("ü:pä")}, ("ü", "pä", "", "", "")),
        ({"username": "u", "password": "p"}, ("u", "p", "", "", "")),
        ({"auth": b64("a:b"), "username": "u", "password": "p"}, ("a", "b", "", "", "")),
        ({"auth": b64("0:"), "identitytoken": "t"}, ("0", "", "t", "", "")),
        ({"identitytoken": "t"}, ("", "", "t", "", "")),
        ({"registrytoken": "t"}, ("", "", "", "t", "")),
        ({"auth": None, "username": "u", "password": "p"}, ("u", "p", "", "", "")),
    ],
)
def test_entry_decodes(entry: dict[str, Any], login: tuple[str, ...]) -> None:
    assert _decoded(entry) == login


@pytest.mark.parametrize("auth", ["dTpwcA", "dTpwcA=", "dTpw\ncA==", " dTpwcA== ", "dTpwcA==\n"])
def test_lenient_base64_is_read_and_reported(auth: str) -> None:
    credential, repaired = decode_entry(QUAY, {"auth": auth})
    assert credential is not None
    assert credential.login[:2] == ("u", "pp")
    assert repaired


def test_url_safe_base64_is_read() -> None:
    assert b64("u:\xff\xfe?~") != (lax := b64("u:\xff\xfe?~").replace("+", "-").replace("/", "_"))
    assert _decoded({"auth": lax})[1] == "\xff\xfe?~"


def test_strict_base64_is_not_repaired() -> None:
    assert decode_entry(QUAY, {"auth": b64("u:pp")})[1] == ""


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"auth": 5}, "auth is not a string"),
        ({"auth": ["x"]}, "auth is not a string"),
        ({"auth": "!!!"}, "not base64"),
        ({"auth": "dTpwc"}, "not base64"),
        ({"auth": "d=Tpw"}, "not base64"),
        ({"auth": b64("justuser")}, "has no colon"),
        ({"auth": "dTpw/w=="}, "not UTF-8"),
        ({"auth": b64("u:p\n")}, "password contains a control character"),
        ({"auth": b64("u\r:p")}, "user name contains a control character"),
        ({"auth": b64("u:p\x7f")}, "password contains a control character"),
        ({"auth": b64("u:a\0b")}, "password contains a control character"),
        ({"username": "u", "password": "\ud800"}, "password is not valid UTF-8"),
        ({"username": 1, "password": "p"}, "username is not a string"),
        ({"auth": b64("u:p"), "email": "e\n"}, "email contains a control character"),
        ({"identitytoken": "t\n"}, "identity token contains a control character"),
    ],
)
def test_unusable_entry_says_why_without_the_secret(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        decode_entry(QUAY, entry)
    assert str(caught.value).startswith("quay.io: ")


@pytest.mark.parametrize("entry", [{}, {"auth": ""}, {"email": "e@x"}, {"auth": None}])
def test_entry_without_login_returns_none(entry: dict[str, Any]) -> None:
    assert decode_entry(QUAY, entry) == (None, "")


def test_kubernetes_secret_round_trip() -> None:
    secret = {
        "auths": {"quay.io": {"username": "u", "password": "p", "email": "e", "auth": "dTpw"}}
    }
    config = parse_docker_config(parse_document(json.dumps(secret).encode(), "f"), "f")
    assert _decoded(dict(config.auths["quay.io"])) == ("u", "p", "", "", "e")
