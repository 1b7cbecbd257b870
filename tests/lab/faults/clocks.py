"""A host whose clock is wrong, by libfaketime, and an AWS whose clock is right."""

from __future__ import annotations

import email.utils
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.builders import HOST
from tests.conftest import missing, need
from tests.lab.aws_stub import PRIVATE, Answer, AwsStub, error_answer, token_answer

_SLEEP = """\
import select, time
def sleep(seconds):
    select.select([], [], [], seconds)
time.sleep = sleep
"""
"""libfaketime 0.9.10 takes the deadline to which Python 3.11 sleeps for one of the wrong clock."""

_SKEW_SECONDS = 300


def library() -> str:
    """Return the path of libfaketime; the test ends without it."""
    need("faketime")
    for folder in (Path("/usr/lib"), Path("/usr/lib64")):
        for path in sorted(folder.glob("**/faketime/libfaketime.so.1")):
            return str(path)
    missing("needs libfaketime (tests/run installs it as root on Debian)")
    return ""


@dataclass
class Clock:
    """The clock of a host.

    Attributes:
        folder: for its files.
        offset: seconds that it is ahead of the real one.
        true_offset: the same of what AWS takes for the time.

    """

    folder: Path
    offset: int = 0
    true_offset: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "sitecustomize.py").write_text(_SLEEP)
        self.set(self.offset)

    def set(self, offset: int) -> None:
        """Set it, also for processes that run."""
        self.offset = offset
        new = self.folder / "new"
        new.write_text(f"{offset:+d}\n")
        new.replace(self.folder / "offset")

    def set_both(self, moment: float) -> None:
        """Let it be the same moment for the host and AWS (Unix seconds)."""
        self.true_offset = int(moment - time.time())
        self.set(self.true_offset)

    @property
    def true_time(self) -> float:
        """What AWS takes for the time (Unix seconds)."""
        return time.time() + self.true_offset

    def environment(self) -> dict[str, str]:
        """Return the variables for a process on that host.

        The times of files stay what they are: those that a program sets itself are right then.
        """
        return {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / "offset"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(self.folder),
        }

    def answer(self, password: str, *, is_blind: bool = False, life: float = 12 * 3600) -> Answer:
        """Return AWS's answer: it refuses what is signed by a wrong clock, unless it is blind."""

        def answer(region: str, body: dict[str, Any]) -> tuple[int, Any]:
            skew = self.offset - self.true_offset
            if abs(skew) > _SKEW_SECONDS and not is_blind:
                words = "expired" if skew < 0 else "not yet current"
                refusal = error_answer(400, "InvalidSignatureException", f"Signature {words}: no")
                return refusal(region, body)
            ahead = life + self.true_offset
            return token_answer(HOST, password=password, life=ahead)(region, body)

        return answer


@dataclass
class Host:
    """A host with a wrong clock, before an API that it can reach."""

    folder: Path
    aws: AwsStub
    clock: Clock
    password: str
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir()
        self.target.write_text("ECS_CLUSTER=lab\n")
        self.target.chmod(0o600)
        self.let_in()

    @property
    def home(self) -> Path:
        """The home directory."""
        return self.folder / "user"

    @property
    def target(self) -> Path:
        """The file that refresh writes."""
        return self.home / "ecs.config"

    def let_in(self, *, is_blind: bool = False) -> None:
        """Let AWS answer, its answers dated by its own clock."""
        good = self.clock.answer(self.password, is_blind=is_blind)

        def answer(region: str, body: dict[str, Any]) -> tuple[int, Any]:
            self.aws.date = email.utils.formatdate(self.clock.true_time, usegmt=True)
            return good(region, body)

        self.aws.answers[PRIVATE] = answer

    def environment(self) -> dict[str, str]:
        """Return the variables of a process."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_ACCESS_KEY_ID": "BASE",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "us-west-2",
            "AWS_EC2_METADATA_DISABLED": "true",
            "ECSAUTH_ENV_FILE": "",
            "ECSAUTH_STATE_DIR": str(self.home / "state"),
            **self.clock.environment(),
            **self.variables,
        }

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of ours to its end, a registry as its input."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(),
            input=HOST,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def refresh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run refresh."""
        to = ("--to", str(self.target), "--restart=never")
        return self.python("-m", "ecsauth", "refresh", "ecr:", *to, *arguments)

    def get(self) -> subprocess.CompletedProcess[str]:
        """Ask the credential helper; what it writes gets the time of a kernel that is wrong too."""
        folder = self.home / ".ecr" / "ecsauth-cache" / "answers"
        before = folder.stat().st_mtime_ns if folder.exists() else 0
        done = self.python("-m", "ecsauth.helper", "get")
        if folder.exists() and folder.stat().st_mtime_ns != before:
            now = time.time() + self.clock.offset
            os.utime(folder, (now, now))
        return done
