"""Commands with little memory or few file descriptors: they work, or fail in one line, whole."""

from __future__ import annotations

import functools
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders import HOST
from tests.conftest import missing
from tests.lab.aws_stub import PRIVATE, AwsStub, token_answer
from tests.lab.conftest import S3
from tests.lab.faults.scenarios import (
    HELPER,
    MIGRATE,
    PASSWORD,
    REFRESH,
    SCENARIOS,
    TOKEN,
    Scenario,
    is_crash,
    read,
)

MEGABYTE = 2**20
ENOUGH_MEMORY = 64 * MEGABYTE
ENOUGH_FILES = 32
LITTLE = [
    (resource.RLIMIT_DATA, [size * MEGABYTE for size in (24, 28, 32, 40, 48)]),
    (resource.RLIMIT_NOFILE, list(range(4, 13))),
]
NOT_FOUND = "credentials not found in native keychain\n"


_LIMITED = """\
import os, resource, sys
peak, limits, *command = sys.argv[1:]
pid = os.fork()
if not pid:
    for limit in filter(None, limits.split(",")):
        kind, _, value = limit.partition("=")
        resource.setrlimit(int(kind), (int(value), int(value)))
    os.execv(command[0], command)
_, status = os.waitpid(pid, 0)
with open(peak, "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status >> 8 if os.WIFEXITED(status) else 128)
"""
"""Runs a command with limits; small itself, for what it has at fork(2) counts for the command."""


@dataclass(frozen=True)
class Ended:
    """How a command ended; `peak` is the most memory that it had, in bytes."""

    code: int
    out: str
    err: str
    peak: int


@dataclass
class Bench:
    """Runs scenarios with limits, each in a new home directory."""

    folder: Path
    s3: S3
    variables: dict[str, str]
    count: int = 0

    def lay(self, scenario: Scenario) -> Path:
        """Make a home directory with what was there before the command."""
        self.count += 1
        home = self.folder / f"{scenario.name}-{self.count}"
        home.mkdir()
        scenario.lay(home)
        if scenario.published is not None:
            self.s3.put(scenario.published, home.name)
        return home

    def run(self, scenario: Scenario, home: Path, limits: Mapping[int, int]) -> Ended:
        """Run the command; `limits` are of setrlimit(2); 128 if a signal ended it."""
        name, *arguments = scenario.at(home)
        module = "ecsauth" if name == "ecsauth" else "ecsauth.helper"

        set_limits = [f"{kind}={value}" for kind, value in limits.items()]
        peak = self.folder / "peak"
        done = subprocess.run(
            [
                *(sys.executable, "-I", "-S", "-c", _LIMITED, str(peak), ",".join(set_limits)),
                *(sys.executable, "-m", module, *arguments),
            ],
            env={**self.variables, "HOME": str(home)},
            input=scenario.stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr, int(peak.read_text()) * 1024)

    def target(self, scenario: Scenario, home: Path) -> bytes | None:
        """Return the bytes of what it writes."""
        if scenario.target:
            return read(home / scenario.target)
        return self.s3.text(home.name).encode()


@pytest.fixture
def bench(tmp_path: Path, s3: S3, aws: AwsStub) -> Bench:
    aws.answers[PRIVATE] = token_answer(HOST, password=TOKEN)
    variables = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ENDPOINT_URL_S3": s3.between.url,
        "AWS_ACCESS_KEY_ID": "ADMIN",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-west-2",
        "AWS_EC2_METADATA_DISABLED": "true",
        "ECSAUTH_ENV_FILE": "",
    }
    return Bench(tmp_path, s3, variables)


def faults_of(scenario: Scenario, ended: Ended, found: bytes | None) -> list[str]:
    """Return what is wrong with how a command ended and what it left."""
    faults = []
    is_new = scenario.is_new(found)
    is_in_part = scenario is REFRESH and ended.code == 3 and MIGRATE.is_new(found)  # ecr: failed
    if not is_new and not is_in_part and not scenario.is_old(found):
        faults.append(f"torn: {found!r}")
    if is_crash(ended.err):
        faults.append("a traceback, or nearly")
    said = ended.err + ("" if scenario is HELPER else ended.out)
    if PASSWORD in said or TOKEN in said:
        faults.append("a secret")
    if scenario is HELPER:
        is_right = TOKEN in ended.out if ended.code == 0 else ended.out == NOT_FOUND
    elif ended.code == 0:
        is_right = is_new
    else:
        errors = [line for line in ended.err.splitlines() if line.startswith("ecsauth: error: ")]
        is_right = ended.code in (1, 3, 4) and len(errors) == 1
    return faults if is_right else [*faults, "neither done nor a clear end"]


@functools.cache
def starts(kind: int, value: int) -> bool:
    """Return whether Python itself starts with a limit, and loads what it always loads."""
    done = subprocess.run(
        [sys.executable, "-c", "pass"],
        preexec_fn=lambda: resource.setrlimit(kind, (value, value)),
        capture_output=True,
        check=False,
    )
    return done.returncode == 0 and not done.stderr


@pytest.fixture(scope="module")
def felt() -> dict[int, set[str]]:
    """Collect the scenarios that failed for want of something, by kind of limit."""
    return {resource.RLIMIT_DATA: set(), resource.RLIMIT_NOFILE: set()}


by_name = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@by_name
@pytest.mark.parametrize(
    "limits",
    [{resource.RLIMIT_DATA: ENOUGH_MEMORY}, {resource.RLIMIT_NOFILE: ENOUGH_FILES}],
    ids=["memory", "files"],
)
def test_64_megabytes_and_32_files_are_enough(
    bench: Bench, scenario: Scenario, limits: dict[int, int]
) -> None:
    home = bench.lay(scenario)
    ended = bench.run(scenario, home, limits)
    assert ended.code == 0, ended
    assert scenario.is_new(bench.target(scenario, home))
    assert ended.peak < ENOUGH_MEMORY


@by_name
@pytest.mark.parametrize(("kind", "values"), LITTLE, ids=["memory", "files"])
def test_little_is_enough_or_ends_in_one_error(
    bench: Bench,
    scenario: Scenario,
    kind: int,
    values: Sequence[int],
    felt: dict[int, set[str]],
) -> None:
    wrong = []
    tried = [value for value in values if starts(kind, value)]
    assert tried
    for value in tried:
        home = bench.lay(scenario)
        ended = bench.run(scenario, home, {kind: value})
        faults = faults_of(scenario, ended, bench.target(scenario, home))
        if faults:
            wrong.append((value, faults, ended))
        if ended.code:
            felt[kind].add(scenario.name)
    assert wrong == []


@pytest.mark.parametrize(("kind", "values"), LITTLE, ids=["memory", "files"])
def test_helper_has_enough_for_a_hit_whatever_is_left(
    bench: Bench, aws: AwsStub, kind: int, values: Sequence[int]
) -> None:
    home = bench.lay(HELPER)
    os.utime(home / ".aws" / "config", (1, 1))  # not as if it were being edited
    assert bench.run(HELPER, home, {}).code == 0
    assert len(aws.calls) == 1
    for value in filter(lambda value: starts(kind, value), values):
        ended = bench.run(HELPER, home, {kind: value})
        assert ended.code == 0, (value, ended)
        assert TOKEN in ended.out
    assert len(aws.calls) == 1


def test_limits_were_felt(felt: dict[int, set[str]]) -> None:
    """The positive control: some commands did run out of each."""
    if not any(felt.values()):
        missing("not all scenarios were run")
    assert all(felt.values())
