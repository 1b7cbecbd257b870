"""The launcher and `hit` print a ready answer by the same rules, and nothing that is in doubt."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecsauth.errors import UsageError
from ecsauth.token_cache.answers import hit
from ecsauth.token_cache.launcher import launcher_text
from tests.builders import HOST
from tests.conftest import need_root
from tests.unit.token_cache.world import DOUBTS, World, world

SHELLS = {"dash": ["dash"], "bash": ["bash"], "bash --posix": ["bash", "--posix"]}
SHELLS = {name: argv for name, argv in SHELLS.items() if shutil.which(argv[0])}
if shutil.which("busybox"):
    SHELLS["busybox"] = ["busybox", "sh"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "user"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A stand-in for the package that tells what was handed to it."""
    path = tmp_path / "package"
    path.write_text('#!/bin/sh\necho "package: $*"\ncat\n')
    path.chmod(0o755)
    return path


def launched(
    shell: str, package: Path, made: World, *arguments: str
) -> subprocess.CompletedProcess[bytes]:
    launcher = package.with_name("launcher")
    launcher.write_text(launcher_text([str(package), "-I"]))
    return subprocess.run(
        [*SHELLS[shell], str(launcher), *(arguments or ("get",))],
        input=made.stdin,
        env=made.environment,
        cwd=made.home,
        capture_output=True,
        check=False,
        timeout=20,
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_launcher_prints_a_ready_answer_by_itself(shell: str, home: Path, package: Path) -> None:
    made = world(home)
    package.unlink()  # nobody is asked
    done = launched(shell, package, made)
    assert (done.returncode, done.stdout, done.stderr) == (0, made.reply, b"")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_launcher_takes_a_line_with_and_without_its_end(
    shell: str, end: bytes, home: Path, package: Path
) -> None:
    made = world(home)
    made.stdin += end
    assert launched(shell, package, made).stdout == made.reply


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_PROFILE": "prod-1_a.b"},
        {"AWS_PROFILE_123456789012": "prod", "AWS_PROFILE": "other"},
        {"AWS_ROLE_ARN_123456789012": "arn:aws:iam::123456789012:role/a/b+c=d,e@f"},
        {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_launcher_and_hit_know_the_principal(
    shell: str, environment: dict[str, str], home: Path, package: Path
) -> None:
    made = world(home, **environment)
    assert launched(shell, package, made).stdout == made.reply
    assert hit(made.stdin, made.environment) == made.reply
    for name in environment:
        other = {**made.environment, name: made.environment[name] + "x"}
        assert hit(made.stdin, other) is None
        assert launched(shell, package, World(home, other)).stdout.startswith(b"package:")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("doubt", DOUBTS)
def test_launcher_hands_every_doubt_to_the_package(
    shell: str, doubt: str, home: Path, package: Path
) -> None:
    made = world(home)
    assert launched(shell, package, made).stdout == made.reply
    if "user's" in doubt:
        need_root()
    DOUBTS[doubt](made)
    if doubt != "the clock was turned back" and made.answers.exists():
        made.discard_rollback()
    done = launched(shell, package, made)
    first, _, rest = done.stdout.partition(b"\n")
    assert first == b"package: -I get", done
    assert rest.strip() == made.stdin.strip()
    assert b"s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize("doubt", sorted(DOUBTS.keys() - {"a cache directory with a tilde"}))
def test_hit_has_no_answer_where_there_is_any_doubt(doubt: str, home: Path) -> None:
    made = world(home)
    assert hit(made.stdin, made.environment) == made.reply
    if "user's" in doubt:
        need_root()
    DOUBTS[doubt](made)
    if doubt != "the clock was turned back" and made.answers.exists():
        made.discard_rollback()
    assert hit(made.stdin, made.environment) is None


def test_hit_sees_permissions_that_the_shell_does_not(home: Path) -> None:
    made = world(home)
    made.answers.chmod(stat.S_ISVTX | 0o770)
    made.discard_rollback()
    assert hit(made.stdin, made.environment) is None


@pytest.mark.parametrize("shell", SHELLS)
def test_launcher_notices_a_write_by_others_even_if_the_seal_was_kept(
    shell: str, home: Path, package: Path
) -> None:
    made = world(home)
    made.answer.chmod(stat.S_ISVTX | 0o666)
    assert launched(shell, package, made).stdout == made.reply  # nobody has touched it
    made.answer.write_bytes(made.answer.read_bytes().replace(b"s3cret", b"forged"))
    time.sleep(0.02)  # the clock of file times has a grain of some ms
    assert launched(shell, package, made).stdout.startswith(b"package:")


@pytest.mark.parametrize("name", ["config", "credentials"])
@pytest.mark.parametrize("shell", SHELLS)
def test_launcher_and_hit_notice_a_changed_sdk_file(
    shell: str, name: str, home: Path, package: Path
) -> None:
    path = home / ".aws" / name
    path.parent.mkdir(parents=True)
    path.write_text("[default]\n")
    os.utime(path, (1000, 1000))
    made = world(home)

    def is_hit() -> bool:
        by_python = hit(made.stdin, made.environment) == made.reply
        assert (launched(shell, package, made).stdout == made.reply) is by_python
        return by_python

    assert is_hit()
    for moment in (999, 1001):
        os.utime(path, (moment, moment))
        assert not is_hit()
    os.utime(path, (1000, 1000))
    assert is_hit()
    older = path.with_name("older")
    older.write_text("[default]\n")
    os.utime(older, (10, 10))
    path.unlink()
    assert not is_hit()
    path.symlink_to(older)
    assert not is_hit()
    made.keep()
    assert is_hit()


@pytest.mark.usefixtures("as_root")
def test_launcher_knows_its_own_age_in_another_namespace(home: Path, package: Path) -> None:
    made = world(home)
    past = time.time() - 5
    for path in (made.mark, made.answer):
        os.utime(path, (past, past))
    launcher = package.with_name("launcher")
    launcher.write_text(launcher_text([str(package)]))
    done = subprocess.run(
        ["unshare", "--fork", "--pid", "sh", str(launcher), "get"],
        input=made.stdin,
        env=made.environment,
        capture_output=True,
        check=False,
    )
    assert done.stdout.startswith(b"package:")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("text", [f"{HOST}\n\nx\ny\n", f"\n\n{HOST}\n", "\n", f"a\n{HOST}"])
def test_launcher_hands_on_every_line(shell: str, text: str, home: Path, package: Path) -> None:
    made = world(home)
    made.stdin = text.encode()
    done = launched(shell, package, made)
    assert done.stdout.partition(b"\n")[2].rstrip() == made.stdin.rstrip()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "arguments", [["list"], ["version"], ["erase"], ["store"], ["get", "x"], ["-v"], ["g*t", ""]]
)
def test_launcher_hands_other_actions_to_the_package(
    shell: str, arguments: list[str], home: Path, package: Path
) -> None:
    made = world(home)
    done = launched(shell, package, made, *arguments)
    assert done.stdout == f"package: -I {' '.join(arguments)}\n{HOST}".encode()


@pytest.mark.parametrize("shell", SHELLS)
def test_launcher_without_package_says_so(shell: str, home: Path, package: Path) -> None:
    made = world(home)
    DOUBTS["no answer"](made)
    package.unlink()
    done = launched(shell, package, made)
    assert done.stdout == b"credentials not found in native keychain\n"
    assert b"is missing; run: ecsauth install helper" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_launcher_runs_nothing_that_a_caller_sends(
    shell: str, home: Path, package: Path, tmp_path: Path
) -> None:
    proof = tmp_path / "proof"
    made = world(home)
    for text in (
        f"$(touch {proof})",
        f"`touch {proof}`",
        f'";touch {proof};"',
        f"a\nEND\ntouch {proof}",
    ):
        made.stdin = text.encode()
        launched(shell, package, made)
        made.stdin = HOST.encode()
        for name in ("AWS_PROFILE", "AWS_ROLE_ARN_123456789012", "AWS_ECR_CACHE_DIR", "HOME"):
            launched(shell, package, World(home, {**made.environment, name: text}))
    assert not proof.exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_launcher_leaves_no_variable_of_its_own_in_the_environment(
    shell: str, home: Path, package: Path
) -> None:
    made = world(home)
    made.environment.update(reply="mine", key="mine", url="mine")
    made.answer.write_bytes(made.answer.read_bytes().replace(b"|123456789012.", b"|123456789013."))
    future = time.time() + 60
    os.utime(made.answer, (future, future))
    package.write_text("#!/bin/sh\nenv\n")
    done = launched(shell, package, made)
    assert b"HOME=" in done.stdout
    assert b"s3cret" not in done.stdout
    assert b"reply=" not in done.stdout


def test_hit_does_not_open_a_fifo(home: Path) -> None:
    made = world(home)
    made.answer.unlink()
    os.mkfifo(made.answer, 0o600)
    made.discard_rollback()
    assert hit(made.stdin, made.environment) is None


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a$b", "a`b", "a\\b", "a\nb"])
def test_path_with_shell_characters_is_refused(name: str) -> None:
    assert launcher_text(["/opt/a b/python"])
    with pytest.raises(UsageError) as caught:
        launcher_text([f"/opt/{name}/python"])
    assert caught.value.reference == "usage-path-characters"


def test_hit_of_the_console_script_loads_nothing_heavy(home: Path) -> None:
    made = world(home)
    program = (
        "import sys; before = set(sys.modules); sys.argv = ['x', 'get']\n"
        "import os, atexit; exit_ = os._exit\n"
        "def ended(code):\n"
        "    new = set(sys.modules) - before\n"
        "    print(*new, file=sys.stderr); exit_(code)\n"
        "os._exit = ended\n"
        "from ecsauth.helper.entry import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=made.stdin,
        env=made.environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout == made.reply
    loaded = set(done.stderr.decode().split())
    ours = {name for name in loaded if name.startswith("ecsauth")}
    assert ours == {
        "ecsauth",
        "ecsauth.aws",
        "ecsauth.aws.deciding",
        "ecsauth.helper",
        "ecsauth.helper.entry",
        "ecsauth.host",
        "ecsauth.host.machine",
        "ecsauth.token_cache",
        "ecsauth.token_cache.answers",
    }
    assert not loaded & {"json", "pathlib", "dataclasses", "boto3", "click", "hashlib"} - {"re"}
