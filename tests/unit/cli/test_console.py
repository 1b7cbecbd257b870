"""How a line is said: text, JSON, journald's priorities."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from ecsauth.cli.console import say, say_error, set_log_format
from ecsauth.errors import SourceError


@pytest.fixture(autouse=True)
def _text_again() -> Iterator[None]:
    yield
    set_log_format("text")


def test_text(capfd: pytest.CaptureFixture[str]) -> None:
    say("note", "fine")
    say_error(SourceError("ecr: denied", "attach it"))
    assert capfd.readouterr().err == "ecsauth: note: fine\necsauth: error: ecr: denied; attach it\n"


def test_json_is_one_object_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    set_log_format("json")
    say("note", "a\nb \u202e\x1b[31m")
    say_error(SourceError("ecr: denied", "attach it"))
    text = capfd.readouterr().err
    first, second = (json.loads(line) for line in text.splitlines())
    assert text.isascii()
    assert first["message"] == "a\nb \u202e\x1b[31m"
    assert (second["level"], second["message"], second["hint"]) == (
        "error",
        "ecr: denied",
        "attach it",
    )
    assert "hint" not in first


@pytest.mark.parametrize(
    ("kind", "mark"), [("error", "<3>"), ("warning", "<4>"), ("next", "<5>"), ("note", "<6>")]
)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_journald_is_told_how_serious_a_line_is(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    mark: str,
    log_format: str,
) -> None:
    set_log_format(log_format)
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    say(kind, "x")
    assert capfd.readouterr().err.startswith(mark)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
    say(kind, "x")
    assert not capfd.readouterr().err.startswith("<")
