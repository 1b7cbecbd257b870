"""The measurements can be made; what they count (not: how long it takes) meets its goals."""

from __future__ import annotations

from tests.bench.commands import command_lines
from tests.bench.helper import helper_lines
from tests.conftest import need


def test_measurements_of_the_helper_can_be_made() -> None:
    need("docker-credential-ecr-login")
    lines = helper_lines(1)
    assert len(lines) >= 8
    counted = [line for line in lines if line.unit in ("calls", "MB")]
    assert [line.what for line in counted if line.is_missed] == []
    assert len(counted) == 3
    assert all(line.ours > 0 and line.figures and line.as_json()["unit"] for line in lines)


def test_measurements_of_the_commands_can_be_made() -> None:
    need("jq", "docker-credential-ecr-login")
    lines = command_lines(1, largest=2_000)
    counted = [line for line in lines if line.unit in ("calls", "lines", "times")]
    assert [line.what for line in counted if line.is_missed] == []
    assert {"convert", "run, idle", "convert, 2,000 registries"} <= {line.what for line in lines}
    assert counted[-1].unit == "times"
