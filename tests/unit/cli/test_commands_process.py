"""Commands as processes: their streams, pipes, disks and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth.cli import program as cli
from ecsauth.cli.commands import convert
from ecsauth.host.signals import signals_held_off
from tests.builders import b64
from tests.unit.cli.cases import AUTHS, ENV, LoginFile, RunProgram


def test_nohup_is_respected() -> None:
    program = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "sys.argv = ['ecsauth', '--version'];"
        "import atexit; from ecsauth.cli.program import main;"
        "atexit.register(lambda: print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN));"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1:] == ["True"]


def test_sigterm_ends_a_hanging_helper_too(
    login_file: LoginFile, tmp_path: Path, helpers: Callable[[str, str], Path]
) -> None:
    helpers("hangs", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    path = login_file(credHelpers={"a.io": "hangs"})
    process = subprocess.Popen(
        [sys.executable, "-m", "ecsauth", "convert", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    for _ in range(500):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            break
        time.sleep(0.02)
    helper = int((tmp_path / "pid").read_text())
    process.terminate()
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 143
    assert b"Traceback" not in stderr
    for _ in range(100):
        if not Path(f"/proc/{helper}").exists():
            break
        time.sleep(0.02)
    assert not Path(f"/proc/{helper}").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_is_whole_or_an_error(
    login_file: LoginFile, tmp_path: Path, unbuffered: str
) -> None:
    auths = {f"r{number}.io": {"auth": b64("u:" + "p" * 900)} for number in range(300)}
    command = f"{sys.executable} -m ecsauth convert --output=data {login_file(auths)}"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | (sleep 0.3; cat)"],
        env=environment,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == auths
    limited = subprocess.run(
        ["bash", "-c", f"ulimit -f 64; trap '' XFSZ; {command} > {tmp_path}/out"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert limited.returncode == 4
    assert b"standard output was not written: File too large" in limited.stderr


def test_help_to_a_full_disk_is_an_error_of_output() -> None:
    for arguments in ("convert --help", "--version"):
        command = f"{sys.executable} -m ecsauth {arguments} > /dev/full"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 4
        assert done.stderr == (
            "ecsauth: error: the output was not written: No space left on device\n"
        )


def test_full_stderr_changes_nothing(login_file: LoginFile, tmp_path: Path) -> None:
    target = tmp_path / "ecs.config"
    command = f"{sys.executable} -m ecsauth migrate {login_file(AUTHS)} --to {target}"
    done = subprocess.run(
        ["bash", "-c", f"{command} 2>/dev/full"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert target.read_text() == ENV


def test_full_disk_of_stdout_is_an_error(login_file: LoginFile) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ecsauth", "convert", str(login_file(AUTHS))],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr == (
        "ecsauth: error: standard output was not written: No space left on device\n"
    )


def test_unprintable_summary_is_a_warning_and_the_target_is_written(
    login_file: LoginFile, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ecsauth", "migrate", str(login_file(AUTHS)), "--to", target],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 0
    assert target.read_text() == ENV
    assert "the summary could not be printed: No space left on device" in done.stderr
    assert "Exception" not in done.stderr


def test_closed_pipe_gives_no_traceback(login_file: LoginFile) -> None:
    auths = {f"r{number}.io": {"auth": b64("u:" + "p" * 900)} for number in range(100)}
    command = f"{sys.executable} -m ecsauth convert --output=data {login_file(auths)} | head -c1"
    command = f"{command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("{", "", 141)


def test_closed_standard_streams_are_no_traceback(login_file: LoginFile) -> None:
    base = f"{sys.executable} -m ecsauth convert"
    for command, code in (
        (f"{base} {login_file(AUTHS)} >&-", 4),
        (f"{base} - <&-", 3),
        (f"{base} /absent 2>&-", 3),
    ):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == code, command
        assert "Traceback" not in done.stderr


def test_interrupt_is_reported(
    ecsauth: RunProgram, login_file: LoginFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "run", interrupt)
    result = ecsauth("convert", login_file(AUTHS))
    assert result.code == 130
    assert len(result.errors) == 1


def test_main_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ecsauth", "convert", "/absent"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3


def ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("is_ignored", [False, True])
def test_ctrl_c_while_it_starts_ends_it_without_a_traceback(
    login_file: LoginFile, is_ignored: bool
) -> None:
    """Unless it was started in the background, with Ctrl-C ignored."""
    path = login_file(AUTHS)
    for delay in (0.02, 0.04, 0.06, 0.09):
        process = subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, str(delay), "convert", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=ignore_interrupt if is_ignored else None,
        )
        out, err = process.communicate(timeout=30)
        assert "Traceback" not in err
        if is_ignored:
            assert process.returncode == 0
            assert "ECS_ENGINE_AUTH_DATA" in out
        else:
            assert process.returncode in (0, 130, -signal.SIGINT)


AT_ONCE = """\
import os, signal, sys
from ecsauth.__main__ import main
delay = sys.argv.pop(1)
is_ours = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
if is_ours:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever comes before main is not ours
if os.fork() == 0:
    os.closerange(0, 3)
    import time
    time.sleep(float(delay))
    os.kill(os.getppid(), signal.SIGINT)
    os._exit(0)
if is_ours:
    signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def test_signals_wait_until_the_worst_is_over() -> None:
    done = []

    def work() -> None:
        with signals_held_off():
            signal.raise_signal(signal.SIGINT)
            done.append("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
