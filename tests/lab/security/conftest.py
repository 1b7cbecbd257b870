"""Commands in children that take some milliseconds each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.faults.forks import Forks
from tests.lab.faults.forks import forks as started


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with started(2) as found:
        yield found
