"""For every test: login files, the command run in this process, the rule of skips."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import hypothesis
import pytest

from ecsauth.cli import program as cli
from ecsauth.cli.group import COMMANDS
from ecsauth.cli.group import cli as group

hypothesis.settings.register_profile("no deadline", deadline=None)  # a stall is no failure
hypothesis.settings.load_profile("no deadline")


def command_context(name: str) -> click.Context:
    """Return the context of a command by its full name, such as ``agent status``."""
    context = click.Context(group, info_name="ecsauth", **group.context_settings)
    for part in name.split():
        assert isinstance(context.command, click.Group)
        command = context.command.get_command(context, part)
        assert command, name
        context = click.Context(command, parent=context, info_name=part, terminal_width=100)
    return context


def all_commands() -> list[str]:
    """Return the full names of the commands that do something."""
    names = []
    for name in COMMANDS:
        command = command_context(name).command
        children = list(command.commands) if isinstance(command, click.Group) else []
        names += [f"{name} {child}" for child in children] or [name]
    return names


def missing(reason: str) -> None:
    """End a test whose counterpart is not here: a failure in CI, a skip on a user's machine."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def need(*programs: str) -> None:
    """Require programs on PATH, or in the directories that only root has on his."""
    os.environ["PATH"] += "" if "/usr/sbin" in os.environ["PATH"].split(":") else ":/usr/sbin:/sbin"
    absent = [name for name in programs if shutil.which(name) is None]
    if absent:
        missing(f"needs {', '.join(absent)} (tests/run installs them as root on Debian)")


def need_root() -> None:
    """Require root."""
    if os.geteuid() != 0:
        missing("needs root")


@dataclass(frozen=True)
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that are errors."""
        return [line for line in self.err.splitlines() if line.startswith("ecsauth: error: ")]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the developer's own docker and ecsauth settings out of the tests."""
    for name in list(os.environ):
        if name.startswith(("ECSAUTH_", "DOCKER_", "AWS_PROFILE")) or name in ("SUDO_USER",):
            monkeypatch.delenv(name)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ECSAUTH_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def ecsauth(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Result]:
    """Run an ecsauth command in this process."""

    def run(*arguments: object) -> Result:
        capfdbinary.readouterr()
        code = cli.run([str(item) for item in arguments])
        captured = capfdbinary.readouterr()
        return Result(code, captured.out.decode(), captured.err.decode())

    return run


@pytest.fixture
def login_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a docker login file and return its path."""

    def write(
        auths: Mapping[str, Any] | None = None, name: str = "config.json", **members: Any
    ) -> Path:
        document = {} if auths is None else {"auths": auths}
        path = tmp_path / name
        path.write_text(json.dumps({**document, **members}))
        return path

    return write


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put credential helpers, small shell scripts, on PATH; each logs its calls to NAME.log."""
    directory = tmp_path / "helpers"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def write(name: str, body: str) -> Path:
        path = directory / f"docker-credential-{name}"
        log = directory / f"{name}.log"
        path.write_text(f'#!/bin/sh\nurl=$(cat)\necho "$1 $url" >> {log}\n{body}\n')
        path.chmod(0o755)
        return log

    return write
