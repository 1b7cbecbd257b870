"""Another user of the host, who puts something else in place of our files as fast as he can."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

NOBODY = 65534
BAIT = "ECS_CLUSTER=bait\nECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={}\n"
STATE_BAIT = '{"version": 1, "targets": {}, "agent": {}}'


@dataclass(frozen=True)
class Arena:
    """Where it takes place; `root` may be entered by all.

    Attributes:
        root: the directory of it all.
        shared: where our files are to be, and others can write.
        protected: a directory of root's with files that have the names of ours.
        theirs: a directory with such files of the attacker's.

    """

    root: Path
    shared: Path
    protected: Path
    theirs: Path

    def observe(self) -> dict[str, tuple[object, ...]]:
        """Return what must not change: bytes, mode, owner and inode of files outside."""
        found: dict[str, tuple[object, ...]] = {}
        for folder in (self.protected, self.theirs):
            for path in sorted([folder, *folder.rglob("*")]):
                status = path.lstat()
                data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
                owner = (status.st_uid, status.st_gid)
                found[str(path)] = (data, status.st_mode, owner, status.st_ino)
        return found


@dataclass(frozen=True)
class Loot:
    """What an attacker came to: how many swaps he made, and which files showed him a secret."""

    swaps: int
    seen: Sequence[str]


@contextlib.contextmanager
def attack(arena: Arena, names: Sequence[str], secrets: Sequence[bytes]) -> Iterator[list[Loot]]:
    """Attack the `names` in ``arena.shared`` until the end of the block; then give the loot."""
    report = arena.theirs.parent / "loot"
    report.mkdir()
    os.chown(report, NOBODY, NOBODY)
    loot: list[Loot] = []
    pid = os.fork()
    if pid == 0:
        _be(arena, names, secrets, report)
    try:
        yield loot
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        seen = (report / "seen").read_text().splitlines() if (report / "seen").exists() else []
        loot.append(Loot(int((report / "swaps").read_text()), seen))
        shutil.rmtree(report)


def _be(arena: Arena, names: Sequence[str], secrets: Sequence[bytes], report: Path) -> NoReturn:
    ends: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ends.append(1))
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.umask(0)
    chance, swaps, seen = random.Random(1), 0, set()
    while not ends:
        name = chance.choice(names)
        swaps += _swap(arena, arena.shared / name, chance)
        with contextlib.suppress(OSError):
            seen |= {str(path) for path in _files(arena.shared) if _shows(path, secrets)}
        if chance.random() < 0.05:
            time.sleep(0.002)  # so that a command gets through some of its steps
    (report / "swaps").write_text(str(swaps))
    if seen:
        (report / "seen").write_text("\n".join(sorted(seen)))
    os._exit(0)


def _swap(arena: Arena, path: Path, chance: random.Random) -> int:
    """Put something in the place of a path; 0 if that was not possible."""
    other = path.with_name(f"x{chance.randrange(1 << 40):x}")
    kind = chance.randrange(9)
    victim = chance.choice((arena.protected, arena.theirs)) / path.name
    bait = STATE_BAIT if path.name == "state.json" else BAIT
    try:
        if kind == 0:
            os.link(victim, other, follow_symlinks=False)
        elif kind in (1, 2):
            other.symlink_to(victim)
        elif kind == 3:
            os.mkfifo(other, 0o666)
        elif kind == 4:
            other.mkdir(0o777)
        elif kind == 5:
            other.symlink_to(chance.choice(("/dev/zero", "/dev/full", "/dev/tty", "/etc/shadow")))
        elif kind == 6:
            other.symlink_to(victim.parent)
        elif kind == 7:
            other.write_text(bait)
        with contextlib.suppress(OSError):
            path.rename(path.with_name(f"y{chance.randrange(1 << 40):x}"))
        if kind != 8:  # then the place is empty
            other.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            other.rmdir() if other.is_dir() and not other.is_symlink() else other.unlink()
        return 0
    finally:
        _tidy(path.parent)
    return 1


def _tidy(folder: Path) -> None:
    """Remove what was renamed away, as far as it is his; what is root's he could not read."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name[0] in "xy":
                with contextlib.suppress(OSError):
                    shutil.rmtree(
                        path
                    ) if path.is_dir() and not path.is_symlink() else path.unlink()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        yield path
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                yield from _files(path)


def _shows(path: Path, secrets: Sequence[bytes]) -> bool:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                data = os.read(descriptor, 1 << 16)
                return any(secret in data for secret in secrets)
        finally:
            os.close(descriptor)
    return False
