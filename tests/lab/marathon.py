"""An agent of DC/OS in small: a root file system with busybox and the C library, and no Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.builders import ROOT
from tests.conftest import missing

if TYPE_CHECKING:
    from tests.lab.conftest import Docker

SAMPLES = ROOT / "samples" / "marathon"
PROGRAM = "docker-credential-ecr-login"
IMAGE = "lab/ecsauth-helper"
BASE = "lab/base"
BIN, ETC = "opt/mesosphere/bin", "etc"
_ENTER = 'mount -t proc proc "$2/proc"; exec "$@"'


@dataclass(frozen=True)
class Built:
    """What build.sh made.

    Attributes:
        context: the folder that the image was built from.
        said: standard output of build.sh.

    """

    context: Path
    said: str

    @property
    def program(self) -> Path:
        """The folder of the helper."""
        return self.context / PROGRAM


@dataclass(frozen=True)
class Agent:
    """A host that containers get directories of, and a place to run programs in.

    Attributes:
        root: of its file system.
        docker: runs its containers.
        variables: that the programs on it have.

    """

    root: Path
    docker: Docker
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def bin(self) -> Path:
        """A directory on the PATH of its Mesos agent."""
        return self.root / BIN

    @property
    def etc(self) -> Path:
        """Where the archive goes."""
        return self.root / ETC

    @property
    def program(self) -> Path:
        """Where the helper is to be."""
        return self.bin / PROGRAM

    def container(self, stay: int = 0, mode: str = "") -> list[str]:
        """Return the arguments of docker run, as the sample app has it."""
        app = json.loads((SAMPLES / "helper.json").read_text())
        arguments = ["--network=none", "--env", f"STAY={stay}"]
        for volume in app["container"]["volumes"]:
            path = f"{self.root}{volume['hostPath']}:{volume['containerPath']}"
            arguments += ["--volume", f"{path}:{mode or volume['mode'].lower()}"]
        return [*arguments, IMAGE]

    def put(self, mode: str = "") -> subprocess.CompletedProcess[str]:
        """Run the image once; does not raise."""
        return self.docker.run("run", "--rm", *self.container(mode=mode))

    def run(
        self, action: str, stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the helper there, as docker would, found on PATH; does not raise."""
        unshare, chroot = (shutil.which(name) or "" for name in ("unshare", "chroot"))
        enter = [unshare, "-m", "--propagation", "private", "sh", "-c", _ENTER, "sh", chroot]
        return subprocess.run(
            [*enter, str(self.root), "/bin/sh", "-c", f"{PROGRAM} {action}"],
            env={"PATH": f"/{BIN}:/bin", "HOME": "/sandbox", **self.variables, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )


def build(out: Path, docker: Docker) -> Built:
    """Run build.sh: an image from what is here."""
    base = _import_base(out, docker)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PATH": f"{Path(docker.clis[0]).parent}:{os.environ['PATH']}",
        "DOCKER_HOST": docker.host,
        "DOCKER_BUILDKIT": "0",  # the other builder would look for its own image
        "PYTHON": sys.executable,
        "OUT": str(out / "made"),
        "IMAGE": IMAGE,
        "BASE": base,
    }
    command = [str(SAMPLES / "build.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    if done.returncode and not (out / "made" / "venv" / "bin" / "pyinstaller").exists():
        missing(f"needs pyinstaller from a package index: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return Built(out / "made" / "context", done.stdout)


def make_root(root: Path, programs: Path) -> None:
    """Make a root file system with busybox and what the programs in a folder link to."""
    for name in ("bin", BIN, ETC, "sandbox", "proc", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(shutil.which("busybox") or "", root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    for library in _libraries(programs):
        copy = root / library.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, copy)


def _libraries(programs: Path) -> set[Path]:
    """Return the libraries outside of a folder that those inside are linked to (ldd(1))."""
    own = {path.name for path in programs.rglob("*.so*")}
    files = [path for path in programs.rglob("*") if ".so" in path.name or path.name == PROGRAM]
    command = ["ldd", *(str(path) for path in files if path.is_file())]
    done = subprocess.run(command, capture_output=True, text=True)
    found = {Path(name) for name in re.findall(r"(/\S+) \(0x", done.stdout)}
    return {path for path in found if path.name not in own or path.name == "libz.so.1"}


def _import_base(out: Path, docker: Docker) -> str:
    """Import an image that has what the image of busybox has; return its name."""
    busybox = shutil.which("busybox") or ""
    done = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    archive = out / "base.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
        for name in sorted(set(done.stdout.split()) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    imported = docker.run("import", str(archive), BASE)
    assert imported.returncode == 0, imported.stderr
    return BASE
