"""docker-credential-ecr-login as whole processes, against a counted stub of AWS on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ecsauth.token_cache.launcher import PACKAGE_CODE, launcher_text
from tests.builders import HOST, ROOT
from tests.conftest import Result, need, need_root
from tests.lab.aws_stub import PRIVATE, PUBLIC, AwsStub, aws_stub, error_answer, token_answer
from tests.lab.test_ecr import ASSUMED
from tests.lab.test_metadata import run_on
from tests.unit.cli.test_canary import SECRET, assert_silent

NOT_FOUND = "credentials not found in native keychain\n"
PACKAGE = [sys.executable, "-I", "-c", PACKAGE_CODE]


class User:
    """Somebody with a home and AWS credentials, who runs the helper.

    Attributes:
        home: the home directory.
        environment: his variables.
        program: what he runs.

    """

    def __init__(self, home: Path, aws: AwsStub) -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        self.aws = aws
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_ACCESS_KEY_ID": "BASE",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.program = [str(home / "launcher")]
        (home / "launcher").write_text(launcher_text(PACKAGE))
        (home / "launcher").chmod(0o755)

    @property
    def cache(self) -> Path:
        return self.home / ".ecr"

    @property
    def log(self) -> str:
        path = self.cache / "log" / "ecr-login.log"
        return path.read_text() if path.exists() else ""

    def start(self, action: str = "get", text: str = HOST) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.program, action],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd="/",
        )
        assert process.stdin
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, action: str = "get", text: str = HOST) -> Result:
        process = self.start(action, text)
        out, err = process.communicate(timeout=100)
        return Result(process.returncode, out, err)

    def secret(self, text: str = HOST) -> str:
        result = self.run("get", text)
        assert result.code == 0, (result, self.log)
        return str(json.loads(result.out)["Secret"])

    def configure(self, text: str) -> None:
        (self.home / ".aws").mkdir(exist_ok=True)
        (self.home / ".aws" / "config").write_text(text)


@pytest.fixture
def aws() -> Iterator[AwsStub]:
    with aws_stub() as stub:
        stub.answers[PRIVATE] = token_answer(HOST)
        stub.answers[PUBLIC] = token_answer("", public=True)
        stub.answers["sts.AssumeRole"] = lambda _, __: (200, ASSUMED)
        yield stub


@pytest.fixture
def user(tmp_path: Path, aws: AwsStub) -> User:
    return User(tmp_path / "user", aws)


def slowly(seconds: float, answer: Callable[..., Any]) -> Callable[..., Any]:
    def late(*arguments: Any) -> Any:
        time.sleep(seconds)
        return answer(*arguments)

    return late


def results(processes: Sequence[subprocess.Popen[str]]) -> list[Result]:
    found = []
    for process in processes:
        out, err = process.communicate(timeout=100)
        found.append(Result(process.returncode, out, err))
    return found


def hosts(count: int) -> list[str]:
    return [f"{number:012}.dkr.ecr.us-west-2.amazonaws.com" for number in range(count)]


def test_first_get_asks_and_further_ones_do_not(user: User) -> None:
    assert [user.secret() for _ in range(3)] == ["t0ken"] * 3
    assert user.aws.calls == [f"{PRIVATE} in us-west-2 by BASE"]
    assert user.secret(f"https://{HOST}/v2/") == "t0ken"
    assert user.run("list").out == f'{{"https://{HOST}":"AWS"}}\n'
    assert user.secret("public.ecr.aws") == "t0ken"
    assert len(user.aws.calls) == 2


@pytest.mark.parametrize("program", ["launcher", "package"])
def test_fifty_at_once_on_a_cold_cache_make_one_call(user: User, program: str) -> None:
    if program == "package":
        user.program = PACKAGE
    user.aws.answers[PRIVATE] = slowly(0.5, token_answer(HOST))
    done = results([user.start("get", host) for host in hosts(50)])
    assert [json.loads(item.out)["ServerURL"] for item in done] == hosts(50)
    assert {json.loads(item.out)["Secret"] for item in done} == {"t0ken"}
    assert len(user.aws.calls) == 1
    listed = json.loads(user.run("list").out)
    assert listed == {f"https://{host}": "AWS" for host in hosts(50)}


def test_fifty_at_once_share_a_failure(user: User) -> None:
    user.program = PACKAGE
    user.aws.answers[PRIVATE] = slowly(8, error_answer(400, "AccessDeniedException"))
    done = results([user.start("get", host) for host in hosts(50)])
    assert {(item.code, item.out) for item in done} == {(1, NOT_FOUND)}
    asked = [call for call in user.aws.calls if call.startswith(PRIVATE)]
    assert len(asked) == 1
    assert user.log.count("access denied to ecr:GetAuthorizationToken") == 50


def test_leader_that_crashes_blocks_the_others_for_less_than_two_seconds(user: User) -> None:
    user.program = PACKAGE
    held = token_answer(HOST)
    user.aws.answers[PRIVATE] = slowly(30, held)
    leader = user.start()
    while not user.aws.calls:
        time.sleep(0.02)
    user.aws.answers[PRIVATE] = held
    followers = [user.start() for _ in range(5)]
    time.sleep(1.5)
    assert len(user.aws.calls) == 1, "they wait"
    begun = time.monotonic()
    leader.kill()
    leader.communicate()
    assert {item.code for item in results(followers)} == {0}
    assert time.monotonic() - begun < 2
    assert len(user.aws.calls) == 2


def test_profile_that_assumes_a_role_costs_one_call_of_each(user: User) -> None:
    user.configure(
        "[profile base]\naws_access_key_id=BASE\naws_secret_access_key=s\n"
        "[profile pull]\nrole_arn=arn:aws:iam::123456789012:role/p\nsource_profile=base\n"
    )
    del user.environment["AWS_ACCESS_KEY_ID"], user.environment["AWS_SECRET_ACCESS_KEY"]
    user.environment |= {"AWS_PROFILE": "pull", "AWS_DEFAULT_REGION": "us-west-2"}
    user.program = PACKAGE
    assert [user.secret() for _ in range(10)] == ["t0ken"] * 10
    assert [call.split()[0] for call in user.aws.calls] == ["sts.AssumeRole", PRIVATE]
    assert user.aws.calls[1].endswith("by ASSUMED")


def test_role_and_profile_of_an_account(user: User) -> None:
    user.environment["AWS_ROLE_ARN_111111111111"] = "arn:aws:iam::111111111111:role/p"
    user.environment["AWS_PROFILE_222222222222"] = "other"
    user.configure("[profile other]\naws_access_key_id=OTHER\naws_secret_access_key=s\n")
    accounts = ("123456789012", "111111111111", "222222222222")
    for host in (HOST.replace("123456789012", account) for account in accounts):
        user.secret(host)
    keys = [call.split()[-1] for call in user.aws.calls if call.startswith(PRIVATE)]
    assert keys == ["BASE", "ASSUMED", "OTHER"]
    before = len(user.aws.calls)
    user.secret(HOST.replace("123456789012", "111111111111"))
    user.secret(HOST.replace("123456789012", "222222222222"))
    assert len(user.aws.calls) == before


def test_changed_profile_is_noticed(user: User) -> None:
    del user.environment["AWS_ACCESS_KEY_ID"], user.environment["AWS_SECRET_ACCESS_KEY"]
    user.configure("[default]\naws_access_key_id=AKIAONE\naws_secret_access_key=s\n")
    user.secret()
    user.secret()
    time.sleep(0.05)
    user.configure("[default]\naws_access_key_id=AKIATWO\naws_secret_access_key=s\n")
    user.secret()
    assert [call.split()[-1] for call in user.aws.calls] == ["AKIAONE", "AKIATWO"]


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
    ],
)
def test_every_partition_is_asked_in_its_region(user: User, host: str, region: str) -> None:
    assert user.secret(host) == "t0ken"
    assert user.aws.calls == [f"{PRIVATE} in {region} by BASE"]


def test_registry_of_others_touches_neither_aws_nor_the_cache(user: User) -> None:
    for text in ("docker.io", "https://index.docker.io/v1/", f"{HOST}.example.com"):
        result = user.run("get", text)
        assert (result.code, result.out, result.err) == (1, NOT_FOUND, "")
    assert user.aws.calls == []
    assert not user.cache.exists()


@pytest.mark.parametrize("kind", ["off", "none"])
def test_list_needs_neither_region_nor_network(kind: str, tmp_path: Path) -> None:
    run = run_on(kind, "ecsauth.helper", "list")
    assert (run.code, run.out) == (0, "{}\n")
    assert run.seconds < run_on(kind, "ecsauth.helper", "version").seconds + 0.3


def on_host(kind: str, *command: str) -> Any:
    """Run a command as `tests.lab.ec2_host` does; return what it prints."""
    need_root()
    need("unshare", "ip")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-m", "tests.lab.ec2_host", kind, *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=100,
        check=True,
    )
    return json.loads(done.stdout)


def test_instance_role_is_asked_on_a_miss_only() -> None:
    script = (
        f"cd /; export HOME=$(mktemp -d); for i in 1 2 3; do printf {HOST} |"
        f" {sys.executable} -m ecsauth.helper get | wc -c; done; rm -r $HOME"
    )
    code, out, err, _, calls = on_host("ec2", "sh", "-c", script)
    assert (code, len(out.split()), len(set(out.split())), err) == (0, 3, 1, "")
    assert calls == [f"{PRIVATE} in us-west-2 by FROMROLE"]


def test_off_ec2_the_reason_comes_within_two_seconds() -> None:
    script = (
        "cd /; export HOME=$(mktemp -d) ECSAUTH_DEBUG=1;"
        f" printf {HOST} | {sys.executable} -m ecsauth.helper get"
    )
    code, out, err, seconds, _ = on_host("off", "sh", "-c", script)
    assert (code, out) == (1, NOT_FOUND)
    assert "no AWS credentials; attach an instance profile" in err
    assert seconds < 2.5


def test_failure_is_not_found_and_its_reason_is_in_the_log(user: User) -> None:
    user.aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    result = user.run()
    assert (result.code, result.out, result.err) == (1, NOT_FOUND, "")
    assert "access denied to ecr:GetAuthorizationToken" in user.log
    assert "AmazonEC2ContainerRegistryReadOnly" in user.log
    user.environment["ECSAUTH_DEBUG"] = "1"
    assert "AmazonEC2ContainerRegistryReadOnly" in user.run().err
    user.environment["ECSAUTH_STRICT"] = "1"
    strict = user.run()
    assert strict.code == 1
    assert "AmazonEC2ContainerRegistryReadOnly" in strict.out
    user.aws.answers[PRIVATE] = token_answer(HOST)
    assert user.secret() == "t0ken"


def test_failure_is_told_on_a_terminal(user: User) -> None:
    user.aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*user.program, "get"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=user.environment,
    ) as process:
        out, _ = process.communicate(HOST.encode(), timeout=60)
    shown = b""
    with contextlib.suppress(OSError):
        while select.select([ours], [], [], 1)[0]:
            shown += os.read(ours, 4096)
    os.close(theirs)  # not before: what a terminal holds may be lost when nobody has it open
    os.close(ours)
    assert out.decode() == NOT_FOUND
    assert b"access denied to ecr:GetAuthorizationToken" in shown


def test_token_that_has_not_expired_covers_a_failure(user: User) -> None:
    user.aws.answers[PRIVATE] = token_answer(HOST, life=4)
    assert user.secret() == "t0ken"
    time.sleep(2.5)
    user.aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    assert user.secret() == "t0ken"
    assert "using the cached token, valid until " in user.log
    time.sleep(2)
    assert user.run().out == NOT_FOUND


def test_token_in_hand_is_answered_in_seconds_while_aws_hangs(user: User) -> None:
    user.aws.answers[PRIVATE] = token_answer(HOST, life=30)
    user.secret()
    for path in (user.cache / "ecsauth-cache").glob("*.token"):
        token = json.loads(path.read_text())
        token["requested_at"] -= 60
        path.write_text(json.dumps(token))
    shutil.rmtree(user.cache / "ecsauth-cache" / "answers")
    user.aws.answers[PRIVATE] = slowly(60, token_answer(HOST))
    begun = time.monotonic()
    assert user.secret() == "t0ken"
    assert time.monotonic() - begun < 8
    begun = time.monotonic()
    assert user.secret() == "t0ken"
    assert time.monotonic() - begun < 2, "for a minute nobody asks again"
    assert len(user.aws.calls) == 2


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&1 >&3 3>&- | head -c 0 >&2"])
def test_answer_does_not_depend_on_who_reads_the_reasons(user: User, redirection: str) -> None:
    environment = {**user.environment, "ECSAUTH_DEBUG": "1"}
    done = subprocess.run(
        ["sh", "-c", f'{{ printf {HOST} | "$@" get {redirection}; }} 3>&1', "sh", *PACKAGE],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert '"t0ken"' in done.stdout


def test_interrupt_leaves_no_traceback(user: User) -> None:
    user.aws.answers[PRIVATE] = slowly(20, token_answer(HOST))
    for milliseconds in (10, 30, 50, 80, 120, 400):
        process = subprocess.Popen(
            [*PACKAGE, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**user.environment, "AWS_ECR_DISABLE_CACHE": "1"},
        )
        if milliseconds > 40 and process.stdin:
            process.stdin.write(HOST.encode())
            process.stdin.close()
            process.stdin = None
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert out == b""
        assert b"ecsauth" not in err, "Python's own start is not ours to catch"
        assert process.returncode in (-signal.SIGINT, 1)


def test_login_of_changed_keys_is_another(user: User) -> None:
    def keys(name: str) -> None:
        (user.home / ".aws").mkdir(exist_ok=True)
        path = user.home / ".aws" / "credentials"
        path.write_text(f"[default]\naws_access_key_id={name}\naws_secret_access_key=s\n")
        os.utime(path, (time.time() - 60, time.time() - 60 - len(name)))

    def answer(region: str, _: dict[str, Any]) -> Any:
        by = user.aws.calls[-1].split()[-1]
        return token_answer(HOST, password=f"of-{by}")(region, {})

    user.aws.answers[PRIVATE] = answer
    del user.environment["AWS_ACCESS_KEY_ID"], user.environment["AWS_SECRET_ACCESS_KEY"]
    other = HOST.replace("123456789012", "999999999999")
    for name in ("AKIAONE", "AKIATHREE", "AKIAONE"):
        keys(name)
        for host in (other, HOST, other, HOST):
            assert user.secret(host) == f"of-{name}"
    assert len(user.aws.calls) == 2


@pytest.mark.parametrize("umask", [0o777, 0o477, 0o000])
def test_umask_of_the_caller_is_no_matter(user: User, umask: int) -> None:
    need_root()
    need("setpriv")
    os.chown(user.home, 12345, 12345)
    _let_others_in(user.home)
    environment = {**user.environment, "PYTHONPATH": str(ROOT)}
    code = "from ecsauth.helper.program import make_vault as m; import os\n"
    code += "from ecsauth.token_cache.cache import CachedToken; import time; n = int(time.time())\n"
    code += f"os.umask({umask}); from ecsauth.helper import program\n"
    code += "program.run(['list'], bytes); v = m(dict(os.environ), print); c = v._cache\n"
    code += "c.put('a' * 40, CachedToken('AWS', 'x', n, n + 9), n); print(c.get('a' * 40, n))"
    done = subprocess.run(
        [
            "setpriv",
            "--reuid",
            "12345",
            "--regid",
            "12345",
            "--clear-groups",
            "python3",
            "-c",
            code,
        ],
        env={**environment, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert "username='AWS'" in done.stdout, done.stderr


def test_logout_cures_a_bad_token(user: User) -> None:
    user.secret()
    user.aws.answers[PRIVATE] = token_answer(HOST, password="n3w")
    assert user.secret() == "t0ken"
    erased = user.run("erase")
    assert (erased.code, erased.out) == (1, "not implemented\n")
    assert user.secret() == "n3w"
    user.environment["AWS_ECR_IGNORE_CREDS_STORAGE"] = "true"
    erased = user.run("erase", f"https://{HOST}")
    assert (erased.code, erased.out) == (0, "")
    login = json.dumps({"ServerURL": HOST, "Username": "AWS", "Secret": "x"})
    assert user.run("store", login) == Result(0, "", "")
    assert user.run("list").out == "{}\n"


def test_cache_that_is_not_wanted_is_not_made(user: User) -> None:
    user.environment["AWS_ECR_DISABLE_CACHE"] = "1"
    assert [user.secret(), user.secret()] == ["t0ken"] * 2
    assert len(user.aws.calls) == 2
    assert not (user.cache / "ecsauth-cache").exists()


def test_cache_directory_is_as_named(user: User, tmp_path: Path) -> None:
    user.environment["AWS_ECR_CACHE_DIR"] = str(tmp_path / "a" / "b")
    user.secret()
    user.secret()
    assert len(user.aws.calls) == 1
    assert (tmp_path / "a" / "b" / "ecsauth-cache").is_dir()
    assert not user.cache.exists()


def test_without_home_the_user_database_is_asked(user: User) -> None:
    need_root()
    need("setpriv", "unshare", "python3")
    passwd = user.home / "passwd"
    passwd.write_text(f"{Path('/etc/passwd').read_text()}mine:x:4242:4242::{user.home}:/bin/sh\n")
    os.chown(user.home, 4242, 4242)
    _let_others_in(user.home)
    script = (
        f"mount --bind {passwd} /etc/passwd &&"
        ' exec setpriv --reuid 4242 --regid 4242 --clear-groups "$@"'
    )
    code = "from ecsauth.token_cache.open import home_of; import os; print(home_of(os.environ))"
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else "python3"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", python, "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.stdout.strip() == str(user.home), done.stderr


def _let_others_in(path: Path) -> None:
    for folder in path.parents:
        if folder.stat().st_uid == 0 and str(folder) not in ("/", "/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)


def test_full_disk_is_no_failure(user: User, tmp_path: Path) -> None:
    need_root()
    need("unshare")
    small = tmp_path / "small"
    small.mkdir()
    user.environment["AWS_ECR_CACHE_DIR"] = str(small / "c")
    script = (
        f"mount -t tmpfs -o size=16k,mode=700 none {small} && head -c 16k /dev/zero > {small}/fill;"
        f' mkdir {small}/c; printf {HOST} | "$@" get; printf {HOST} | "$@" get'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *PACKAGE],
        env=user.environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count('"t0ken"') == 2, done
    assert done.returncode == 0
    assert len(user.aws.calls) == 2


def test_read_only_home_is_no_failure(user: User) -> None:
    need_root()
    need("unshare")
    script = (
        f"mount --bind {user.home} {user.home} && mount -o remount,ro,bind {user.home};"
        f' printf {HOST} | "$@" get; printf {HOST} | "$@" get'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *user.program],
        env={**user.environment, "ECSAUTH_DEBUG": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.count('"t0ken"') == 2, done
    assert "the cache is not used" in done.stderr
    assert len(user.aws.calls) == 2


def test_cache_on_a_home_that_became_read_only_goes_on(user: User) -> None:
    need_root()
    need("unshare")
    user.secret()
    time.sleep(0.05)
    script = (
        f"mount --bind {user.home} {user.home} && mount -o remount,ro,bind {user.home};"
        f' printf {HOST} | "$@" get; printf https://{HOST} | "$@" get'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *user.program],
        env=user.environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count('"t0ken"') == 2, done
    assert len(user.aws.calls) == 1


def test_crash_at_any_moment_leaves_a_cache_that_works(user: User) -> None:
    user.program = PACKAGE
    for milliseconds in range(0, 400, 20):
        process = user.start()
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert user.secret() == "t0ken"
    calls = len(user.aws.calls)
    assert user.secret() == "t0ken"
    assert len(user.aws.calls) == calls
    names = [path.name for path in (user.cache / "ecsauth-cache").rglob("*")]
    assert not [name for name in names if name.endswith(".corrupt")]


def test_corrupt_cache_is_set_aside(user: User) -> None:
    user.secret()
    for path in (user.cache / "ecsauth-cache").rglob("*"):
        if path.is_file():
            mode = path.stat().st_mode
            path.write_bytes(os.urandom(300))
            path.chmod(stat.S_IMODE(mode))
    assert user.secret() == "t0ken"
    assert len(user.aws.calls) == 2
    assert user.secret() == "t0ken"
    assert len(user.aws.calls) == 2


def test_cache_of_another_user_is_not_used(user: User) -> None:
    need_root()
    user.secret()
    os.chown(user.cache, 12345, 12345)
    assert user.secret() == "t0ken"
    assert len(user.aws.calls) == 2
    user.environment["ECSAUTH_DEBUG"] = "1"
    assert "belongs to another user (uid 12345)" in user.run().err


def test_two_users_do_not_share(user: User, tmp_path: Path) -> None:
    other = User(tmp_path / "other", user.aws)
    user.secret()
    other.secret()
    assert len(user.aws.calls) == 2
    other.environment["AWS_ECR_CACHE_DIR"] = str(user.cache)
    other.secret()
    assert len(user.aws.calls) == 3, "the same cache, but not the same home"


@pytest.mark.parametrize(
    "link", [".ecr", ".ecr/ecsauth-cache", ".ecr/ecsauth-cache/answers", ".ecr/log"]
)
def test_links_of_others_lead_nowhere(user: User, tmp_path: Path, link: str) -> None:
    need_root()
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    path = user.home / link
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent != user.home:
        (user.home / ".ecr").chmod(0o700)
    path.symlink_to(victim)
    os.lchown(path, 12345, 12345)
    assert user.secret() == "t0ken"
    assert list(victim.iterdir()) == []


def test_secrets_are_where_they_belong_only(user: User) -> None:
    user.aws.answers[PRIVATE] = token_answer(HOST, password=SECRET)
    user.environment["ECSAUTH_DEBUG"] = "1"
    said = ""
    for action, text in [
        ("list", ""),
        ("erase", HOST),
        ("erase", f"https://AWS:{SECRET}@{HOST}"),
        ("get", f"https://AWS:{SECRET}@{HOST}"),
        ("store", json.dumps({"ServerURL": HOST, "Username": "AWS", "Secret": SECRET})),
        ("store", f'{{"Secret":"{SECRET}"'),
    ]:
        result = user.run(action, text)
        said += result.out + result.err
    assert user.secret() == SECRET
    said += user.run("get").err
    for answer in (
        error_answer(400, "AccessDeniedException", f"no {SECRET}"),
        error_answer(500, "InternalFailure", SECRET),
        lambda _, __: (200, f"<html>{SECRET}".encode()),
        token_answer(HOST, raw=SECRET),
        token_answer(HOST, password=f"{SECRET}\n"),
        token_answer(HOST, password=SECRET, life=-5),
    ):
        user.run("erase")
        user.aws.answers[PRIVATE] = answer
        for strict in ("", "1"):
            user.environment["ECSAUTH_STRICT"] = strict
            result = user.run()
            assert result.code == 1
            said += result.out + result.err
    assert_silent(said + user.log)
    assert user.log.count("\n") > 6


def test_refresh_keeps_the_cache_warm(
    ecsauth: Callable[..., Result], user: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {**user.environment, "AWS_REGION": "us-west-2"}.items():
        monkeypatch.setenv(name, value)
    would = ecsauth("refresh", "ecr:", "--to", "helper:", "-n")
    assert would.out == "helper: would fetch a new token for ecr:\n"
    assert user.aws.calls == []
    done = ecsauth("refresh", "ecr:", "ecr-public:", "--to", "helper:")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"helper: a new token for {HOST}, public.ecr.aws\n"
    assert len(user.aws.calls) == 2
    assert [user.secret(), user.secret("public.ecr.aws")] == ["t0ken"] * 2
    assert len(user.aws.calls) == 2
    again = ecsauth("refresh", "ecr:", "ecr-public:", "--to", "helper:", "--json")
    (found,) = json.loads(again.out)["targets"]
    assert found == {
        "target": "helper:",
        "written": False,
        "registries": {HOST: "unchanged", "public.ecr.aws": "unchanged"},
        "code": 0,
        "error": None,
        "reference": None,
    }
    assert len(user.aws.calls) == 2
    target = tmp_path / "ecs.config"
    both = ecsauth("refresh", "ecr:", "--to", "helper:", "--to", target, "--force")
    assert both.code == 0
    assert len(user.aws.calls) == 3, "one token for both"
    user.aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    failed = ecsauth("refresh", "ecr:", "--to", "helper:", "--force")
    assert failed.code == 3
    assert "access denied" in failed.err
    assert user.secret() == "t0ken"


def test_cache_that_cannot_be_kept_warm_is_an_error(
    ecsauth: Callable[..., Result], user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**user.environment, "AWS_ECR_DISABLE_CACHE": "1"}.items():
        monkeypatch.setenv(name, value)
    done = ecsauth("refresh", "ecr:us-west-2", "--to", "helper:")
    assert done.code == 4
    assert "there is no cache to keep warm" in done.err
    assert user.aws.calls == []
    monkeypatch.delenv("AWS_ECR_DISABLE_CACHE")
    user.cache.mkdir()
    user.cache.chmod(0o777)
    assert ecsauth("refresh", "ecr:us-west-2", "--to", "helper:").code == 4
    user.cache.chmod(0o700)
    assert ecsauth("refresh", "ecr:us-west-2", "--to", "helper:").code == 0


def test_sources_without_ecr_are_not_the_helpers_business(
    ecsauth: Callable[..., Result], login_file: Callable[..., Path]
) -> None:
    path = login_file({"q.io": {"auth": "dTpw"}})
    done = ecsauth("refresh", path, "--to", "helper:")
    assert done.code == 2
    assert "takes only ECR tokens" in done.err


def test_source_with_its_own_identity_is_not_the_helpers_business(
    ecsauth: Callable[..., Result], user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in user.environment.items():
        monkeypatch.setenv(name, value)
    role = "arn:aws:iam::123456789012:role/p"
    done = ecsauth("refresh", f"ecr:{HOST}?role_arn={role}", "--to", "helper:")
    assert "AWS_ROLE_ARN_<account>" in done.err
    assert user.aws.calls == []


@pytest.mark.parametrize("command", ["migrate", "publish", "convert"])
def test_helper_is_a_target_of_refresh_only(
    ecsauth: Callable[..., Result], login_file: Callable[..., Path], command: str
) -> None:
    path = login_file({"q.io": {"auth": "dTpw"}})
    arguments = {"publish": [path, "helper:"], "convert": [path, "--output", "helper:"]}
    result = ecsauth(command, *arguments.get(command, [path, "--to", "helper:"]))
    assert result.code == 2
    assert not Path("helper:").exists()
