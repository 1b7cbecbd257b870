"""The files of the SDK, found and read as botocore does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecsauth.token_cache.sdk_files import read_sdk_files


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_files_of_the_sdk_are_found_as_botocore_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (tmp_path / "c").write_text("x")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for named in ("~/c", "$HOME/c", "c", str(tmp_path / "c")):
        found = read_sdk_files({variable: named}, str(tmp_path))
        assert found is not None
        one = found.config if variable == "AWS_CONFIG_FILE" else found.credentials
        assert (one.path, one.content) == (str(tmp_path / "c"), b"x")


def test_sdk_file_that_cannot_be_read_completely_gives_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * 1_100_000)
    for name in ("fifo", "large", "."):
        assert read_sdk_files({"AWS_CONFIG_FILE": str(tmp_path / name)}, "/h") is None
    missing = read_sdk_files({"AWS_CONFIG_FILE": str(tmp_path / "none")}, "/h")
    assert missing is not None
    assert missing.config.mtime is None
