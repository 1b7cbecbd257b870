"""ecsauth run as a process: signals, retries, systemd's notifications, memory."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.env_file import read_engine_auth
from tests.builders import HOST, b64
from tests.lab.aws_stub import PRIVATE, AwsStub, error_answer, token_answer


@dataclass
class Daemon:
    """A running ``ecsauth run``."""

    process: subprocess.Popen[bytes]
    log: Path
    target: Path

    def said(self, words: str, times: int = 1) -> bool:
        return self.log.read_text().count(words) >= times

    def wait(self, ready: Callable[[], bool], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def logins(self) -> dict[str, str]:
        if not self.target.exists():
            return {}
        view = decode(read_engine_auth(self.target.read_bytes()))
        return {item.match: item.secret for item in view.credentials}

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@dataclass
class Starter:
    """Starts daemons and ends them."""

    tmp_path: Path
    daemons: list[Daemon] = field(default_factory=list)

    def __call__(self, *arguments: str, **environment: str) -> Daemon:
        target, log = self.tmp_path / "ecs.config", self.tmp_path / "log"
        command = [
            *(sys.executable, "-m", "ecsauth", "run", *arguments),
            *("--to", str(target), "--state-dir", str(self.tmp_path / "state")),
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, **environment}
            )
        self.daemons.append(Daemon(process, log, target))
        return self.daemons[-1]


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    for daemon in starter.daemons:
        with contextlib.suppress(ProcessLookupError):
            daemon.process.kill()
        daemon.process.wait()


def test_it_refreshes_and_ends_in_order(start_daemon: Starter, aws: AwsStub) -> None:
    daemon = start_daemon("--every=1", "--jitter=0", f"ecr:{HOST}")
    daemon.wait(lambda: daemon.said("nothing is due", 2))
    assert daemon.logins() == {HOST: "t0ken"}
    assert len(aws.calls) == 1
    assert daemon.end() == 0
    assert daemon.said("stopped on request; no file is half-written")


def test_memory_while_idle_is_small(start_daemon: Starter, aws: AwsStub) -> None:
    daemon = start_daemon("--every=600", f"ecr:{HOST}")
    daemon.wait(lambda: daemon.logins() == {HOST: "t0ken"} and daemon.said("written"))
    time.sleep(0.5)
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident
    assert int(resident[1]) < 30 * 1024
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    assert children.read_text() == ""


def test_sigterm_lets_the_write_be_finished(start_daemon: Starter, aws: AwsStub) -> None:
    good = aws.answers[PRIVATE]

    def slow(region: str, body: dict[str, object]) -> tuple[int, object]:
        time.sleep(2)
        return good(region, body)

    aws.answers[PRIVATE] = slow
    daemon = start_daemon("--every=600", f"ecr:{HOST}")
    daemon.wait(lambda: len(aws.calls) == 1)
    assert daemon.end() == 0
    assert daemon.logins() == {HOST: "t0ken"}


def test_sigterm_ends_what_hangs_within_the_grace(start_daemon: Starter, aws: AwsStub) -> None:
    def hangs(region: str, body: dict[str, object]) -> tuple[int, object]:
        time.sleep(20)
        return 500, {}

    aws.answers[PRIVATE] = hangs
    daemon = start_daemon("--every=600", f"ecr:{HOST}")
    daemon.wait(lambda: len(aws.calls) == 1)
    begun = time.monotonic()
    assert daemon.end() == 0
    assert time.monotonic() - begun < 10  # docker stop gives no more
    assert not daemon.target.exists()


def test_secret_shows_up_nowhere(start_daemon: Starter, aws: AwsStub, tmp_path: Path) -> None:
    secret, shared = "c4n4ry-of-the-daemon", "sh4red-word"
    aws.answers[PRIVATE] = token_answer(HOST, password=secret, life=6)
    metrics = tmp_path / "ecsauth.prom"
    settings = tmp_path / "ecsauth.env"
    settings.write_text(f"ECSAUTH_SOURCES=ecr:{HOST}?external_id={shared}\n")
    daemon = start_daemon(
        *("--every=1", "--jitter=0", "-v", f"--prometheus={metrics}", "--log-format=json"),
        f"--env-file={settings}",
    )
    seen = ""

    def done() -> bool:
        nonlocal seen
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                seen += (process / "cmdline").read_text()
        return daemon.said("expired and is removed") and metrics.exists()

    daemon.wait(lambda: daemon.said("written"))
    aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException", f"{secret} {shared}")
    daemon.wait(done, 30)
    assert daemon.end() == 0
    seen += daemon.log.read_text() + metrics.read_text()
    seen += (tmp_path / "state" / "state.json").read_text()
    for form in (secret, b64(f"AWS:{secret}")[:-4], b64(f"AWS:{secret}")[6:-6], shared):
        assert form not in seen
    assert HOST in seen


def test_failed_refresh_is_tried_again(start_daemon: Starter, aws: AwsStub) -> None:
    aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    daemon = start_daemon("--every=1", f"ecr:{HOST}")
    daemon.wait(lambda: daemon.said("the refresh failed; retrying in 1 s", 2))
    aws.answers[PRIVATE] = token_answer(HOST)
    daemon.wait(lambda: daemon.logins() == {HOST: "t0ken"})


def test_sighup_reads_the_settings_again(
    start_daemon: Starter, aws: AwsStub, tmp_path: Path, login_file: Callable[..., Path]
) -> None:
    one = login_file({"one.io": {"auth": b64("u:p")}}, "one.json")
    two = login_file({"two.io": {"auth": b64("u:p")}}, "two.json")
    settings = tmp_path / "ecsauth.env"
    settings.write_text(f"ECSAUTH_SOURCES={one}\nECSAUTH_EVERY=600\n")
    daemon = start_daemon(f"--env-file={settings}")
    daemon.wait(lambda: set(daemon.logins()) == {"one.io"} and daemon.said("written"))
    settings.write_text(f'ECSAUTH_SOURCES="{one} {two}"\nECSAUTH_EVERY=1\nECSAUTH_JITTER=0\n')
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait(lambda: set(daemon.logins()) == {"one.io", "two.io"})
    daemon.wait(lambda: daemon.said("up to date", 2))  # each second now
    settings.write_text("ECSAUTH_EVERY=nonsense\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait(lambda: daemon.said("the settings were not reloaded"))
    count = daemon.log.read_text().count("up to date")
    daemon.wait(lambda: daemon.said("up to date", count + 2))  # still each second
    assert daemon.end() == 0


def test_no_settings_file_means_none_for_each_refresh_too(
    start_daemon: Starter, login_file: Callable[..., Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.env"
    bad.write_text("ECSAUTH_FORMAT=nonsense\n")
    one = login_file({"one.io": {"auth": b64("u:p")}})
    daemon = start_daemon("--env-file=", str(one), ECSAUTH_ENV_FILE=str(bad))
    daemon.wait(lambda: daemon.said("written"))
    assert set(daemon.logins()) == {"one.io"}


def test_systemd_is_told(start_daemon: Starter, aws: AwsStub, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address)
        server.settimeout(20)
        daemon = start_daemon(
            "--every=600", f"ecr:{HOST}", NOTIFY_SOCKET=address, WATCHDOG_USEC="400000"
        )
        message = "WATCHDOG=1"
        while message == "WATCHDOG=1":  # it is fed during a first refresh that takes its time
            message = server.recv(4096).decode()
        assert message == "READY=1\nWATCHDOG=1\nSTATUS=the last refresh ended with 0"
        assert {server.recv(4096).decode() for _ in range(3)} == {"WATCHDOG=1"}
        assert daemon.logins() == {HOST: "t0ken"}  # ready means: the first refresh is over
        daemon.process.terminate()
        message = ""
        while message != "STOPPING=1":
            message = server.recv(4096).decode()
    assert daemon.process.wait(20) == 0


@pytest.mark.parametrize(
    "arguments", [[], ["-"], ["nonsense:x"], ["--every=0", "ecr:"], ["--nonsense", "ecr:"]]
)
def test_what_every_refresh_would_refuse_is_refused_at_once(
    start_daemon: Starter, arguments: list[str]
) -> None:
    daemon = start_daemon(*arguments)
    assert daemon.process.wait(20) == 2
    assert len(daemon.log.read_text().splitlines()) == 1
