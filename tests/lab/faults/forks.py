"""Commands in children of a process that has loaded everything already, each under strace if asked.

A command takes some milliseconds that way instead of half a second, so that each of its system
calls can be the one at which it is killed or fails. ``python -m tests.lab.faults.forks`` is that
process: it takes one JSON object a line, and answers each with one.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import queue
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tests.builders import ROOT

PROJECT = ROOT
SECONDS = 60
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)", re.MULTILINE)
_ITS_OWN = ("/site-packages/", f"{sys.base_prefix}/lib/", "/usr/lib/", "/etc/ld.so")

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Completed:
    """How a command ended; `code` is negative if a signal ended it."""

    code: int
    out: str
    err: str
    trace: str = ""

    def points(self) -> list[tuple[str, int]]:
        """Return (system call, how often the thread has made it by then), in their order.

        What concerns only files of Python's own is left out; the trace needs ``-y`` for that.
        """
        counts: dict[tuple[str, str], int] = {}
        found: dict[tuple[str, int], None] = {}
        for pid, name, arguments in _CALL.findall(self.trace):
            number = counts[pid, name] = counts.get((pid, name), 0) + 1
            if not any(part in arguments for part in _ITS_OWN):
                found[name, number] = None
        return list(found)


class Forks:
    """Several such processes; `run` may be called by many threads at a time."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._free: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        self._size = len(processes)
        for process in processes:
            self._free.put(process)

    def run(
        self,
        *command: str,
        environment: Mapping[str, str],
        stdin: str = "",
        strace: Sequence[str] = (),
    ) -> Completed:
        """Run ``ecsauth`` or the helper, its name first; with `strace` options, under it."""
        process = self._free.get()
        try:
            assert process.stdin
            assert process.stdout
            request = {
                "command": command,
                "environment": environment,
                "stdin": stdin,
                "strace": strace,
            }
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return Completed(**json.loads(process.stdout.readline()))
        finally:
            self._free.put(process)

    def each(self, do: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
        """Do something for each item, as many at a time as there are processes."""
        with ThreadPoolExecutor(self._size) as pool:
            return list(pool.map(do, items))


@contextlib.contextmanager
def forks(size: int = 4) -> Iterator[Forks]:
    """Start them; they are gone at the end of the ``with`` block."""
    command = [sys.executable, "-m", "tests.lab.faults.forks"]
    with contextlib.ExitStack() as held:
        processes = []
        for _ in range(size):
            process = held.enter_context(
                subprocess.Popen(
                    command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            processes.append(process)
        yield Forks(processes)
        for process in processes:
            assert process.stdin
            process.stdin.close()


def _serve() -> None:
    import ecsauth

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    for module in pkgutil.walk_packages(ecsauth.__path__, "ecsauth."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("boto3.session", "botocore.config", "botocore.httpsession", "docker", "schedule"):
        importlib.import_module(name)
    for name in "zoneinfo", "getpass", "encodings.idna", "stringprep", "rich.console", "ssl":
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(_serve_one(json.loads(line))), flush=True)


def _serve_one(request: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ecsauth-fork-") as name:
        folder = Path(name)
        for kind in "out", "err", "trace":
            (folder / kind).touch()
        (folder / "in").write_text(request["stdin"])
        ready, is_ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            _child(request, folder, is_ready)
        os.close(is_ready)
        os.read(ready, 1)  # ends when the child has closed it: none of its own calls is traced
        os.close(ready)
        tracer = _trace(pid, request["strace"], folder) if request["strace"] else None
        os.kill(pid, signal.SIGUSR1)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
        signal.alarm(SECONDS)
        _, status = os.waitpid(pid, 0)
        signal.alarm(0)
        if tracer:
            with tracer:
                pass
        texts = {
            kind: (folder / kind).read_text(errors="replace") for kind in ("out", "err", "trace")
        }
    return {"code": os.waitstatus_to_exitcode(status), **texts}


def _trace(pid: int, options: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Attach strace and wait until it has."""
    command = ["strace", "-f", "-o", str(folder / "trace"), *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr
    if "attached" not in (said := tracer.stderr.readline()):
        os.kill(pid, signal.SIGKILL)
        raise RuntimeError(f"strace: {said}")
    return tracer


def _child(request: Any, folder: Path, is_ready: int) -> NoReturn:
    code = 70
    try:
        streams = ("in", os.O_RDONLY), ("out", os.O_WRONLY), ("err", os.O_WRONLY)
        for number, (stream, flags) in enumerate(streams):
            os.dup2(os.open(folder / stream, flags), number)
        os.closerange(3, is_ready)
        os.closerange(is_ready + 1, 256)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode) for number, mode in enumerate(("r", "w", "w"))
        )
        os.environ.clear()
        os.environ.update(request["environment"])
        os.umask(0)  # no mode may depend on it
        name, *sys.argv[1:] = request["command"]
        sys.argv[0] = name
        module = "ecsauth.cli.program" if name == "ecsauth" else "ecsauth.helper.entry"
        main = importlib.import_module(module).main
        os.close(is_ready)
        signal.sigwait([signal.SIGUSR1])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
