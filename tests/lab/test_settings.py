"""The settings file, read by python-dotenv and by systemd: both make the same of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecsauth.host.settings_file import NAMES, load_settings
from tests.lab.box import PROJECT, Box, booted_box

SAMPLE = PROJECT / "samples" / "ecsauth.env"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with booted_box() as machine:
        yield machine


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=[A-Z_0-9]+=)", "", text, flags=re.MULTILINE)


def test_both_read_every_documented_setting_the_same_way(box: Box, tmp_path: Path) -> None:
    text = uncommented(SAMPLE.read_text())
    path = tmp_path / "ecsauth.env"
    path.write_text(text)
    path.chmod(0o600)
    mine = load_settings(path, required=True)
    assert mine.warnings == ()
    assert set(mine.values) > {"ECSAUTH_SOURCES", "ECSAUTH_TARGETS", "AWS_REGION"}
    theirs = box.environment_of("/etc/ecsauth/ecsauth.env", text)
    assert {name: theirs.get(name) for name in mine.values} == dict(mine.values)
    assert {name for name in theirs if name.startswith("ECSAUTH_")} <= NAMES


HARMLESS = "A=plain\nB=\"with blank\"\nC='single'\nD=\nE=a#b\nF=x=y\nG=$HOME\nH=a  b \n"
ODD = [
    "export A=x",
    "A=b # comment",
    'A="x\\ty"',
    "A=x\\y",
    "A=it's",
    "A = b",
    'A="multi\nline"',
    'A=a"b"c',
]


def test_plain_lines_are_read_the_same_way_without_a_warning(box: Box, tmp_path: Path) -> None:
    path = tmp_path / "ecsauth.env"
    path.write_text(HARMLESS)
    path.chmod(0o600)
    mine = load_settings(path, required=True)
    assert mine.warnings == ()
    theirs = box.environment_of("/etc/ecsauth/ecsauth.env", HARMLESS)
    assert {name: theirs.get(name) for name in mine.values} == dict(mine.values)


@pytest.mark.parametrize("line", ODD)
def test_line_that_they_may_read_otherwise_is_warned_of(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ecsauth.env"
    path.write_text(f"{line}\n")
    path.chmod(0o600)
    (warning,) = load_settings(path, required=True).warnings
    assert f"{path}:1: systemd reads this line differently" in warning


def test_some_of_these_lines_are_indeed_read_otherwise(box: Box, tmp_path: Path) -> None:
    path = tmp_path / "ecsauth.env"
    differing = 0
    for line in ODD:
        path.write_text(f"{line}\n")
        path.chmod(0o600)
        mine = load_settings(path, required=True).values
        differing += mine.get("A") != box.environment_of(
            "/etc/ecsauth/ecsauth.env", f"{line}\n"
        ).get("A")
    assert differing >= 3
