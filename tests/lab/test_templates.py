"""The CloudFormation templates of samples/: linted, deployed on moto, their permissions enough."""

from __future__ import annotations

import ast
import base64
import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Result
from tests.lab.box import PROJECT
from tests.lab.moto import REGION, Moto

RunProgram = Callable[..., Result]
SAMPLES = PROJECT / "samples"
TEMPLATES = sorted(path.name for path in SAMPLES.glob("*.yaml") if path.name != "user-data.yaml")
LOGIN = '{"username":"u","password":"n0t-to-be-seen"}'
SECRET = "secretsmanager:registry/quay?registry=quay.io"
PARAMETER = "ssm:/registry/ghcr?registry=ghcr.io"


_Loader: Any = type("_Loader", (yaml.SafeLoader,), {})


def _held(loader: Any, _: str, node: Any) -> Any:
    """Read one of CloudFormation's tags as what it holds."""
    if isinstance(node, yaml.ScalarNode):
        return node.value
    return loader.construct_sequence(node, deep=True)


_Loader.add_multi_constructor("!", _held)


def resources(name: str) -> dict[str, Any]:
    document = yaml.load((SAMPLES / name).read_text(), _Loader)
    return {key: value.get("Properties", {}) for key, value in document["Resources"].items()}


WHEEL = "https://example.com/ecsauth-0.1.0-py3-none-any.whl"


def deploy(moto: Moto, name: str, **parameters: str) -> dict[str, str]:
    """Make a stack of a template; return its outputs."""
    cloudformation = moto.client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=(SAMPLES / f"{name}.yaml").read_text(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ],
    )
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}


def role_policy(moto: Moto, role: str, policy: str) -> dict[str, Any]:
    """Return a policy that a role has got; moto keeps it as Python prints it."""
    iam = moto.client("iam")
    (name,) = [
        item["RoleName"] for item in iam.list_roles()["Roles"] if f"-{role}-" in item["RoleName"]
    ]
    text = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    found: dict[str, Any] = ast.literal_eval(text) if isinstance(text, str) else text
    return found


def sample(name: str, bucket: str, key: str) -> dict[str, Any]:
    text = (SAMPLES / f"iam-{name}.json").read_text()
    found: dict[str, Any] = json.loads(
        text.replace("BUCKET/ecs.config", f"BUCKET/{key}").replace("BUCKET", bucket)
    )
    return found


