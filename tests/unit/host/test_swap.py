"""A file takes another's place only if that is still what was read."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Callable

import pytest

from ecsauth.errors import ConflictError, UnsettledError
from ecsauth.host import swap as exchange
from ecsauth.host.atomic_file import previous_path, read_state, write_atomic
from ecsauth.host.swap import put_in_place

Rename = Callable[[Path, Path, int], None]
REAL = exchange._rename


def lay(folder: Path, old: bytes | None = b"old") -> tuple[Path, Path]:
    temporary, path = folder / "t", folder / "f"
    temporary.write_bytes(b"new")
    if old is not None:
        path.write_bytes(old)
    return temporary, path


def save(path: Path, data: bytes) -> None:
    """Save as an editor does."""
    other = path.with_name("editor")
    other.write_bytes(data)
    other.replace(path)


def names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()} - {"home"}  # the one of every test


def edit_after_the_check(
    monkeypatch: pytest.MonkeyPatch, path: Path, then: Callable[[Path], bytes | None]
) -> None:
    """Save `edited` when the file has been compared before the swap; `then` reads after it."""
    content_of = exchange._content

    def content(place: Path) -> bytes | None:
        if place != path:
            return then(place)
        found = content_of(place)
        save(path, b"edited")
        return found

    monkeypatch.setattr(exchange, "_content", content)


def unable(*_: object) -> None:
    raise OSError(errno.EINVAL, "no")


@pytest.fixture(params=["renameat2", "rename"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the system call, and without."""
    if request.param == "rename":
        monkeypatch.setattr(exchange, "_rename", unable)
    return str(request.param)


@pytest.mark.parametrize("old", [b"old", b"", None])
def test_file_that_is_as_it_was_read_is_replaced(
    tmp_path: Path, old: bytes | None, either: str
) -> None:
    temporary, path = lay(tmp_path, old)
    assert put_in_place(temporary, path, old)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == {"f"}


@pytest.mark.parametrize(
    ("read", "there"), [(b"old", b"edited"), (None, b"made"), (b"old", None), (b"", b"edited")]
)
def test_file_that_has_changed_stays(
    tmp_path: Path, read: bytes | None, there: bytes | None, either: str
) -> None:
    temporary, path = lay(tmp_path, there)
    assert not put_in_place(temporary, path, read)
    assert temporary.read_bytes() == b"new"
    assert (path.read_bytes() if path.exists() else None) == there


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo"])
def test_path_that_is_no_longer_a_file_stays(tmp_path: Path, kind: str, either: str) -> None:
    temporary, path = lay(tmp_path, None)
    other = tmp_path / "other"
    other.write_bytes(b"old")
    if kind == "symlink":
        path.symlink_to(other)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert not put_in_place(temporary, path, b"old")
    assert path.is_symlink() or not path.is_file()
    assert (temporary.read_bytes(), other.read_bytes()) == (b"new", b"old")


def test_edits_between_the_swaps_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody saves before our swap and again before each of the swaps back, three times."""
    temporary, path = lay(tmp_path)
    edits = [b"first", b"second", b"third"]

    def rename(old: Path, new: Path, flags: int) -> None:
        if edits:
            save(path, edits.pop(0))
        REAL(old, new, flags)

    monkeypatch.setattr(exchange, "_rename", rename)
    assert not put_in_place(temporary, path, b"old")
    assert path.read_bytes() == b"third"


def test_endless_saving_is_reported_and_the_last_version_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, path = lay(tmp_path)

    def rename(old: Path, new: Path, flags: int) -> None:
        save(path, b"again")
        REAL(old, new, flags)

    monkeypatch.setattr(exchange, "_rename", rename)
    beside = tmp_path / "f.ecsauth-conflict"
    with pytest.raises(UnsettledError, match=str(beside)):
        put_in_place(temporary, path, b"old")
    assert beside.read_bytes() == b"again"


def test_disk_that_fails_at_the_swap_back_leaves_the_edit_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    state = read_state(path)
    swaps: list[int] = []

    def rename(old: Path, new: Path, flags: int) -> None:
        swaps.append(flags)
        if len(swaps) == 1:
            save(path, b"edited")
            REAL(old, new, flags)
        else:
            raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(exchange, "_rename", rename)
    beside = tmp_path / "f.ecsauth-conflict"
    with pytest.raises(UnsettledError, match=str(beside)):
        write_atomic(path, b"new", previous=state)
    assert beside.read_bytes() == b"edited"


def test_file_that_is_gone_while_an_edit_is_aside_costs_no_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody saves, we swap, and he renames what he takes for his file before we swap back."""
    temporary, path = lay(tmp_path)
    content_of = exchange._content

    def content(place: Path) -> bytes | None:
        path.rename(path.with_name("f~"))
        return content_of(place)

    edit_after_the_check(monkeypatch, path, content)
    with pytest.raises(UnsettledError):
        put_in_place(temporary, path, b"old")
    assert (tmp_path / "f.ecsauth-conflict").read_bytes() == b"edited"


