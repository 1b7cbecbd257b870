"""The ground on which scenarios are run."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import HOST
from tests.conftest import need
from tests.lab.aws_stub import PRIVATE, AwsStub, token_answer
from tests.lab.faults.forks import forks
from tests.lab.faults.ground import Ground, variables
from tests.lab.faults.scenarios import TOKEN
from tests.lab.seaweed import Seaweed


@pytest.fixture
def ground(_ground: Ground, aws: AwsStub) -> Ground:
    """Give it with an API that gives the token of the scenarios."""
    aws.answers[PRIVATE] = token_answer(HOST, password=TOKEN)
    _ground.variables["AWS_ENDPOINT_URL"] = aws.url
    return _ground


@pytest.fixture(scope="session")
def _ground(_seaweed: Seaweed) -> Iterator[Ground]:
    need("strace")
    client = _seaweed.client()
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket="fleet")
    with forks() as found, tempfile.TemporaryDirectory(prefix="ecsauth-faults-") as folder:
        yield Ground(found, Path(folder), variables("", _seaweed.url), client)