def as_moto_enforces(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out conditions, and resources but S3's, which it does not know."""
    made = copy.deepcopy(document)
    for statement in made["Statement"]:
        statement.pop("Condition", None)
        if "s3:" not in str(statement["Action"]):
            statement["Resource"] = "*"
    return made


@pytest.fixture
def stacks(moto: Moto) -> Iterator[dict[str, str]]:
    """Both templates, deployed one after the other as README says; their outputs."""
    moto.client("s3").create_bucket(
        Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    moto.client("s3").put_object(Bucket="code", Key="ecsauth-lambda.zip", Body=b"zip")
    made = deploy(moto, "cluster", ClusterName="prod", ObjectKey="a/b.config", EcsauthPackage=WHEEL)
    made.update(
        deploy(
            moto,
            "publisher",
            BucketName=made["BucketName"],
            ObjectKey="a/b.config",
            CodeBucket="code",
            Sources=f"{SECRET} {PARAMETER}",
        )
    )
    yield made
    moto.reset()


def dress(moto: Moto, bucket: str) -> None:
    """Give the bucket what its template says, for moto's CloudFormation makes a bare one."""
    said = resources("cluster.yaml")["Bucket"]
    s3 = moto.client("s3")
    public = said["PublicAccessBlockConfiguration"]
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=public)
    versions = said["VersioningConfiguration"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versions)
    (rule,) = said["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    rules = [{"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


@pytest.mark.parametrize("name", TEMPLATES)
def test_linter_finds_nothing_in_a_template(name: str, tmp_path: Path) -> None:
    lint = [str(Path(sys.executable).with_name("cfn-lint")), "--include-checks", "I", "--"]
    done = subprocess.run(
        [*lint, str(SAMPLES / name)], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    wrong = tmp_path / name
    wrong.write_text((SAMPLES / name).read_text().replace("!Ref ", "!Ref No", 1))
    assert subprocess.run([*lint, str(wrong)], capture_output=True, cwd=tmp_path).returncode


def test_launch_template_is_what_the_sample_of_user_data_says(
    moto: Moto, stacks: dict[str, str]
) -> None:
    found = moto.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=stacks["LaunchTemplateId"]
    )["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    script = (SAMPLES / "user-data.sh").read_text()
    for before, after in {
        "BUCKET/ecs.config": f"{stacks['BucketName']}/a/b.config",
        "cluster=my-cluster": "cluster=prod",
    }.items():
        assert script.count(before) == 1
        script = script.replace(before, after)
    assert base64.b64decode(found["UserData"]).decode() == script
    assert len(found["UserData"]) < 16384  # EC2's limit, encoded
    assert found["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert found["ImageId"].startswith("ami-")
    assert "InstanceProfile" in found["IamInstanceProfile"]["Arn"]


def test_bucket_is_private_encrypted_and_versioned() -> None:
    said = resources("cluster.yaml")
    assert set(said["Bucket"]["PublicAccessBlockConfiguration"].values()) == {True}
    (statement,) = said["BucketPolicy"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Condition"]) == (
        *("Deny", "s3:*"),
        {"Bool": {"aws:SecureTransport": "false"}},
    )
    (rule,) = said["Bucket"]["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["NoncurrentVersionExpiration"]) == (
        "Enabled",
        {"NoncurrentDays": 7},
    )


def test_permissions_of_the_roles_are_those_of_the_samples(
    moto: Moto, stacks: dict[str, str]
) -> None:
    bucket = stacks["BucketName"]
    publisher = role_policy(moto, "PublisherRole", "ecsauth-publish")
    assert publisher == sample("publisher", bucket, "a/b.config")
    instance = role_policy(moto, "InstanceRole", "ecsauth-pull")
    assert instance == sample("instance", bucket, "a/b.config")
    run = role_policy(moto, "PublisherRole", "ecsauth-run")
    actions = [statement["Action"] for statement in run["Statement"]]
    assert actions == [["logs:CreateLogStream", "logs:PutLogEvents"], "sqs:SendMessage"]
    assert "*" not in [statement["Resource"] for statement in run["Statement"]]


def test_function_publishes_and_an_instance_pulls_with_just_these_permissions(
    ecsauth: RunProgram,
    moto: Moto,
    stacks: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    tmp_path: Path,
) -> None:
    from ecsauth import aws_lambda

    dress(moto, stacks["BucketName"])
    moto.client("secretsmanager").create_secret(Name="registry/quay", SecretString=LOGIN)
    moto.client("ssm").put_parameter(Name="/registry/ghcr", Value=LOGIN, Type="SecureString")
    function = moto.client("lambda").get_function(FunctionName=stacks["FunctionName"])
    configuration = function["Configuration"]
    assert configuration["Handler"] == f"{aws_lambda.__name__}.{aws_lambda.handler.__name__}"
    assert function["Concurrency"]["ReservedConcurrentExecutions"] == 1
    roles = {
        "publisher": role_policy(moto, "PublisherRole", "ecsauth-publish"),
        "instance": role_policy(moto, "InstanceRole", "ecsauth-pull"),
    }
    monkeypatch.delenv("ECSAUTH_STATE_DIR")
    monkeypatch.setattr(aws_lambda, "_STATE", f"--state-dir={tmp_path}/lambda")
    variables = moto.user_with("publisher", as_moto_enforces(roles["publisher"]))
    variables.update(configuration["Environment"]["Variables"])
    with monkeypatch.context() as context:
        for name, value in variables.items():
            context.setenv(name, value)
        found = aws_lambda.handler({}, None)
    said = capfdbinary.readouterr().err.decode()
    assert found["code"] == 0, said
    assert found["targets"][0]["target"] == stacks["Target"]
    assert set(found["targets"][0]["registries"]) == {"quay.io", "ghcr.io"}
    for word in ("warning", "could not look", "n0t-to-be-seen"):
        assert word not in said
    moto.post("reset-auth", "1000000000")
    with monkeypatch.context() as context:
        for name, value in moto.user_with("instance", as_moto_enforces(roles["instance"])).items():
            context.setenv(name, value)
        done = ecsauth("pull", stacks["Target"], "--to", tmp_path / "ecs.config")
        assert done.code == 0, done.err
        assert "quay.io" in (tmp_path / "ecs.config").read_text()
        login = tmp_path / "login.json"
        login.write_text('{"auths":{"q.io":{"auth":"dTpw"}}}')
        done = ecsauth("publish", login, stacks["Target"])
        assert (done.code, "access denied to s3:PutObject" in done.err) == (4, True)


def test_schedule_tries_again_and_failures_are_kept_and_told() -> None:
    said = resources("publisher.yaml")
    assert said["Schedule"]["ScheduleExpression"] == "rate(15 minutes)"
    assert said["Schedule"]["FlexibleTimeWindow"]["Mode"] == "FLEXIBLE"
    target = said["Schedule"]["Target"]
    assert (target["Arn"], target["DeadLetterConfig"]) == (
        "Function.Arn",
        {"Arn": "FailedRuns.Arn"},
    )
    assert said["Retries"]["DestinationConfig"]["OnFailure"]["Destination"] == "FailedRuns.Arn"
    assert said["FailureAlarm"]["MetricName"] == "Errors"
    assert said["LogGroup"]["RetentionInDays"] == 30
    for alarm in ("FailureAlarm", "SilenceAlarm"):
        assert said[alarm]["Dimensions"] == [{"Name": "FunctionName", "Value": "Function"}]
