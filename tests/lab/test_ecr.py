"""ECR and ECR Public through real boto3, against a counted stub on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from ecsauth.engine_auth.codec import EngineAuth, decode
from tests.builders import HOST, b64
from tests.conftest import Result
from tests.lab.aws_stub import PRIVATE, AwsStub, error_answer, token_answer

RunProgram = Callable[..., Result]
ASSUMED = (
    b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASSUMED</AccessKeyId>"
    b"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
    b"<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>"
    b"</AssumeRoleResponse>"
)


def entries(result: Result) -> dict[str, tuple[str, str]]:
    assert result.code == 0, result
    view = decode(EngineAuth("dockercfg", result.out))
    return {item.match: (item.username, item.secret) for item in view.credentials}


def convert(ecsauth: RunProgram, *sources: str) -> Result:
    return ecsauth("convert", "--output=data", *sources)


@pytest.mark.parametrize("source", ["ecr:", "ecr:us-west-2", f"ecr:{HOST}"])
def test_token_becomes_a_login(ecsauth: RunProgram, aws: AwsStub, source: str) -> None:
    assert entries(convert(ecsauth, source)) == {HOST: ("AWS", "t0ken")}
    assert len(aws.calls) == 1


def test_several_hosts_of_a_region_cost_one_call(ecsauth: RunProgram, aws: AwsStub) -> None:
    hosts = [f"{number}23456789012.dkr.ecr.us-west-2.amazonaws.com" for number in range(3)]
    found = entries(convert(ecsauth, *[f"ecr:{host}" for host in hosts], "ecr:us-west-2"))
    assert set(found) == {*hosts, HOST}
    assert len(aws.calls) == 1
    aws.calls.clear()
    other = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    convert(ecsauth, f"ecr:{HOST}", f"ecr:{other}")
    assert [call.split()[2] for call in aws.calls] == ["us-west-2", "eu-west-1"]


SOUND = {"authorizationToken": b64("AWS:x"), "proxyEndpoint": f"https://{HOST}"}


@pytest.mark.parametrize(
    "body",
    [
        [],
        "x",
        None,
        {"authorizationData": "x"},
        {"authorizationData": ["x"]},
        {"authorizationData": [{**SOUND, "expiresAt": "soon"}]},
        {"authorizationData": [{**SOUND, "expiresAt": 10**400}]},
        {"authorizationData": [{**SOUND, "expiresAt": [1]}]},
        {"authorizationData": [{**SOUND, "authorizationToken": 5}]},
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_answer_of_the_wrong_types_is_an_error_of_its_source(
    ecsauth: RunProgram, aws: AwsStub, login_file: Callable[..., Path], body: object, status: int
) -> None:
    aws.answers[PRIVATE] = lambda _, __: (status, body)
    result = convert(ecsauth, "ecr:us-west-2", str(login_file({"q.io": {"auth": b64("u:p")}})))
    assert result.code == 3
    assert list(json.loads(result.out)) == ["q.io"]
    assert len(result.errors) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>",
        ASSUMED.replace(b"<SecretAccessKey>s</SecretAccessKey>", b""),
        b"<html/>",
        b"<x",
    ],
)
def test_malformed_answer_of_sts_is_an_error_of_its_source(
    ecsauth: RunProgram, aws: AwsStub, body: bytes
) -> None:
    aws.answers["sts.AssumeRole"] = lambda _, __: (200, body)
    result = convert(ecsauth, "ecr:us-west-2?role_arn=arn:aws:iam::123456789012:role/puller")
    assert result.code == 3
    assert len(result.errors) == 1


@pytest.mark.parametrize(
    ("variables", "config", "words"),
    [
        (
            {"AWS_WEB_IDENTITY_TOKEN_FILE": "/absent", "AWS_ROLE_ARN": "arn:aws:iam::1:role/x"},
            "",
            "the file or program that provides them is missing",
        ),
        (
            {},
            "credential_process=/absent/program",
            "the file or program that provides them is missing",
        ),
        ({}, "credential_process=/bin/echo []", "failed"),
        ({}, "credential_process=/bin/echo hunter2", "failed"),
        ({"AWS_METADATA_SERVICE_TIMEOUT": "x"}, "", "failed"),
        (
            {
                "AWS_ENDPOINT_URL": "nonsense",
                "AWS_ACCESS_KEY_ID": "A",
                "AWS_SECRET_ACCESS_KEY": "s",
            },
            "",
            "failed",
        ),
        ({}, "[broken", "~/.aws/config is malformed"),
    ],
)
def test_odd_settings_of_the_sdk_are_errors_of_the_source(
    ecsauth: RunProgram,
    aws: AwsStub,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    config: str,
    words: str,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "aws-config").write_text(f"[default]\n{config}\n")
    result = convert(ecsauth, f"ecr:{HOST}")
    assert result.code == 3
    assert words in result.err
    assert "hunter2" not in result.err
    assert len(result.errors) == 1


def test_server_that_drips_is_given_up(
    ecsauth: RunProgram, aws: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecsauth.aws.session.TOTAL_SECONDS", 1.5)

    def slow(_: str, __: dict[str, object]) -> tuple[int, object]:
        time.sleep(5)
        return 500, {}

    aws.answers[PRIVATE] = slow
    begun = time.monotonic()
    result = convert(ecsauth, f"ecr:{HOST}")
    assert time.monotonic() - begun < 4
    assert "no answer to ecr:GetAuthorizationToken within 1.5 s" in result.err


def test_token_is_not_believed_to_live_longer_than_twelve_hours(
    ecsauth: RunProgram, aws: AwsStub
) -> None:
    aws.answers[PRIVATE] = token_answer(HOST, life=1e9)
    assert "its ECR token expires in 12.0 h" in convert(ecsauth, f"ecr:{HOST}").err


def test_throttling_once_is_outwaited(ecsauth: RunProgram, aws: AwsStub) -> None:
    good = aws.answers[PRIVATE]

    def first_throttled(region: str, body: dict[str, object]) -> tuple[int, object]:
        if len(aws.calls) == 1:
            return 400, {"__type": "ThrottlingException", "message": "Rate exceeded"}
        return good(region, body)

    aws.answers[PRIVATE] = first_throttled
    assert entries(convert(ecsauth, "ecr:us-west-2")) == {HOST: ("AWS", "t0ken")}
    assert len(aws.calls) == 2


def test_throttling_for_ever_ends(ecsauth: RunProgram, aws: AwsStub) -> None:
    aws.answers[PRIVATE] = error_answer(400, "ThrottlingException")
    result = convert(ecsauth, "ecr:us-west-2", f"ecr:{HOST}")
    assert result.code == 3
    # one call, and a client with its repetitions, though two sources want it
    assert len(aws.calls) == 4
    assert [line.split(": ")[2] for line in result.err.splitlines()] == [
        "ecr:us-west-2",
        f"ecr:{HOST}",
    ]


def test_clock_that_is_ten_minutes_slow_is_told_by_how_much(
    ecsauth: RunProgram, aws: AwsStub
) -> None:
    late = formatdate(time.time() + 601, usegmt=True)
    aws.date = late
    aws.answers[PRIVATE] = error_answer(403, "InvalidSignatureException", "Signature expired: x")
    result = convert(ecsauth, "ecr:us-west-2")
    assert "the clock of this host is 10 min slow; set it" in result.err


def test_role_that_may_not_be_assumed_is_said_once_per_source(
    ecsauth: RunProgram, aws: AwsStub
) -> None:
    text = (
        "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: sts:AssumeRole on"
        " resource: arn:aws:iam::123456789012:role/puller"
    )
    aws.answers["sts.AssumeRole"] = lambda _, __: (
        403,
        f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{text}</Message></Error>"
        "</ErrorResponse>".encode(),
    )
    role = "role_arn=arn:aws:iam::123456789012:role/puller"
    result = convert(ecsauth, f"ecr:us-west-2?{role}", f"ecr:us-west-1?{role}")
    assert result.code == 3
    first, second = result.err.splitlines()
    assert "ecr:us-west-2: access denied to sts:AssumeRole for arn:aws:iam" in first
    assert "add user ci to the role's trust policy" in first
    assert "ecr:us-west-1: access denied" in second
    assert [call.split()[0] for call in aws.calls] == ["sts.AssumeRole"]


def test_profile_of_an_account_is_used(
    ecsauth: RunProgram, aws: AwsStub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "aws-credentials").write_text(
        "[one]\naws_access_key_id=ONE\naws_secret_access_key=s\n"
        "[two]\naws_access_key_id=TWO\naws_secret_access_key=s\n"
    )
    monkeypatch.setenv("AWS_PROFILE_123456789012", "one")
    convert(ecsauth, f"ecr:{HOST}", f"ecr:{HOST}?profile=two")
    assert [call.split()[-1] for call in aws.calls] == ["ONE", "TWO"]


@pytest.mark.parametrize("ending", ["x.amazonaws.com.evil", "amazonaws.com"])
def test_host_that_is_no_ecr_is_refused(ecsauth: RunProgram, aws: AwsStub, ending: str) -> None:
    assert convert(ecsauth, f"ecr:123456789012.dkr.ecr.us-west-2.{ending}x").code == 2
    assert aws.calls == []


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
        ("123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
        ("123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
        ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "us-east-1"),
        ("123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1"),
    ],
)
def test_host_of_every_partition_asks_its_region(
    ecsauth: RunProgram, aws: AwsStub, host: str, region: str
) -> None:
    assert entries(convert(ecsauth, f"ecr:{host}")) == {host: ("AWS", "t0ken")}
    assert [call.split()[2] for call in aws.calls] == [region]


def test_ecr_public_is_asked_in_us_east_1(ecsauth: RunProgram, aws: AwsStub) -> None:
    assert entries(convert(ecsauth, "ecr-public:")) == {"public.ecr.aws": ("AWS", "t0ken")}
    assert [call.split()[2] for call in aws.calls] == ["us-east-1"]


@pytest.mark.parametrize("by_variable", [True, False])
def test_role_of_an_account_is_assumed_once(
    ecsauth: RunProgram, aws: AwsStub, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    aws.answers["sts.AssumeRole"] = lambda _, __: (200, ASSUMED)
    role = "arn:aws:iam::123456789012:role/puller"
    query = "" if by_variable else f"?role_arn={role}&external_id=shared-word"
    if by_variable:
        monkeypatch.setenv("AWS_ROLE_ARN_123456789012", role)
    second = HOST.replace("us-west-2", "us-west-1")
    found = entries(convert(ecsauth, f"ecr:{HOST}{query}", f"ecr:{second}{query}"))
    assert set(found) == {HOST, second}
    assert [call.split()[0] for call in aws.calls].count("sts.AssumeRole") == 1
    assert [call.split()[-1] for call in aws.calls] == ["BASE", "ASSUMED", "ASSUMED"]
    aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    denied = convert(ecsauth, f"ecr:{HOST}{query}")
    assert denied.code == 3
    assert "shared-word" not in denied.err


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (error_answer(400, "AccessDeniedException"), "access denied to ecr:GetAuthorizationToken"),
        (error_answer(400, "AccessDeniedException"), "AmazonEC2ContainerRegistryReadOnly"),
        (error_answer(400, "ExpiredTokenException"), "credentials have expired"),
        (
            error_answer(400, "UnrecognizedClientException"),
            "rejected the access key or its signature",
        ),
        (error_answer(400, "InvalidSignatureException", "Signature expired: x"), "clock"),
        (error_answer(400, "InvalidSignatureException", "Signature not yet current: x"), "clock"),
        (error_answer(400, "RequestExpired"), "clock"),
        (error_answer(400, "ThrottlingException"), "throttles"),
        (lambda _, __: (200, b"<html>login</html>"), "without authorization data"),
        (
            error_answer(
                400,
                "AccessDeniedException",
                "User: arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/i-0abc is not"
                " authorized to perform: ecr:GetAuthorizationToken on resource: * because no",
            ),
            "access denied to ecr:GetAuthorizationToken for"
            " arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/i-0abc; attach"
            " AmazonEC2ContainerRegistryReadOnly to role ecsInstanceRole",
        ),
        (error_answer(400, "<script>"), "an unknown error"),
        (lambda _, __: (200, {}), "without authorization data"),
        (lambda _, __: (200, {"authorizationData": []}), "without authorization data"),
        (token_answer(HOST, life=-60), "has expired"),
        (token_answer("registry.evil.io"), "not an ECR registry"),
        (token_answer(HOST.replace("us-west-2", "us-west-1")), "not an ECR registry in us-west-2"),
        (token_answer(HOST, password=""), "without a password"),
        (token_answer(HOST, raw="!!"), "not base64"),
        (token_answer(HOST, raw="QVdT"), "without a colon"),
        (token_answer(HOST, raw="/////w=="), "not base64"),
        (token_answer(HOST, password="a\nb"), "control character"),
    ],
)
def test_bad_answers(ecsauth: RunProgram, aws: AwsStub, answer: object, words: str) -> None:
    aws.answers[PRIVATE] = answer  # type: ignore[assignment]
    result = convert(ecsauth, "ecr:us-west-2")
    assert (result.code, result.out) == (3, "")
    assert len(result.err.splitlines()) == 1
    assert words in result.err


def test_without_credentials_it_fails_fast_and_others_are_still_given(
    ecsauth: RunProgram,
    aws: AwsStub,
    monkeypatch: pytest.MonkeyPatch,
    login_file: Callable[..., Path],
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    begun = time.monotonic()
    result = convert(ecsauth, f"ecr:{HOST}", str(login_file({"q.io": {"auth": "dTpw"}})))
    assert time.monotonic() - begun < 5
    assert result.code == 3
    assert "no AWS credentials; attach an instance profile" in result.err
    assert list(json.loads(result.out)) == ["q.io"]
    assert aws.calls == []


def test_no_region_and_no_profile_are_said(
    ecsauth: RunProgram, aws: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "no AWS region is set; name it (ecr:REGION)" in convert(ecsauth, "ecr:").err
    assert "no such AWS profile" in convert(ecsauth, f"ecr:{HOST}?profile=absent").err


def test_dead_endpoint_is_said(
    ecsauth: RunProgram, aws: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    result = convert(ecsauth, "ecr:us-west-2")
    assert result.code == 3
    assert "no answer from AWS" in result.err


def test_fips_and_dual_stack_hosts_ask_such_endpoints(
    ecsauth: RunProgram, aws: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def client(_: object, service: str, region: str, *rest: object, **options: object) -> object:
        asked.append((service, region, options["fips"], options["dual_stack"]))
        raise SystemExit(9)

    monkeypatch.setattr("ecsauth.aws.session.Aws.client", client)
    for host in (
        "123456789012.dkr.ecr-fips.us-west-2.amazonaws.com",
        "123456789012.dkr-ecr.us-west-2.on.aws",
    ):
        with pytest.raises(SystemExit):
            convert(ecsauth, f"ecr:{host}")
    assert asked == [("ecr", "us-west-2", True, False), ("ecr", "us-west-2", False, True)]
