"""A publisher that starts without memory each time, against a real S3."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import HOST
from tests.conftest import Result
from tests.lab.aws_stub import PRIVATE, AwsStub, token_answer
from tests.lab.conftest import S3

URL = "s3://fleet/ecs.config"
TOKEN = "t0ken-that-is-secret" * 60


def test_cold_runs_ask_ecr_once_and_write_once(
    ecsauth: Callable[..., Result],
    s3: S3,
    aws: AwsStub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.between.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ADMIN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    aws.answers[PRIVATE] = token_answer(HOST, password=TOKEN)

    def run(number: int) -> Result:
        state = tmp_path / f"state-{number}"
        done = ecsauth("refresh", "ecr:us-west-2", "--to", URL, "--state-dir", state)
        assert done.code == 0, done.err
        return done

    for number in range(4):
        run(number)
    assert len(aws.calls) == 1
    assert len([call for call in s3.between.calls if call.startswith("PUT")]) == 1
    metadata = s3.client.head_object(Bucket="fleet", Key="ecs.config")["Metadata"]
    (lease,) = json.loads(metadata["ecsauth-leases"]).values()
    assert lease[3] == [HOST]
    assert "t0ken" not in json.dumps(metadata)
    s3.put("ECS_CLUSTER=x\n")  # somebody has written it without the logins
    run(5)
    assert len(aws.calls) == 2
    assert HOST in s3.text()