def test_lack_of_memory_while_an_edit_is_aside_costs_no_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    state = read_state(path)

    def content(_: Path) -> bytes:
        raise MemoryError

    edit_after_the_check(monkeypatch, path, content)
    with pytest.raises(UnsettledError):
        write_atomic(path, b"new", previous=state)
    assert (tmp_path / "f.ecsauth-conflict").read_bytes() == b"edited"


def test_edit_before_the_swap_is_never_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise another process could save on top of the new file before it is swapped back."""
    temporary, path = lay(tmp_path)
    save(path, b"edited")

    def rename(*_: object) -> None:
        pytest.fail("swapped")

    monkeypatch.setattr(exchange, "_rename", rename)
    assert not put_in_place(temporary, path, b"old")


def test_signal_to_another_thread_waits_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's handlers run in the main thread, whichever thread is interrupted."""
    temporary, path = lay(tmp_path)
    end = threading.Event()
    other = threading.Thread(target=end.wait, args=(60,))
    content_of, seen = exchange._content, []
    arrived, told = socket.socketpair()
    arrived.settimeout(10)
    told.setblocking(False)

    def content(place: Path) -> bytes | None:
        assert other.ident
        signal.pthread_kill(other.ident, signal.SIGHUP)
        assert arrived.recv(1) == bytes([signal.SIGHUP])
        return content_of(place)

    before = signal.signal(signal.SIGHUP, lambda *_: seen.append(path.read_bytes()))
    woken = signal.set_wakeup_fd(told.fileno())
    try:
        edit_after_the_check(monkeypatch, path, content)
        other.start()
        assert not put_in_place(temporary, path, b"old")
    finally:
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGHUP, before)
        end.set()
        other.join()
        arrived.close()
        told.close()
    assert seen == [b"edited"]
    assert temporary.read_bytes() == b"new"


def test_library_without_the_name_of_the_call_makes_it_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ctypes.CDLL(None, use_errno=True)

    class Old:
        """A C library of before 2018."""

        syscall = real.syscall

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Old())
    temporary, path = lay(tmp_path)
    exchange._rename(temporary, path, 2)
    assert (path.read_bytes(), temporary.read_bytes()) == (b"new", b"old")
    with pytest.raises(FileExistsError):
        exchange._rename(temporary, path, 1)


def test_write_after_an_edit_is_a_conflict_and_leaves_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    state = read_state(path)
    save(path, b"edited")
    with pytest.raises(ConflictError, match="changed by another process"):
        write_atomic(path, b"new", previous=state)
    assert path.read_bytes() == b"edited"
    assert names(tmp_path) == {"f", previous_path(path).name}
    write_atomic(path, b"new", previous=read_state(path))
    assert path.read_bytes() == b"new"
    assert previous_path(path).read_bytes() == b"edited"


def test_error_of_the_disk_is_raised_and_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, path = lay(tmp_path)

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(exchange, "_rename", broken)
    with pytest.raises(OSError, match="broken"):
        put_in_place(temporary, path, b"old")
    assert (temporary.read_bytes(), path.read_bytes()) == (b"new", b"old")
