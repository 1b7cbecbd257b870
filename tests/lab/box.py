"""A machine with systemd as its first process: this one's files under an overlay, in nspawn."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.builders import ROOT
from tests.conftest import need, need_root
from tests.lab.server import start

PROJECT = ROOT
_MASKED = (
    *("docker", "containerd", "podman", "podman-auto-update", "apparmor", "ssh", "cron"),
    *("postgresql", "redis-server", "nginx", "apache2", "mysql"),
)


@dataclass(frozen=True)
class Box:
    """A booted machine. `root` is its file system, seen from here."""

    root: Path
    leader: int

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=120)
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def shell(self, script: str, *, check: bool = True) -> str:
        """Run a shell script inside; return what it prints."""
        return self.run("sh", "-c", script, check=check).stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside."""
        self.run("mkdir", "-p", str(Path(path).parent))
        enter = ["nsenter", "-t", str(self.leader), "-m", "tee", path]
        subprocess.run(enter, input=text, text=True, stdout=subprocess.DEVNULL, check=True)
        self.run("chmod", f"{mode:o}", path)

    def environment_of(self, path: str, text: str) -> dict[str, str]:
        """Return what a unit gets of an ``EnvironmentFile`` with that text."""
        self.write(path, text, 0o600)
        self.write(
            "/etc/systemd/system/shows.service",
            f"[Service]\nType=oneshot\nEnvironmentFile={path}\n"
            "ExecStart=/bin/sh -c 'env -0 >/run/shown'\n",
        )
        self.shell("systemctl daemon-reload; systemctl start shows.service")
        lines = self.shell("cat /run/shown").split("\0")
        return dict(line.partition("=")[::2] for line in lines if line)

    def cut_off(self) -> None:
        """Take its power away: nothing in it is told, nothing is finished."""
        os.kill(self.leader, signal.SIGKILL)
        for _ in range(200):
            if not Path(f"/proc/{self.leader}").exists():
                return
            time.sleep(0.05)
        raise RuntimeError("the machine does not go away")

    def journal(self, unit: str) -> str:
        """Return what a unit said, without times."""
        return self.shell(f"journalctl --no-pager -q -o cat -u {unit}")


@dataclass(frozen=True)
class Machine:
    """A machine that can be booted, and cut off from its power, again and again."""

    home: Path
    binds: Sequence[str]

    @contextlib.contextmanager
    def booted(self) -> Iterator[Box]:
        """Boot it; it is shut down at the end of the ``with`` block."""
        with _booted(self.home, [f"--bind-ro={PROJECT}", *self.binds]) as box:
            yield box


@contextlib.contextmanager
def machine(binds: Sequence[str] = ()) -> Iterator[Machine]:
    """Set up a machine; it is gone at the end of the ``with`` block.

    Args:
        binds: paths of this machine that it shall see as well, ``PATH`` or ``PATH:INSIDE``.

    """
    need_root()
    need("systemd-nspawn", "nsenter")
    home = Path(tempfile.mkdtemp(prefix="ecsauth-box-"))
    subprocess.run(["mount", "-t", "tmpfs", "none", home], check=True)
    try:
        for name in ("upper", "work", "root"):
            (home / name).mkdir()
        options = f"lowerdir=/,upperdir={home}/upper,workdir={home}/work"
        command = ["mount", "-t", "overlay", "overlay", "-o", options, str(home / "root")]
        subprocess.run(command, check=True)
        yield Machine(home, [f"--bind={item}" for item in binds])
    finally:
        for path in (home / "root", home):
            subprocess.run(["umount", "-l", path], capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def booted_box(binds: Sequence[str] = ()) -> Iterator[Box]:
    """Set up a machine and boot it; it is gone at the end of the ``with`` block."""
    with machine(binds) as made, made.booted() as box:
        yield box


@contextlib.contextmanager
def _booted(home: Path, binds: Sequence[str]) -> Iterator[Box]:
    name = "".join(char for char in home.name if char.isalnum() or char == "-").strip("-")
    command = [
        *("systemd-nspawn", "-q", "-D", str(home / "root"), "-M", name, "--boot"),
        *("--private-network", "--register=no", "--keep-unit", "--link-journal=no"),
        *("--resolv-conf=off", "--timezone=off", "--console=pipe", *binds),
        *(f"systemd.mask={unit}.service" for unit in _MASKED),
    ]
    process = start(command, home / "log")
    try:
        leader = _leader(process, home / "log")
        box = Box(home / "root", leader)
        box.run("systemctl", "is-system-running", "--wait", check=False)
        yield box
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, signal.SIGRTMIN + 3)
            process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _leader(process: subprocess.Popen[bytes], log: Path) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(200):
        if process.poll() is not None:
            break
        found = children.read_text().split()
        if found:
            enter = ["nsenter", "-t", found[0], "-m", "-p", "-C", "systemctl", "--version"]
            is_up = Path(f"/proc/{found[0]}/root/run/systemd/private").exists()
            if is_up and subprocess.run(enter, capture_output=True).returncode == 0:
                return int(found[0])
        time.sleep(0.05)
    raise RuntimeError(f"the machine did not boot: {log.read_text()[-2000:]}")
