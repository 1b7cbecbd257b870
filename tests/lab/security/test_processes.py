"""What other processes can see of a command while it runs: no secret, and no core file after it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders import HOST, b64
from tests.lab.aws_stub import PRIVATE, AwsStub, token_answer
from tests.lab.conftest import S3

SECRET = "c4n4ry-0f-the-m1ne"
LOOK = f"""#!/bin/sh
# what anybody with the right to can see of this helper, and of who runs it
for process in self "$PPID"; do
    tr '\\0' '\\n' <"/proc/$process/cmdline"
    tr '\\0' '\\n' <"/proc/$process/environ"
    cat "/proc/$process/limits"
done >>"$SEEN"
cat >/dev/null
echo '{{"ServerURL":"h.io","Username":"u","Secret":"{SECRET}"}}'
"""
COMMANDS = {
    "convert": (),
    "migrate": ("--to=HOME/ecs.config", "--state-dir=HOME/state"),
    "refresh": ("ecr:us-west-2", "--to=HOME/ecs.config", "--state-dir=HOME/state", "-v"),
    "publish": ("s3://fleet/seen", "--state-dir=HOME/state"),
    "verify": ("--verify-timeout=1",),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a login file whose secrets are with a helper, and in itself."""
    program = tmp_path / "docker-credential-looks"
    program.write_text(LOOK)
    program.chmod(0o755)
    document = {
        "auths": {"q.io": {"auth": b64(f"u:{SECRET}")}},
        "credHelpers": {"h.io": "looks"},
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    return tmp_path


def run(
    home: Path, command: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    more = [item.replace("HOME", str(home)) for item in COMMANDS[command]]
    return subprocess.run(
        [sys.executable, "-m", "ecsauth", command, str(home / "config.json"), *more],
        env={
            **os.environ,
            **environment,
            "PATH": f"{home}:{os.environ['PATH']}",
            "SEEN": str(home / "seen"),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_neither_arguments_nor_environment_have_a_secret(
    home: Path, command: str, s3: S3, aws: AwsStub
) -> None:
    """`s3` and `aws` set the environment: the latter's API, the former's bucket."""
    aws.answers[PRIVATE] = token_answer(HOST, password=SECRET)
    done = run(home, command, {"AWS_ENDPOINT_URL_S3": s3.between.url})
    seen = (home / "seen").read_text()
    assert f"ecsauth\n{command}\n" in seen, done.stderr
    assert "PATH=" in seen
    assert seen.count("Max core file size        0 ") == 2  # its own is what it inherits
    for form in (SECRET, b64(f"u:{SECRET}"), b64(f"AWS:{SECRET}")):
        assert form not in seen
        assert form not in done.stderr
        assert (form in done.stdout) == (command == "convert" and form == b64(f"u:{SECRET}"))


CRASH = """\
import os, runpy, signal, sys
import ecsauth.helper.program, ecsauth.sources.schemes
module, *sys.argv[1:] = sys.argv[1:]
def crash(*_, **__):
    os.kill(os.getpid(), signal.SIGSEGV)
ecsauth.helper.program.serve = ecsauth.sources.schemes.read_input = crash
if module == "nothing":
    crash()
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["ecsauth", "ecsauth.helper", "nothing"])
def test_crash_leaves_no_core_file(home: Path, module: str) -> None:
    """Where core files are wanted: a limit that allows them, and a crash while it reads."""
    arguments = ["convert", str(home / "config.json")] if module == "ecsauth" else ["list"]
    done = subprocess.run(
        [sys.executable, "-c", CRASH, module, *arguments],
        cwd=home,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (2**30, 2**30)),
    )
    assert done.returncode == -signal.SIGSEGV, done.stderr
    assert SECRET not in done.stdout + done.stderr
    found = [path.name for path in home.iterdir() if path.name.startswith("core")]
    is_file = not Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/"))
    assert bool(found) == (module == "nothing" and is_file)  # the control
