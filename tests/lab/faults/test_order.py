"""What a trace shows: nothing is ever readable by others, and a power loss finds whole files.

The order that ext4 and xfs need: the new file's bytes are on the disk (fsync) before its name is
(rename), and the name is on the disk (fsync of the directory) before the command ends.
"""

from __future__ import annotations

import re

import pytest

from tests.lab.faults.ground import Ground
from tests.lab.faults.scenarios import HELPER, SCENARIOS, Scenario

FILES = [item for item in SCENARIOS if item.target and item is not HELPER]
"""The helper's cache is not synced: a token that a power loss takes is asked for again."""
_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)", re.MULTILINE)
_MADE = re.compile(r"\bO_CREAT\b.*, (0\d*)$")
_MODE = re.compile(r", (0\d*)$")


def steps(trace: str) -> list[tuple[str, str]]:
    """Return (system call, arguments) of those that succeeded."""
    return [(name, given) for name, given, result in _LINE.findall(trace) if int(result) >= 0]


def modes(trace: str) -> list[tuple[int, str]]:
    """Return each mode that was given to something, and the call."""
    found = []
    for name, given in steps(trace):
        pattern = _MADE if name in ("open", "openat") else _MODE
        is_one = name in ("open", "openat", "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat")
        if is_one and (match := pattern.search(given)):
            found.append((int(match[1], 8), f"{name}({given})"))
    return found


def is_in_order(trace: str, old: str, new: str) -> bool:
    """Return whether a file was written, synced, renamed and its directory synced."""
    order = []
    for name, given in steps(trace):
        if name == "write" and f"/{old}>" in given:
            order.append("write")
        elif name in ("fsync", "fdatasync") and f"/{old}>" in given:
            order.append("sync")
        elif (
            name in ("rename", "renameat", "renameat2")
            and f'{old}"' in given
            and f'{new}"' in given
        ):
            order.append("rename")
        elif name == "fsync" and order[-1:] == ["rename"]:
            order.append("sync directory")
    return re.fullmatch("(write )+sync rename sync directory", " ".join(order)) is not None


def trace_of(ground: Ground, scenario: Scenario) -> str:
    done = ground.run(scenario, ground.lay(scenario), ["-y", "-s", "4096"])
    assert done.code == 0, done.err
    return done.trace


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_ever_wider_than_its_owner(ground: Ground, scenario: Scenario) -> None:
    """The commands run with umask 0, so what is asked for is what is had."""
    found = modes(trace_of(ground, scenario))
    assert found
    assert [call for mode, call in found if mode & 0o077] == []


@pytest.mark.parametrize("scenario", FILES, ids=lambda scenario: scenario.name)
def test_bytes_are_on_the_disk_before_the_name(ground: Ground, scenario: Scenario) -> None:
    trace = trace_of(ground, scenario)
    old, new = ".ecs.config.ecsauth-new", "ecs.config"
    assert is_in_order(trace, old, new)
    unsynced = re.sub(r"^.* fsync\(.*$", "", trace, flags=re.MULTILINE)
    assert not is_in_order(unsynced, old, new)
    late = "\n".join(sorted(trace.splitlines(), key=lambda line: " fsync(" in line))
    assert not is_in_order(late, old, new)
