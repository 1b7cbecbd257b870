"""Root writes where others can: what is not theirs stays so, and no secret is seen by them.

Two places, each with an attacker (uid 65534) at work: a sticky directory like /tmp, and a directory
of his own. Refused or harmless, both is fine; only a file of others that is changed or read into
ours, a secret that he can read, and a command that hangs are not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import HOST, b64
from tests.conftest import need_root
from tests.lab.aws_stub import AwsStub
from tests.lab.faults.forks import Completed, Forks
from tests.lab.faults.scenarios import is_crash
from tests.lab.security.attacker import NOBODY, Arena, attack

SECONDS = 3.0
SECRET = "c4n4ry-of-the-races"
LOGIN = f'{{"auths":{{"q.io":{{"auth":"{b64(f"u:{SECRET}")}"}}}}}}'
SEEN = (
    SECRET.encode(),
    b64(f"u:{SECRET}").encode(),
    b"t0ken",
    b"ECS_PROTECTED",
    b64("AWS:t0ken").encode(),
)
NAMES = {
    "target": ("ecs.config",),
    "temporary file": (".ecs.config.ecsauth-new",),
    "lock": (".ecs.config.ecsauth-lock",),
    "copy before": ("ecs.config.ecsauth-previous", ".ecs.config.ecsauth-previous.ecsauth-new"),
    "state": ("state", "state/state.json", "state/.state.json.ecsauth-new", "state.json"),
    "cache and log": ("cache", "cache/ecsauth-cache", "cache/log", "cache/log/ecr-login.log"),
    "all": (
        "ecs.config",
        ".ecs.config.ecsauth-new",
        "ecs.config.ecsauth-previous",
        "state",
        "cache",
    ),
}
_TO = ("--to", "SHARED/ecs.config", "--state-dir", "SHARED/state", "--lock-timeout=0.2")
_HELPER = "docker-credential-ecr-login"
COMMANDS = (
    ("ecsauth", "migrate", "LOGIN", *_TO, "--restart=never"),
    ("ecsauth", "refresh", "LOGIN", *_TO, "--restart=never", "--force"),
    ("ecsauth", "check", "SHARED/ecs.config", "--fix"),
    ("ecsauth", "status", "SHARED/ecs.config", "--state-dir", "SHARED"),
    (_HELPER, "get"),
    (_HELPER, "list"),
    ("ecsauth", "migrate", "LOGIN", *_TO, "--restart=never", "--replace"),
)


@pytest.fixture(params=["sticky", "another user's"])
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    need_root()
    root = Path(tempfile.mkdtemp(prefix="ecsauth-races-"))
    root.chmod(0o755)
    made = Arena(root, root / "shared", root / "protected", root / "his" / "own")
    for folder in (made.shared, made.protected, made.theirs):
        folder.mkdir(parents=True)
    for folder, text in ((made.protected, "ECS_PROTECTED=1\n"), (made.theirs, "ECS_HIS=1\n")):
        for names in NAMES.values():
            for name in names:
                (folder / Path(name).name).write_text(text)
                (folder / Path(name).name).chmod(0o600)
    for path in made.theirs.iterdir():  # in a directory of root's, so that he leaves them there
        os.chown(path, NOBODY, NOBODY)
    if request.param == "sticky":
        made.shared.chmod(0o1777)
    else:
        os.chown(made.shared, NOBODY, NOBODY)
    (root / "login.json").write_text(LOGIN)
    (root / "login.json").chmod(0o600)
    yield made
    shutil.rmtree(root)


def run(forks: Forks, arena: Arena, command: tuple[str, ...], aws: AwsStub) -> Completed:
    words = {"SHARED": str(arena.shared), "LOGIN": str(arena.root / "login.json")}
    made = [
        item.replace("SHARED", words["SHARED"]).replace("LOGIN", words["LOGIN"]) for item in command
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(arena.root / "home"),
        "LANG": "C.UTF-8",
        "AWS_ECR_CACHE_DIR": str(arena.shared / "cache"),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "A",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-west-2",
        "AWS_EC2_METADATA_DISABLED": "true",
        "ECSAUTH_ENV_FILE": "",
        "ECSAUTH_INTROSPECTION_URL": "http://127.0.0.1:9",
    }
    return forks.run(*made, environment=environment, stdin=HOST)


def clear(shared: Path) -> None:
    """Begin anew: the first write of a file is the moment for another to come first."""
    for path in list(shared.iterdir()):
        with contextlib.suppress(OSError):  # he may come first
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def faults_of(arena: Arena, done: Completed) -> list[str]:
    said = done.out + done.err
    faults = []
    if done.code not in (0, 1, 2, 3, 4, 7) or is_crash(said):
        faults.append(f"{done.code}: {said}")
    if SECRET in said or "ECS_PROTECTED" in said:
        faults.append(f"said: {said}")
    for path in arena.shared.glob("*ecs.config*"):
        try:
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_uid == 0:
                data = path.read_bytes()
                if b"ECS_PROTECTED" in data:
                    faults.append(f"{path} has what is protected")
        except OSError:
            continue  # swapped meanwhile
    return faults


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_swapping_gains_nothing(
    forks: Forks, arena: Arena, aws: AwsStub, names: tuple[str, ...]
) -> None:
    before = arena.observe()
    faults: list[str] = []
    runs = 0
    seconds = SECONDS if len(names) == 5 else SECONDS / 4
    end = time.monotonic() + seconds
    with attack(arena, names, SEEN) as loot:
        while time.monotonic() < end or runs < 2 * len(COMMANDS):
            started = time.monotonic()
            done = run(forks, arena, COMMANDS[runs % len(COMMANDS)], aws)
            if time.monotonic() - started > 20:
                faults.append(f"slow: {done}")
            faults += faults_of(arena, done)
            runs += 1
            if runs % len(COMMANDS) in (0, 3):
                clear(arena.shared)
    assert faults == []
    assert loot[0].seen == []
    assert loot[0].swaps > 20, "he did nothing"
    assert arena.observe() == before


def test_without_an_attacker_the_same_commands_write(
    forks: Forks, arena: Arena, aws: AwsStub
) -> None:
    """In a sticky directory root's own files are safe; in another user's it is refused."""
    codes = [run(forks, arena, command, aws).code for command in COMMANDS]
    if arena.shared.stat().st_uid == 0:
        assert codes == [0] * len(COMMANDS)
        assert b64(f"u:{SECRET}") in (arena.shared / "ecs.config").read_text()
        assert list((arena.shared / "cache").rglob("*.token"))
        assert (arena.shared / "state" / "state.json").exists()
        for path in arena.shared.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0 or path.is_symlink(), path
    else:
        done = run(forks, arena, COMMANDS[0], aws)
        assert done.code == 4
        assert f"{arena.shared} belongs to another user (uid {NOBODY})" in done.err
        assert not (arena.shared / "ecs.config").exists()


@pytest.mark.parametrize("arena", ["sticky"], indirect=True)
def test_attacker_sees_a_secret_that_is_not_private(arena: Arena) -> None:
    """The positive control of his eyes."""
    (arena.shared / "ecs.config").write_text(SECRET)
    (arena.shared / "ecs.config").chmod(0o644)
    with attack(arena, ("other",), SEEN) as loot:
        time.sleep(0.5)
    assert loot[0].seen == [str(arena.shared / "ecs.config")]
