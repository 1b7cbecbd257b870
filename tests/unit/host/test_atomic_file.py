"""Writing whole or not at all, and private."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from ecsauth.errors import EcsauthError, LockTimeoutError, TargetError
from ecsauth.host import atomic_file as files
from ecsauth.host.atomic_file import locate, make_private, read_regular, read_state, write_atomic


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def litter(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.endswith("-new"))


def test_new_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_atomic(tmp_path / "f", b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "f").read_bytes() == b"x"
    assert mode(tmp_path / "f") == 0o600


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o600, 0o600), (0o777, 0o600)])
def test_mode_is_never_wider_than_private(tmp_path: Path, before: int, after: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(before)
    write_atomic(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", after)


@pytest.mark.usefixtures("as_root")
def test_mode_is_never_wider_than_it_was(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(0o400)
    write_atomic(path, b"new")
    assert mode(path) == 0o400


@pytest.mark.usefixtures("as_root")
def test_owner_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    write_atomic(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_security_label_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels: dict[int, bytes] = {}
    path = tmp_path / "f"
    path.write_bytes(b"old")
    inode = path.stat().st_ino

    def get(subject: Path | int, name: str) -> bytes:
        assert name == "security.selinux"
        return b"etc_t" if os.stat(subject).st_ino == inode else b"tmp_t"

    def put(descriptor: int, _: str, value: bytes) -> None:
        labels[os.fstat(descriptor).st_ino] = value

    monkeypatch.setattr(os, "getxattr", get)
    monkeypatch.setattr(os, "setxattr", put)
    write_atomic(path, b"new")
    assert labels == {path.stat().st_ino: b"etc_t"}


def test_order_is_write_fsync_rename_fsync_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        size = os.fstat(descriptor).st_size
        events.append("fsync directory" if is_directory else f"fsync {size} bytes")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_atomic(tmp_path / "f", b"12345")
    assert events == ["fsync 5 bytes", "rename", "fsync directory"]


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write_atomic(path, b"x" * 10_000)
        except TargetError as error:
            os._exit(0 if "too large" in str(error) else 1)
        os._exit(2)

    child = multiprocessing.get_context("fork").Process(target=limited)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert path.read_bytes() == b"old"
    assert litter(tmp_path) == []


@pytest.mark.parametrize("failing", ["fsync", "fchmod"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_failing_system_call_names_the_path_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, code: int
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(TargetError, match=os.strerror(code)) as caught:
        write_atomic(path, b"new")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert litter(tmp_path) == []


def test_interrupt_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "f", b"new")
    assert list(tmp_path.glob(".f*")) == []


def test_leftover_of_a_crash_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".f.ecsauth-new").write_bytes(b"half")
    write_atomic(tmp_path / "f", b"new")
    assert litter(tmp_path) == []
    assert (tmp_path / "f").read_bytes() == b"new"


def test_planted_symlink_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".f.ecsauth-new").symlink_to(victim)
    write_atomic(tmp_path / "f", b"new")
    assert victim.read_bytes() == b"precious"


def test_symlink_is_kept_and_its_file_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "f", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    assert locate(link) == real
    write_atomic(locate(link), b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_dangling_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(TargetError, match="does not exist"):
        locate(tmp_path / "link")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_symlink_to_a_directory_or_fifo_is_refused(tmp_path: Path, kind: str) -> None:
    end = tmp_path / "end"
    end.mkdir() if kind == "directory" else os.mkfifo(end)
    (tmp_path / "link").symlink_to(end)
    with pytest.raises(TargetError, match="not a regular file"):
        locate(tmp_path / "link")


def test_planted_symlink_in_place_of_the_previous_copy_is_replaced(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "f"
    victim.write_bytes(b"precious")
    path.write_bytes(b"old")
    (tmp_path / "f.ecsauth-previous").symlink_to(victim)
    write_atomic(path, b"new", previous=read_state(path))
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "f.ecsauth-previous").is_symlink()
    assert (tmp_path / "f.ecsauth-previous").read_bytes() == b"old"
    assert mode(tmp_path / "f.ecsauth-previous") == 0o600


def test_directory_in_place_of_the_temporary_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".f.ecsauth-new").mkdir()
    with pytest.raises(TargetError, match=r"\.f\.ecsauth-new was not written"):
        write_atomic(tmp_path / "f", b"new")


def test_circular_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(TargetError, match=r"cannot be followed|does not exist"):
        locate(tmp_path / "a")


@pytest.mark.usefixtures("as_root")
def test_symlink_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "f")
    assert locate(link) == tmp_path / "f"
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(TargetError, match="another user"):
        locate(link)


def test_directory_fifo_and_missing_directory_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, words in (
        (tmp_path, "is a directory"),
        (tmp_path / "fifo", "is a FIFO"),
        (tmp_path / "absent" / "f", "does not exist"),
        (Path("/dev/null"), "is a device"),
    ):
        with pytest.raises(TargetError, match=words):
            read_state(path)


def test_reading_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(EcsauthError, match="FIFO"):
        read_regular(tmp_path / "fifo")


@pytest.mark.parametrize(("size", "fits"), [(10, True), (11, False)])
def test_reading_is_bounded(tmp_path: Path, size: int, fits: bool) -> None:
    (tmp_path / "f").write_bytes(b"x" * size)
    if fits:
        assert read_regular(tmp_path / "f", 10) == b"x" * 10
    else:
        with pytest.raises(EcsauthError, match="more than the 10 bytes"):
            read_regular(tmp_path / "f", 10)


def test_state_of_a_missing_file(tmp_path: Path) -> None:
    state = read_state(tmp_path / "f")
    assert (state.data, state.mode) == (None, 0o600)


def test_hints_fit_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = PermissionError(errno.EACCES, "x")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "sudo" in files.target_error(Path("f"), denied).hint
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "sudo" not in files.target_error(Path("f"), denied).hint


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("name", ["f", "f.ecsauth-previous"])
def test_file_of_another_user_where_all_can_write_gets_no_secret(tmp_path: Path, name: str) -> None:
    """The new file would keep its owner, who could read it."""
    path = tmp_path / name
    path.write_bytes(b"old")
    os.chown(path, 12345, 12345)
    tmp_path.chmod(0o1777)
    previous = files.FileState(tmp_path / "f", b"secret before")
    with pytest.raises(TargetError, match=r"belongs to another user \(uid 12345\)"):
        write_atomic(tmp_path / "f", b"secret", previous=previous)
    assert path.read_bytes() == b"old"
    assert litter(tmp_path) == []
    tmp_path.chmod(0o755)  # there, root put it, and its owner is kept
    write_atomic(path, b"secret")
    assert path.stat().st_uid == 12345


@pytest.mark.usefixtures("as_root")
def test_content_of_another_user_where_all_can_write_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"his")
    os.chown(path, 12345, 12345)
    assert read_state(path).data == b"his"
    tmp_path.chmod(0o1777)
    with pytest.raises(TargetError, match="remove it if in doubt"):
        read_state(path)
    os.chown(path, 0, 0)
    assert read_state(path).data == b"his"


def test_file_is_made_private_and_no_symlink_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    path.chmod(0o644)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(TargetError):
        make_private(tmp_path / "link")
    assert mode(path) == 0o644
    assert (make_private(path), mode(path)) == (0o644, 0o600)
    assert make_private(path) is None


def test_two_writers_without_a_lock_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        monkeypatch.setattr(os, "fsync", real)
        other = tmp_path / "other"
        other.write_bytes(b"half of")
        other.replace(tmp_path / ".f.ecsauth-new")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(LockTimeoutError, match="another process is writing it too"):
        write_atomic(path, b"new")
    assert not path.exists()
