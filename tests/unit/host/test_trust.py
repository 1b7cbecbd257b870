"""Which folders nobody else can redirect."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecsauth.host import trust as ownership
from ecsauth.host.trust import untrusted_path_reason


@pytest.mark.usefixtures("as_root")
def test_path_that_others_can_redirect_is_named(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/../a")
    (tmp_path / "loop").symlink_to("loop")
    assert untrusted_path_reason(inner) == ""
    assert untrusted_path_reason(tmp_path / "link" / "b") == ""
    assert "loop is a symlink" in untrusted_path_reason(tmp_path / "loop")
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    assert "link is a symlink of another user" in untrusted_path_reason(tmp_path / "link" / "b")
    (tmp_path / "a").chmod(0o1777)
    assert untrusted_path_reason(inner) == ""
    (tmp_path / "a").chmod(0o777)
    assert untrusted_path_reason(inner) == f"{tmp_path / 'a'} can be written by others"
    os.chown(tmp_path / "a", 12345, 0)
    assert "belongs to another user (uid 12345)" in untrusted_path_reason(inner)
    with pytest.raises(FileNotFoundError):
        untrusted_path_reason(tmp_path / "absent")


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("variables", "is_trusted"),
    [
        ({}, False),
        ({"ECSAUTH_TRUSTED_UIDS": "1 12345"}, True),
        ({"ECSAUTH_TRUSTED_UIDS": "1,2345"}, False),
        ({"ECSAUTH_TRUSTED_UIDS": "all"}, True),
        ({"SUDO_UID": "12345"}, True),
        ({"SUDO_UID": "x"}, False),
    ],
)
def test_directory_of_a_trusted_user_is_trusted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    is_trusted: bool,
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "his"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    assert (ownership.untrusted_path_reason(folder) == "") == is_trusted
    folder.chmod(0o777)
    is_open = variables.get("ECSAUTH_TRUSTED_UIDS") != "all"
    assert bool(ownership.untrusted_path_reason(folder)) == is_open
