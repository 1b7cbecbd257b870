"""Time and memory of whole programs that take turns in the world of the lab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.builders import ROOT
from tests.lab.ecr_world import Desk, World

PROJECT = ROOT


@dataclass(frozen=True)
class Program:
    """What to run.

    Attributes:
        argv: its path and arguments.
        environment: all of its variables.
        expected: has to be in what it prints.
        stdin: what it reads.

    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    expected: str
    stdin: str = ""


@dataclass(frozen=True)
class Medians:
    """What a program takes."""

    milliseconds: float
    megabytes: float


def medians(world: World, rounds: int, programs: Mapping[str, Program]) -> dict[str, Medians]:
    """Run programs in turn, inside."""
    given = {
        name: {
            "argv": each.argv,
            "stdin": each.stdin,
            "environment": dict(each.environment),
            "expected": each.expected,
        }
        for name, each in programs.items()
    }
    done = subprocess.run(
        world.inside(sys.executable, "-m", "tests.bench.inside", str(rounds)),
        input=json.dumps(given),
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {name: Medians(*found) for name, found in json.loads(done.stdout).items()}


def new_desk(world: World, folder: Path, name: str) -> Desk:
    """Return a user with a home directory of his own."""
    made = Desk(world, folder / name, folder / "programs")
    for path in (made.home / "run", made.programs):
        path.mkdir(parents=True, exist_ok=True)
    return made


def environment_of(desk: Desk, **more: str) -> dict[str, str]:
    """Return the variables of a user."""
    return {**desk.world.environment(desk.home, str(desk.programs)), **more}


def aws_cli() -> str:
    """Return the path of the AWS CLI; empty if it is not here.

    1. the one that tests/bench/run has installed; 2. one on PATH, itself and no shim.
    """
    if own := os.environ.get("BENCH_AWS"):
        return own
    found = shutil.which("aws") or ""
    if "shims" in found and (pyenv := shutil.which("pyenv")):
        done = subprocess.run([pyenv, "which", "aws"], capture_output=True, text=True, check=False)
        found = done.stdout.strip()
    return found
