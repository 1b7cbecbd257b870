"""The IAM policies of samples/ against the calls that are really made, permissions enforced."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.env_file import read_engine_auth
from tests.conftest import Result
from tests.lab.box import PROJECT
from tests.lab.moto import REGION, Moto

RunProgram = Callable[..., Result]
URL = "s3://fleet/ecs.config"
SECRET = "secretsmanager:registry/quay?registry=quay.io"
PARAMETER = "ssm:/registry/ghcr?registry=ghcr.io"
LOGIN = '{"username":"u","password":"p"}'
LOOKS = (
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketPolicyStatus",
    "s3:GetBucketAcl",
    "s3:GetObjectAcl",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
)

NOT_ENFORCED = ("s3:GetBucketPublicAccessBlock", "s3:GetEncryptionConfiguration")
"""By moto; see test_s3 for what is said without them."""


def policy(name: str) -> dict[str, Any]:
    """A policy of samples/ for our bucket, as far as moto enforces one.

    It knows no conditions, and resources only of S3.
    """
    text = (PROJECT / "samples" / f"iam-{name}.json").read_text().replace("BUCKET", "fleet")
    document: dict[str, Any] = json.loads(text)
    for statement in document["Statement"]:
        statement.pop("Condition", None)
        if "s3:" not in str(statement["Action"]):
            statement["Resource"] = "*"
        if isinstance(statement["Action"], str):
            statement["Action"] = [statement["Action"]]
    return document


def without(document: dict[str, Any], action: str) -> dict[str, Any]:
    left = copy.deepcopy(document)
    for statement in left["Statement"]:
        statement["Action"] = [item for item in statement["Action"] if item != action]
    left["Statement"] = [item for item in left["Statement"] if item["Action"]]
    return left


def actions(document: dict[str, Any]) -> set[str]:
    return {item for statement in document["Statement"] for item in statement["Action"]}


@pytest.fixture
def world(moto: Moto) -> Iterator[Moto]:
    """A bucket as it should be, a secret and a parameter."""
    s3 = moto.client("s3")
    where = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket="fleet", CreateBucketConfiguration=where)
    s3.put_bucket_versioning(Bucket="fleet", VersioningConfiguration={"Status": "Enabled"})
    key = moto.client("kms").create_key()["KeyMetadata"]["KeyId"]
    moto.client("kms").create_alias(AliasName="alias/ecsauth", TargetKeyId=key)
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket="fleet",
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]},
    )
    s3.put_public_access_block(
        Bucket="fleet",
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    moto.client("secretsmanager").create_secret(Name="registry/quay", SecretString=LOGIN)
    moto.client("ssm").put_parameter(Name="/registry/ghcr", Value=LOGIN, Type="SecureString")
    yield moto
    moto.reset()


def as_user(moto: Moto, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]) -> None:
    for name, value in moto.user_with("somebody", document).items():
        monkeypatch.setenv(name, value)


def publish(ecsauth: RunProgram, *options: str) -> Result:
    return ecsauth("publish", SECRET, PARAMETER, URL, *options)


def test_publisher_s_policy_is_enough(
    ecsauth: RunProgram, world: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(world, monkeypatch, policy("publisher"))
    done = publish(ecsauth)
    assert done.code == 0, done.err
    assert "could not check" not in done.err
    assert "warning" not in done.err
    assert set(LOOKS) < actions(policy("publisher"))


@pytest.mark.parametrize("action", ["secretsmanager:GetSecretValue", "ssm:GetParameter"])
def test_source_that_is_forbidden_is_named(
    ecsauth: RunProgram, world: Moto, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    as_user(world, monkeypatch, without(policy("publisher"), action))
    done = publish(ecsauth)
    assert done.code == 3
    assert f"access denied to {action}" in done.err


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject"])
def test_object_that_is_forbidden_is_named(
    ecsauth: RunProgram, world: Moto, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    as_user(world, monkeypatch, without(policy("publisher"), action))
    done = publish(ecsauth)
    assert done.code == 4
    assert f"access denied to {action}" in done.err


@pytest.mark.parametrize("action", [item for item in LOOKS if item not in NOT_ENFORCED])
def test_look_that_is_forbidden_is_named_and_no_failure(
    ecsauth: RunProgram, world: Moto, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    as_user(world, monkeypatch, without(policy("publisher"), action))
    done = publish(ecsauth)
    assert done.code == 0, done.err
    assert f"could not check its access settings ({action})" in done.err


def test_instance_s_policy_is_enough_and_no_more(
    ecsauth: RunProgram, world: Moto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert publish(ecsauth).code == 0
    target = tmp_path / "ecs.config"
    document = policy("instance")
    assert actions(document) == {"s3:GetObject", "kms:Decrypt"}
    as_user(world, monkeypatch, document)
    done = ecsauth("pull", URL, "--to", target)
    assert done.code == 0, done.err
    assert "quay.io" in target.read_text()
    assert publish(ecsauth).code == 3  # it may not ask the sources
    login = tmp_path / "login.json"
    login.write_text('{"auths":{"q.io":{"auth":"dTpw"}}}')
    done = ecsauth("publish", login, URL)
    assert (done.code, "access denied to s3:PutObject" in done.err) == (4, True)


def test_policy_of_an_instance_that_asks_for_itself_is_enough_and_no_more(
    ecsauth: RunProgram, world: Moto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert publish(ecsauth).code == 0
    target = tmp_path / "ecs.config"
    document = policy("instance-sources")
    as_user(world, monkeypatch, document)
    done = ecsauth("refresh", SECRET, PARAMETER, "--to", target)
    assert done.code == 0, done.err
    assert set(logins(target)) == {"quay.io", "ghcr.io"}
    assert "access denied" not in ecsauth("convert", "ecr:us-west-2").err  # moto's has expired
    assert ecsauth("pull", URL, "--to", tmp_path / "other").code == 3  # it may not read the object
    tokens = {"ecr:GetAuthorizationToken", "ecr-public:GetAuthorizationToken"}
    assert tokens < actions(document) & actions(policy("publisher"))


@pytest.mark.parametrize(
    ("action", "source"),
    [
        ("secretsmanager:GetSecretValue", SECRET),
        ("ssm:GetParameter", PARAMETER),
        ("ecr:GetAuthorizationToken", "ecr:us-west-2"),
    ],
)
def test_instance_that_asks_for_itself_is_told_what_it_lacks(
    ecsauth: RunProgram,
    world: Moto,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    action: str,
    source: str,
) -> None:
    as_user(world, monkeypatch, without(policy("instance-sources"), action))
    done = ecsauth("refresh", source, "--to", tmp_path / "ecs.config")
    assert done.code == 3
    assert f"access denied to {action}" in done.err


def logins(path: Path) -> list[str]:
    found = decode(read_engine_auth(path.read_bytes())).credentials
    return [item.match for item in found]


def test_instance_without_its_action_is_told(
    ecsauth: RunProgram, world: Moto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert publish(ecsauth).code == 0
    as_user(world, monkeypatch, without(policy("instance"), "s3:GetObject"))
    done = ecsauth("pull", URL, "--to", tmp_path / "ecs.config")
    assert done.code == 3
    assert "access denied to s3:GetObject" in done.err
    assert not (tmp_path / "ecs.config").exists()


def test_token_of_ecr_needs_its_action(
    ecsauth: RunProgram, world: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(world, monkeypatch, without(policy("publisher"), "ecr:GetAuthorizationToken"))
    done = ecsauth("publish", "ecr:us-west-2", URL)
    assert "access denied to ecr:GetAuthorizationToken" in done.err
    assert "ecr:GetAuthorizationToken" in actions(policy("publisher"))


def test_object_is_encrypted_as_it_is_said(
    ecsauth: RunProgram, world: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = world.client("s3")
    done = publish(ecsauth, "--sse=aws:kms", "--kms-key-id=alias/ecsauth", "--bucket-key")
    assert done.code == 0, done.err
    found = s3.head_object(Bucket="fleet", Key="ecs.config")
    assert found["ServerSideEncryption"] == "aws:kms"
    assert found["SSEKMSKeyId"].endswith("alias/ecsauth")
    assert found["BucketKeyEnabled"] is True
    s3.delete_object(Bucket="fleet", Key="ecs.config")
    assert publish(ecsauth, "--sse=AES256").code == 0
    assert s3.head_object(Bucket="fleet", Key="ecs.config")["ServerSideEncryption"] == "AES256"
    done = publish(ecsauth, "--kms-key-id=alias/ecsauth")
    assert (done.code, "need --sse aws:kms" in done.err) == (2, True)


def test_lambda_publishes(
    world: Moto, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ecsauth.aws_lambda import RefreshFailedError, handler

    monkeypatch.delenv("ECSAUTH_STATE_DIR")
    monkeypatch.setenv("ECSAUTH_SOURCES", SECRET)
    monkeypatch.setenv("ECSAUTH_TARGETS", URL)
    found = handler({"force": True}, None)
    assert found["code"] == 0
    assert found["targets"][0]["target"] == URL
    assert found["targets"][0]["registries"] == {"quay.io": "added"}
    assert handler({}, None)["targets"][0]["written"] is False
    body = world.client("s3").get_object(Bucket="fleet", Key="ecs.config")["Body"].read()
    assert b"quay.io" in body
    said = capfd.readouterr()
    assert said.out == ""
    assert "password" not in json.dumps(found)
    as_user(world, monkeypatch, without(policy("publisher"), "s3:PutObject"))
    monkeypatch.setenv("ECSAUTH_SOURCES", PARAMETER)
    with pytest.raises(RefreshFailedError, match="exit code 4"):
        handler({"force": True}, None)
    assert "access denied to s3:PutObject" in capfd.readouterr().err
