"""Secrets Manager and Parameter Store through real boto3, against moto; its IAM enforced."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ecsauth.engine_auth.codec import EngineAuth, decode
from tests.builders import b64
from tests.conftest import Result
from tests.lab.moto import REGION, Moto

RunProgram = Callable[..., Result]
ECS = json.dumps({"username": "bot", "password": "pa:ss"})
DOCKER = json.dumps({"auths": {"a.io": {"auth": b64("u:p")}, "b.io": {"auth": b64("v:q")}}})
NESTED = json.dumps({"prod": {"quay": {"username": "n", "password": "p"}, "hub": "bare"}})


def entries(result: Result) -> dict[str, tuple[str, str]]:
    assert result.code == 0, result
    view = decode(EngineAuth("dockercfg", result.out))
    return {item.match: (item.username, item.secret) for item in view.credentials}


def convert(ecsauth: RunProgram, *sources: str) -> Result:
    return ecsauth("convert", "--output=data", *sources)


def secret(moto: Moto, name: str, text: str) -> str:
    made = moto.client("secretsmanager").create_secret(Name=name, SecretString=text)
    return str(made["ARN"])


def parameter(moto: Moto, name: str, text: str) -> None:
    moto.client("ssm").put_parameter(Name=name, Value=text, Type="SecureString")


SHAPES = [
    (ECS, "?registry=quay.io", {"quay.io": ("bot", "pa:ss")}),
    (ECS, "?registry=localhost:5000", {"localhost:5000": ("bot", "pa:ss")}),
    (DOCKER, "", {"a.io": ("u", "p"), "b.io": ("v", "q")}),
    (DOCKER, "?registry=b.io", {"b.io": ("v", "q")}),
    (NESTED, "?registry=quay.io&query=prod.quay", {"quay.io": ("n", "p")}),
    (NESTED, "?registry=q.io&query=prod.hub&username=me", {"q.io": ("me", "bare")}),
    ("bare\n", "?registry=q.io&username=me", {"q.io": ("me", "bare")}),
    ('"quoted"', "?registry=q.io&username=me", {"q.io": ("me", "quoted")}),
    (
        json.dumps({"user": "x", "pass": "y"}),
        "?registry=q.io&query=%7Busername:user,password:pass%7D",
        {"q.io": ("x", "y")},
    ),
]


@pytest.mark.parametrize("service", ["secretsmanager", "ssm"])
@pytest.mark.parametrize(("text", "query", "found"), SHAPES)
def test_shapes(
    ecsauth: RunProgram, moto: Moto, service: str, text: str, query: str, found: dict[str, object]
) -> None:
    make = secret if service == "secretsmanager" else parameter
    make(moto, "team/login", text)
    assert entries(convert(ecsauth, f"{service}:team/login{query}")) == found


def test_arn_says_the_region(
    ecsauth: RunProgram, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = secret(moto, "login", ECS)
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert entries(convert(ecsauth, f"secretsmanager:{arn}?registry=q.io"))
    named = convert(ecsauth, "secretsmanager:login?registry=q.io")
    assert "no AWS region is set" in named.err
    assert entries(convert(ecsauth, f"secretsmanager:login?registry=q.io&region={REGION}"))


def test_version_stage(ecsauth: RunProgram, moto: Moto) -> None:
    secret(moto, "login", ECS)
    newer = json.dumps({"username": "bot", "password": "newer"})
    moto.client("secretsmanager").put_secret_value(SecretId="login", SecretString=newer)
    assert entries(convert(ecsauth, "secretsmanager:login?registry=q.io"))["q.io"][1] == "newer"
    before = "secretsmanager:login?registry=q.io&version_stage=AWSPREVIOUS"
    assert entries(convert(ecsauth, before))["q.io"][1] == "pa:ss"


@pytest.mark.parametrize("service", ["secretsmanager", "ssm"])
@pytest.mark.parametrize(
    ("text", "query", "words"),
    [
        (ECS, "", "the secret names no registry; add ?registry=HOST"),
        ("SeCrEt", "?registry=q.io", "the secret is not JSON"),
        ("[1]", "?registry=q.io", "not a JSON object with username and password"),
        ('{"SeCrEt":"x"}', "?registry=q.io", "not a JSON object with username and password"),
        ('{"username":"x","password":5}', "?registry=q.io", "not a JSON object with username"),
        ('{"username":"x","password":""}', "?registry=q.io", "its password is empty"),
        ('{"username":"x","password":"a\\nb"}', "?registry=q.io", "control character"),
        (ECS, "?registry=q.io&query=absent", "the query finds nothing"),
        (DOCKER, "?registry=c.io", "no login for c.io"),
        ('{"credsStore":"x","auths":{"a.io":{}}}', "", "credential store x"),
    ],
)
def test_wrong_shapes(
    ecsauth: RunProgram, moto: Moto, service: str, text: str, query: str, words: str
) -> None:
    make = secret if service == "secretsmanager" else parameter
    make(moto, "login", text)
    result = convert(ecsauth, f"{service}:login{query}")
    assert (result.code, result.out) == (3, "")
    assert words in result.err
    assert len(result.err.splitlines()) == 1
    assert "SeCrEt" not in result.err


@pytest.mark.parametrize("query", ["max(@)", "keys(password)", "join(',',@)", "foo(@)"])
def test_query_that_does_not_fit_shows_no_secret(
    ecsauth: RunProgram, moto: Moto, query: str
) -> None:
    secret(moto, "login", json.dumps({"username": "bot", "password": "HUNTER2"}))
    result = convert(ecsauth, f"secretsmanager:login?registry=q.io&query={query}")
    assert result.code == 3
    assert "does not fit the document" in result.err
    assert "HUNTER2" not in result.err


def test_query_that_is_no_jmespath_is_refused_before_anything_is_asked(
    ecsauth: RunProgram, moto: Moto
) -> None:
    result = convert(ecsauth, "secretsmanager:absent?registry=q.io&query=[[")
    assert result.code == 2
    assert "is not valid JMESPath" in result.err


def test_binary_missing_and_deleted(ecsauth: RunProgram, moto: Moto) -> None:
    client = moto.client("secretsmanager")
    client.create_secret(Name="binary", SecretBinary=b"\x00\x01")
    secret(moto, "deleted", ECS)
    client.delete_secret(SecretId="deleted")
    for source, words in {
        "secretsmanager:binary": "the secret is binary; store it as text",
        "secretsmanager:absent": "there is no such name in us-west-2; check the name",
        "secretsmanager:deleted": "marked for deletion",
        "ssm:/absent": "there is no such name in us-west-2",
    }.items():
        result = convert(ecsauth, f"{source}?registry=q.io")
        assert result.code == 3
        assert words in result.err


@pytest.mark.parametrize(
    ("source", "action"),
    [
        ("ecr:us-west-2", "ecr:GetAuthorizationToken"),
        ("secretsmanager:login?registry=q.io", "secretsmanager:GetSecretValue"),
        ("ssm:login?registry=q.io", "ssm:GetParameter"),
    ],
)
def test_denied_action_and_who_was_denied_are_named(
    ecsauth: RunProgram, moto: Moto, monkeypatch: pytest.MonkeyPatch, source: str, action: str
) -> None:
    secret(moto, "login", ECS)
    parameter(moto, "login", ECS)
    for name, value in moto.user("ci", "s3:ListBucket").items():
        monkeypatch.setenv(name, value)
    result = convert(ecsauth, source)
    assert result.code == 3
    assert f"access denied to {action} for arn:aws:iam::123456789012:user/ci; " in result.err
    assert result.err.rstrip().endswith("user ci")


@pytest.mark.parametrize(
    ("source", "action"),
    [
        ("secretsmanager:login?registry=q.io", "secretsmanager:GetSecretValue"),
        ("ssm:login?registry=q.io", "ssm:GetParameter"),
    ],
)
def test_named_action_is_all_that_is_needed(
    ecsauth: RunProgram, moto: Moto, monkeypatch: pytest.MonkeyPatch, source: str, action: str
) -> None:
    secret(moto, "login", ECS)
    parameter(moto, "login", ECS)
    for name, value in moto.user("ci", action).items():
        monkeypatch.setenv(name, value)
    assert entries(convert(ecsauth, source)) == {"q.io": ("bot", "pa:ss")}


def test_role_is_assumed_with_its_external_id(
    ecsauth: RunProgram, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret(moto, "login", ECS)
    role = "arn:aws:iam::123456789012:role/reader"
    for name, value in moto.user("ci", "secretsmanager:GetSecretValue").items():
        monkeypatch.setenv(name, value)
    query = f"registry=q.io&role_arn={role}&external_id=shared-word"
    result = convert(ecsauth, f"secretsmanager:login?{query}")
    assert result.code == 3
    assert "access denied to sts:AssumeRole" in result.err
    assert "shared-word" not in result.err
