"""Where the scenarios run: children of forks, an API that gives tokens, and a real S3."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.faults.forks import Completed, Forks
from tests.lab.faults.scenarios import Scenario, likeness, names, read

_NAMES = """
access chmod chown close connect copy_file_range dup dup2 faccessat faccessat2 fallocate fchmod
fchmodat fchown fchownat fcntl fdatasync fgetxattr flock fsetxattr fstat fstatfs fsync ftruncate
getdents64 getpeername getsockname getsockopt getxattr ioctl lgetxattr link linkat listxattr lseek
lstat mkdir mkdirat newfstatat open openat openat2 pipe2 poll pread64 pwrite64 read readlink
readlinkat readv recvfrom recvmsg rename renameat renameat2 rmdir sendmsg sendto setsockopt setxattr
shutdown socket stat statfs statx symlink symlinkat truncate unlink unlinkat utimensat write writev
"""
CALLS = frozenset(_NAMES.split())
"""System calls that concern files and the network: all that the outside can see."""


@dataclass
class Ground:
    """Runs scenarios, each in a home directory of its own.

    Attributes:
        forks: what runs the commands.
        folder: for the home directories.
        variables: environment of the commands, without HOME.
        client: of boto3 for the S3, straight to it.

    """

    forks: Forks
    folder: Path
    variables: dict[str, str]
    client: Any
    _seen: set[str] = field(default_factory=set)
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def lay(self, scenario: Scenario) -> Path:
        """Make a home directory with what was there before the command."""
        home = self.folder / f"{scenario.name}-{next(self._count)}"
        home.mkdir()
        scenario.lay(home)
        if scenario.published is not None:
            self.client.put_object(Bucket="fleet", Key=home.name, Body=scenario.published.encode())
        return home

    def run(self, scenario: Scenario, home: Path, strace: Sequence[str] = ()) -> Completed:
        """Run the command."""
        environment = {**self.variables, "HOME": str(home), "TMPDIR": str(home)}
        return self.forks.run(
            *scenario.at(home), environment=environment, stdin=scenario.stdin, strace=strace
        )

    def points(self, scenario: Scenario) -> tuple[Path, list[tuple[str, int]]]:
        """Run it undisturbed; return its home directory and the system calls to disturb."""
        home = self.lay(scenario)
        done = self.run(scenario, home, ["-y"])
        if done.code or not scenario.is_new(self.target(scenario, home)):
            raise RuntimeError(f"{scenario.name}: {done}")
        return home, [(name, number) for name, number in done.points() if name in CALLS]

    def faults_afterwards(self, scenario: Scenario, home: Path, tidy: set[str]) -> list[str]:
        """Run it again, undisturbed; return what is not as it has to be then.

        Where everything is as it was after an earlier disturbance, that has been seen already.
        """
        state = f"{scenario.name} {self.target(scenario, home)!r} {likeness(home)}"
        if state in self._seen:
            return []
        for path in home.rglob(".new-*"):
            os.utime(path, (0, 0))  # what a helper left is removed after an hour
        done = self.run(scenario, home)
        faults = [f"litter: {name}" for name in names(home) - tidy]
        if done.code or not scenario.is_new(self.target(scenario, home)):
            faults.append(f"next run: {done}")
        if not faults:
            self._seen.add(state)
        return faults

    def target(self, scenario: Scenario, home: Path) -> bytes | None:
        """Return the bytes of what it writes."""
        if scenario.target:
            return read(home / scenario.target)
        found = self.client.get_object(Bucket="fleet", Key=home.name)
        return bytes(found["Body"].read())

    def clear(self, home: Path) -> None:
        """Remove a home directory."""
        shutil.rmtree(home)


def variables(api: str, s3: str) -> dict[str, str]:
    """Return the environment of a command that shall reach an API and an S3."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "AWS_ENDPOINT_URL": api,
        "AWS_ENDPOINT_URL_S3": s3,
        "AWS_ACCESS_KEY_ID": "ADMIN",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-west-2",
        "AWS_EC2_METADATA_DISABLED": "true",
        "ECSAUTH_ENV_FILE": "",
    }
