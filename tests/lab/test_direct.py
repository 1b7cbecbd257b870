"""The call without a client is the client's call: same place, same answers, same words."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import botocore
import botocore.session
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.httpsession import URLLib3Session

from ecsauth.aws.direct import _endpoint
from ecsauth.aws.ecr_tokens import TARGETS, EcrTokens, Token
from ecsauth.aws.session import Aws, Identity
from ecsauth.errors import SourceError
from tests.builders import HOST
from tests.lab.aws_stub import PRIVATE, PUBLIC, AwsStub, error_answer, token_answer
from tests.lab.ecr_world import Desk

NOW = int(time.time())
REGIONS = ["us-west-2", "eu-west-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1"]
REGIONS += ["us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1", "xx-new-1"]


def outcome(
    is_direct: bool, service: str = "ecr", clock: Callable[[], float] = time.time
) -> Token | str:
    """Return a token or the words of the error."""
    tokens = EcrTokens(Aws(os.environ), clock, is_direct=is_direct)
    try:
        if service == "ecr-public":
            return tokens.public(Identity(), "subject")
        return tokens.private("us-west-2", Identity(), "subject", fips=False, dual_stack=False)
    except SourceError as error:
        return str(error)


class StoppedError(Exception):
    """The call got as far as it should."""


def place_of_client(service: str, region: str) -> str:
    """Return where a client sends a call."""
    client = Aws(os.environ).client(service, region, Identity(), "x")
    places = []

    def stop(request: Any, **_: Any) -> None:
        places.append(request.url)
        raise StoppedError

    client.meta.events.register("before-send", stop)
    with pytest.raises(StoppedError):
        client.get_authorization_token()
    return str(places[0])


@pytest.mark.parametrize("region", REGIONS)
def test_place_is_where_a_client_calls(
    aws: AwsStub, monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    found = _endpoint(botocore.session.Session(), {}, "ecr", region)
    assert f"{found}/" == place_of_client("ecr", region)


def test_place_of_ecr_public_is_where_a_client_calls(
    aws: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    found = _endpoint(botocore.session.Session(), {}, "ecr-public", "us-east-1")
    assert f"{found}/" == place_of_client("ecr-public", "us-east-1")


@pytest.mark.parametrize("service", TARGETS)
def test_target_is_the_models(service: str) -> None:
    model = botocore.session.Session().get_service_model(service)
    assert TARGETS[service] == f"{model.metadata['targetPrefix']}.GetAuthorizationToken"
    assert model.metadata["jsonVersion"] == "1.1"
    assert model.metadata["protocol"] == "json"
    assert (model.signing_name, model.service_name) == (service, service)


@pytest.mark.parametrize("service", TARGETS)
def test_token_is_the_same(aws: AwsStub, service: str) -> None:
    life = NOW - time.time() + 3600
    aws.answers[PRIVATE] = token_answer(HOST, life=life)
    aws.answers[PUBLIC] = token_answer("", public=True, life=life)
    found = [outcome(is_direct, service, lambda: NOW) for is_direct in (True, False)]
    direct, client = found
    assert isinstance(direct, Token)
    assert isinstance(client, Token)
    assert abs(direct.expires_at - client.expires_at) <= 2, "one call came after the other"
    assert replace(direct, expires_at=client.expires_at) == client
    assert aws.calls[0] == aws.calls[1]
    assert len(aws.calls) == 2


NOT_AUTHORIZED = (
    "User: arn:aws:sts::123456789012:assumed-role/r/i-0abc is not authorized to perform:"
    " ecr:GetAuthorizationToken on resource: * because no identity-based policy allows it"
)


@pytest.mark.parametrize(
    "answer",
    [
        error_answer(400, "AccessDeniedException", NOT_AUTHORIZED),
        error_answer(400, "com.amazonaws.ecr#AccessDeniedException", NOT_AUTHORIZED),
        error_answer(400, "ExpiredTokenException"),
        error_answer(400, "UnrecognizedClientException"),
        error_answer(403, "InvalidSignatureException", "Signature expired: x"),
        error_answer(400, "ThrottlingException"),
        error_answer(429, "TooManyRequestsException"),
        error_answer(500, "ServerException"),
        error_answer(503, "x"),
        lambda _, __: (400, b"<html>"),
        lambda _, __: (200, b"<html>"),
        lambda _, __: (200, b""),
        lambda _, __: (200, []),
        lambda _, __: (200, {}),
        lambda _, __: (200, {"authorizationData": []}),
        lambda _, __: (200, {"authorizationData": [{"authorizationToken": "x"}]}),
        token_answer(HOST, raw="!"),
        token_answer(HOST, life=-10),
    ],
)
def test_failure_has_the_same_words(aws: AwsStub, answer: Any) -> None:
    aws.answers[PRIVATE] = answer
    direct, client = outcome(True), outcome(False)
    assert isinstance(client, str)
    assert direct == client


def test_refusal_is_one_call_and_what_may_pass_is_repeated(aws: AwsStub) -> None:
    aws.answers[PRIVATE] = error_answer(400, "ExpiredTokenException")
    outcome(True)
    assert len(aws.calls) == 1
    aws.calls.clear()
    answers = [error_answer(500, "ServerException"), token_answer(HOST)]
    aws.answers[PRIVATE] = lambda region, body: answers.pop(0)(region, body)
    assert isinstance(outcome(True), Token)
    assert len(aws.calls) == 2


@pytest.mark.parametrize(
    ("variables", "config"),
    [
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, ""),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, ""),
        ({}, "[default]\nendpoint_url=URL\n"),
        ({}, "[default]\nservices=s\n[services s]\necr =\n  endpoint_url=URL\n"),
    ],
)
def test_settings_that_a_client_heeds_are_left_to_it(
    aws: AwsStub, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], config: str
) -> None:
    core = botocore.session.Session()
    assert _endpoint(core, {}, "ecr", "us-west-2")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    path = os.environ["AWS_CONFIG_FILE"]
    with open(path, "w") as file:
        file.write(config.replace("URL", aws.url))
    core = botocore.session.Session()
    assert not _endpoint(core, {}, "ecr", "us-west-2")


def test_broken_connection_has_the_same_words(
    aws: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert outcome(True) == outcome(False)
    assert aws.calls == []


def test_no_credentials_has_the_same_words(aws: AwsStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert outcome(True) == outcome(False)
    monkeypatch.setenv("AWS_PROFILE", "absent")
    assert outcome(True) == outcome(False)
    assert aws.calls == []


@pytest.mark.parametrize("failures", [1, 2])
def test_connection_that_is_refused_once_or_twice_is_tried_again(
    aws: AwsStub, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    real, left = URLLib3Session.send, [None] * failures

    def send(self: Any, request: Any) -> Any:
        if left:
            left.pop()
            raise EndpointConnectionError(endpoint_url=request.url)
        return real(self, request)

    monkeypatch.setattr(URLLib3Session, "send", send)
    found = outcome(True)
    assert isinstance(found, Token), found
    assert len(aws.calls) == 1


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", ""])
def test_authority_that_is_named_is_trusted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """As a client of botocore does it."""
    others = str(Path(botocore.__file__).with_name("cacert.pem"))
    variables = {"AWS_CA_BUNDLE": others, "SSL_CERT_FILE": ""}
    if variable:
        variables["AWS_CA_BUNDLE"] = ""
        variables[variable] = str(desk.world.ca)
    desk.world.aws.calls.clear()
    done = desk.run(
        *(sys.executable, "-m", "ecsauth", "convert", f"ecr:{HOST}", "--quiet"), **variables
    )
    assert done.returncode == (0 if variable else 3), done.stderr
    assert ("certificate of AWS is not trusted" in done.stderr) == (not variable)
    assert len(desk.world.aws.calls) == (1 if variable else 0)
