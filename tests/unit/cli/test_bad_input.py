"""Bad input: one line on stderr, the right exit code, the target untouched, no secret."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecsauth.host import atomic_file as files
from ecsauth.host import locks
from tests.builders import HOST, b64, ecr_password
from tests.conftest import Result

RunProgram = Callable[..., Result]
BEFORE = b"ECS_CLUSTER=x\n"
CANARY = "hunter2canary"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "ecs.config"
    path.parent.mkdir()
    path.write_bytes(BEFORE)
    path.chmod(0o600)
    return path


def expect(result: Result, code: int, *words: str) -> None:
    assert result.code == code, result
    assert result.out == ""
    assert len(result.err.splitlines()) == 1, result.err
    assert result.err.startswith("ecsauth: error: ")
    for word in words:
        assert word in result.err
    assert CANARY not in result.err
    assert b64(f"u:{CANARY}") not in result.err
    assert "Traceback" not in result.err


def untouched(target: Path) -> None:
    assert target.read_bytes() == BEFORE
    others = {path.name for path in target.parent.iterdir()} - {target.name}
    assert others <= {f".{target.name}.ecsauth-lock"}


ENTRY = {"auth": b64(f"u:{CANARY}")}
BAD_FILES: dict[str, tuple[bytes | dict[str, Any], tuple[str, ...]]] = {
    "not JSON": (b'{"auths":\n {"q.io" {}}}', ("line 2, column 10",)),
    "secret in broken JSON": (
        json.dumps({"auths": {"q.io": ENTRY}}).encode()[:-3],
        ("not JSON", "line 1"),
    ),
    "trailing comma": (b'{"auths": {},}', ("line 1, column 1",)),
    "no auths": ({"HttpHeaders": {"a": CANARY}}, ("holds no logins",)),
    "no object": (json.dumps([ENTRY]).encode(), ("not a docker login file",)),
    "auths is a list": ({"auths": [ENTRY]}, ("auths is not an object",)),
    "entry is a string": ({"auths": {"q.io": CANARY}}, ("'q.io' is not an object",)),
    "auth is a number": ({"auths": {"q.io": {"auth": 5}}}, ("q.io: auth is not a string",)),
    "auth is not base64": ({"auths": {"q.io": {"auth": f"!{CANARY}"}}}, ("not base64",)),
    "auth without colon": (
        {"auths": {"q.io": {"auth": b64(CANARY)}}},
        ("no colon", "docker login q.io"),
    ),
    "auth with a newline": (
        {"auths": {"q.io": {"auth": b64(f"u:{CANARY}\n")}}},
        ("password contains a control character",),
    ),
    "auth with an escape": (
        {"auths": {"q.io": {"auth": b64(f"u\x1b:{CANARY}")}}},
        ("user name contains a control",),
    ),
    "auth is latin-1": ({"auths": {"q.io": {"auth": "dTpw/w=="}}}, ("not UTF-8",)),
    "empty entry": ({"auths": {"q.io": {}}}, ("credential store", "docker login q.io")),
    "helper missing": (
        {"auths": {"q.io": {}}, "credsStore": "desktop"},
        ("docker-credential-desktop is not on PATH", "where docker login was run"),
    ),
    "helper with a path": (
        {"auths": {}, "credHelpers": {"q.io": "../../tmp/x"}},
        ("not the name of a credential helper",),
    ),
    "two schemes": (
        {"auths": {"https://q.io": ENTRY, "http://q.io": {"auth": b64("v:other")}}},
        ("https://q.io and http://q.io", "remove one of them"),
    ),
    "password in a key": ({"auths": {f"https://u:{CANARY}@q.io": ENTRY}}, ("contains '@'",)),
    "newline in a key": ({"auths": {"q.io\nECS_CLUSTER=evil": ENTRY}}, ("not a registry name",)),
    "byte order mark": (
        b"\xef\xbb\xbf" + json.dumps({"auths": {"q.io": ENTRY}}).encode(),
        ("byte order mark",),
    ),
    "UTF-16": (
        json.dumps({"auths": {"q.io": ENTRY}}).encode("utf-16"),
        ("UTF-16", "save it as UTF-8"),
    ),
    "invalid UTF-8": (b'{"auths": {"q.io": {"auth": "\xff"}}}', ("not UTF-8",)),
    "empty": (b"", ("is empty", "docker login")),
    "no logins": ({"auths": {}}, ("holds no logins",)),
    "Kubernetes Secret": (
        {"kind": "Secret", "data": {".dockerconfigjson": CANARY}},
        ("base64 -d",),
    ),
    "expired ECR token": (
        {"auths": {HOST: {"auth": b64("AWS:" + ecr_password(1_500_000_000))}}},
        ("its ECR token expired", "get-login-password"),
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_login_file(ecsauth: RunProgram, tmp_path: Path, target: Path, name: str) -> None:
    content, words = BAD_FILES[name]
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    expect(ecsauth("migrate", path, "--to", target), 3, *words)
    untouched(target)
    expect(ecsauth("convert", path), 3, *words)


def test_good_login_file_is_written(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path
) -> None:
    """The positive control of every test in this file."""
    result = ecsauth("migrate", login_file({"q.io": ENTRY}), "--to", target)
    assert result.code == 0
    assert b64(f"u:{CANARY}") in target.read_text()
    assert CANARY not in result.out + result.err


def test_one_bad_entry_does_not_stop_the_good_ones(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path
) -> None:
    result = ecsauth("migrate", login_file({"q.io": ENTRY, "a.io": {"auth": "!"}}), "--to", target)
    assert result.code == 3
    assert len(result.errors) == 1
    assert b64(f"u:{CANARY}") in target.read_text()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sleep 60", ("did not answer within 0.5 s", "--helper-timeout")),
        (f"echo {CANARY}", ("not a JSON object",)),
        ("echo the keychain is locked; exit 1", ("the keychain is locked",)),
    ],
)
def test_bad_helper(
    ecsauth: RunProgram,
    login_file: Callable[..., Path],
    target: Path,
    helpers: Callable[[str, str], Path],
    body: str,
    words: tuple[str, ...],
) -> None:
    helpers("bad", body)
    path = login_file(credHelpers={"q.io": "bad"})
    expect(ecsauth("migrate", path, "--to", target, "--helper-timeout=0.5"), 3, *words)
    untouched(target)


@pytest.mark.parametrize("name", ["absent.json", "directory", "fifo", "huge.json"])
def test_login_file_that_cannot_be_read(
    ecsauth: RunProgram, tmp_path: Path, target: Path, name: str
) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(100_000_000)
    words = {
        "absent.json": "no such file",
        "directory": "is a directory",
        "fifo": "is a FIFO",
        "huge.json": f"more than the {files.MAX_BYTES:,} bytes",
    }
    expect(ecsauth("migrate", tmp_path / name, "--to", target), 3, words[name])
    untouched(target)


def test_no_login_file_at_all(ecsauth: RunProgram, target: Path) -> None:
    expect(
        ecsauth("migrate", "--to", target),
        3,
        "no docker login file",
        ".docker/config.json",
        ".dockercfg",
    )
    untouched(target)


def test_variable_that_is_not_set(ecsauth: RunProgram, target: Path) -> None:
    expect(
        ecsauth("migrate", "env:DOCKER_AUTH_CONFIG", "--to", target),
        3,
        "DOCKER_AUTH_CONFIG is unset or empty",
    )
    untouched(target)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"username": "a:b", "password": CANARY}, "user name with a colon"),
        ({"identitytoken": CANARY}, "cannot carry its token"),
    ],
)
def test_what_dockercfg_cannot_carry(
    ecsauth: RunProgram,
    login_file: Callable[..., Path],
    target: Path,
    entry: dict[str, str],
    words: str,
) -> None:
    path = login_file({"q.io": entry})
    expect(
        ecsauth("migrate", path, "--to", target, "--format=dockercfg"), 4, words, "--format docker"
    )
    untouched(target)
    assert ecsauth("migrate", path, "--to", target).code == 0


def test_value_over_the_limit(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path
) -> None:
    path = login_file(
        {f"r{number}.io": {"auth": b64(f"u:{CANARY}" + "p" * 2700)} for number in range(46)}
    )
    result = ecsauth("migrate", path, "--to", target)
    expect(result, 4, "131,050", "--format docker", "--to /etc/ecs/ecs.config.json")
    untouched(target)
    expect(ecsauth("convert", path), 4, "131,050", "--output agent-json")
    # both ways out do work
    assert ecsauth("migrate", path, "--to", target, "--format=docker").code == 0
    assert ecsauth("migrate", path, "--to", target.with_name("ecs.config.json")).code == 0


def test_line_over_the_limit_of_docker_is_written_with_a_warning(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path
) -> None:
    path = login_file({f"r{number}.io": {"auth": b64("u:" + "p" * 2700)} for number in range(20)})
    result = ecsauth("migrate", path, "--to", target)
    assert result.code == 0
    assert "docker run --env-file refuses lines over 65,535" in result.err
    assert "65,535" not in ecsauth("migrate", path, "--to", target.with_name("ecs.config.json")).err


def test_target_that_is_no_file(
    ecsauth: RunProgram, login_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = login_file({"q.io": ENTRY})
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, words in (
        ("", ("is a directory",)),
        ("fifo", ("is a FIFO",)),
        ("dangling", ("does not exist", "remove the link")),
        ("loop", ("loop",)),
        ("absent/ecs.config", ("directory", "does not exist", "create it first")),
    ):
        expect(ecsauth("migrate", path, "--to", tmp_path / name), 4, *words)
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "absent").exists()


def test_broken_json_target_is_left_alone(
    ecsauth: RunProgram, login_file: Callable[..., Path], tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config.json"
    target.write_text("{broken")
    expect(ecsauth("migrate", login_file({"q.io": ENTRY}), "--to", target), 4, "repair it by hand")
    assert target.read_text() == "{broken"


def _without_root(call: Callable[[], Result]) -> Result:
    """Run in this process as nobody, if we are root."""
    if os.geteuid() != 0:
        return call()
    os.setegid(65534)
    os.seteuid(65534)
    try:
        return call()
    finally:
        os.seteuid(0)
        os.setegid(0)


def _open_path_to(path: Path) -> None:
    for directory in (path, *path.parents):
        if directory.stat().st_uid == 0 and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o055)


def test_target_without_permission_says_sudo(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path
) -> None:
    path = login_file({"q.io": ENTRY})
    path.chmod(0o644)
    _open_path_to(target.parent)
    target.parent.chmod(0o555)
    target.chmod(0o444)
    result = _without_root(lambda: ecsauth("migrate", path, "--to", target))
    expect(result, 4, "Permission denied", "sudo")
    untouched(target)


def test_read_only_target_in_a_writable_directory_is_respected(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path
) -> None:
    path = login_file({"q.io": ENTRY})
    path.chmod(0o644)
    _open_path_to(target.parent)
    target.parent.chmod(0o777)
    target.chmod(0o444)
    result = _without_root(lambda: ecsauth("migrate", path, "--to", target))
    expect(result, 4, "Permission denied", "sudo")
    assert target.read_bytes() == BEFORE


def test_login_file_without_permission_says_sudo(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path
) -> None:
    path = login_file({"q.io": ENTRY})
    path.chmod(0)
    _open_path_to(path.parent)
    result = _without_root(lambda: ecsauth("migrate", path, "--to", target))
    expect(result, 3, "permission denied", "sudo")


def test_lock_timeout_leaves_the_target_unwritten(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path
) -> None:
    with locks.locked(target, 0):
        result = ecsauth(
            "migrate", login_file({"q.io": ENTRY}), "--to", target, "--lock-timeout=0.2"
        )
    expect(result, 4, f"process {os.getpid()} has held its lock for 0.2 s")
    untouched(target)
