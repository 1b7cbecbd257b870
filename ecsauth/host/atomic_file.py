"""Files that hold secrets: read without surprises, written whole or not at all, one writer.

What `write_atomic` guarantees: after a crash or a power loss at any moment the path holds the old
bytes or the new ones, and nobody but the owner could read the new ones at any time. What it does
not: other hard links to the old file keep the old bytes, and POSIX ACLs are not carried over
(with mode 0600 they would grant nothing).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Protocol

from ecsauth.errors import (
    ConflictError,
    EcsauthError,
    LockTimeoutError,
    SourceError,
    TargetError,
    UnsettledError,
)
from ecsauth.host.swap import put_in_place
from ecsauth.host.trust import check_owner

PRIVATE = 0o600
MAX_BYTES = 64 * 1024 * 1024
"""The largest file that is read: far above any login file, far below what could hurt a host."""
_PART_BYTES = 1024 * 1024

_SELINUX = "security.selinux"
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Readable(Protocol):
    """What can be read in parts."""

    def read(self, count: int, /) -> bytes:
        """Return up to so many bytes; none at the end."""


@dataclass(frozen=True)
class FileState:
    """A file as it was when it was read.

    Attributes:
        path: the file itself, symlinks followed.
        data: its bytes; None if there is no file.
        mode: its permission bits; 0600 if there is no file.

    """

    path: Path
    data: bytes | None
    mode: int = PRIVATE


def read_regular(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a regular file; never blocks on a FIFO and never reads a device.

    Raises:
        FileNotFoundError: there is none.
        OSError: any other failure of the system.
        EcsauthError: not a regular file, or larger than `limit` bytes.

    """
    return _read(path, limit)[0]


def read_up_to(file: Readable, count: int) -> bytes:
    """Read to the end, or `count` bytes; one ``read(count)`` takes that much memory at once."""
    parts: list[bytes] = []
    while count > 0 and (part := file.read(min(_PART_BYTES, count))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_input(path: Path, hint: str) -> bytes:
    """Read a file that is only looked at.

    Args:
        path: the file.
        hint: what to do if there is none.

    Raises:
        SourceError: it cannot be read; says why and what to do.

    """
    try:
        return read_regular(path)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file", hint) from None
    except PermissionError as error:
        raise SourceError(
            f"{path} cannot be read: permission denied", "run it with sudo"
        ) from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except EcsauthError as error:
        raise SourceError(error.message) from error


def locate(path: Path) -> Path:
    """Return the file that a write to `path` replaces: the end of its symlinks.

    Raises:
        TargetError: a dangling or untrusted symlink, a missing directory, not a regular file.

    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        if not is_directory(path.parent):
            raise TargetError(
                f"{path}: the directory {path.parent} does not exist", "create it first"
            ) from None
        return path
    except OSError as error:
        raise target_error(path, error) from error
    if stat.S_ISLNK(status.st_mode):
        return _follow(path, status)
    if not stat.S_ISREG(status.st_mode):
        raise TargetError(f"{path} is {_kind(status.st_mode)}, not a regular file")
    return path


def previous_path(path: Path) -> Path:
    """Return where the bytes before the last write of `path` are kept."""
    return path.with_name(f"{path.name}.ecsauth-previous")


def read_state(path: Path) -> FileState:
    """Read what a later `write_atomic` will replace.

    Raises:
        TargetError: the path cannot be a target, or cannot be read.

    """
    real = locate(path)
    try:
        data, status = _read(real, MAX_BYTES, os.O_NOFOLLOW)
        check_owner(real, status)
        return FileState(real, data, stat.S_IMODE(status.st_mode))
    except FileNotFoundError:
        return FileState(real, None)
    except OSError as error:
        raise target_error(path, error, "cannot be read") from error
    except EcsauthError as error:
        raise TargetError(error.message, error.hint) from error


def make_private(path: Path) -> int | None:
    """Take a file from the eyes of others without writing it; no symlink is followed.

    Returns:
        Its mode before; None if it was private already.

    Raises:
        TargetError: it cannot be done.

    """
    try:
        descriptor = os.open(path, _READ | os.O_NOFOLLOW)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode == mode & PRIVATE:
                return None
            os.fchmod(descriptor, mode & PRIVATE)
        finally:
            close_quietly(descriptor)
    except OSError as error:
        raise target_error(path, error) from error
    return mode


def write_atomic(
    path: Path,
    data: bytes,
    previous: FileState | None = None,
    mode: int = PRIVATE,
    *,
    keeps: bool = True,
) -> None:
    """Replace the file at `path` (no symlink, see `locate`) by `data`, or leave it as it is.

    With `previous`, the file is replaced only if it still has these bytes, and they are kept in a
    file beside it, written the same way as the last step before the rename.

    Written beside, fsynced, renamed over the old file; then the directory is fsynced, so that
    the rename itself outlives a power loss. Owner, group and SELinux label are the old file's;
    the mode is 0600 less what the old one lacked.

    Args:
        path: the file; its directory must exist.
        data: its new bytes.
        previous: what was there when it was read; None replaces whatever is there.
        mode: for a file without secrets, wider than 0600, whatever it was.
        keeps: whether the bytes of `previous` are kept beside it.

    Raises:
        ConflictError: somebody else has changed the file since; that stays.
        TargetError: nothing was replaced; the path and the reason are named.

    """
    temporary = temporary_path(path)
    try:
        inode = _write_temporary(temporary, path, data, mode)
        if keeps and previous is not None and previous.data is not None:
            write_atomic(previous_path(path), previous.data)
        _check_inode(temporary, inode, path)
        if previous is None:
            temporary.replace(path)
            is_done = True
        else:
            is_done = put_in_place(temporary, path, previous.data)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        is_other = error.filename == str(temporary) and error.errno == errno.EISDIR
        raise target_error(temporary if is_other else path, error) from error
    except UnsettledError:
        raise
    except BaseException:  # Ctrl-C, or an error that names its path already
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if not is_done:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ConflictError(
            f"{path} was changed by somebody else at the same moment", "run this again"
        )
    # The new file is in place; a directory that cannot be fsynced (some network file systems)
    # only means that a power loss may bring back the old one, whole.
    with contextlib.suppress(OSError):
        _fsync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file for good: a power loss does not bring it back.

    Raises:
        TargetError: it is still there.

    """
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise target_error(path, error, "was not removed") from error
    with contextlib.suppress(OSError):
        _fsync_directory(path.parent)


def is_there(path: Path) -> bool:
    """Return whether there is something; what cannot be looked at is not."""
    with contextlib.suppress(OSError):
        return path.exists()
    return False


def is_directory(path: Path) -> bool:
    """Return whether there is a directory; what cannot be looked at is none."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def close_quietly(descriptor: int) -> None:
    """Close what was only read or locked, or is on the disk already: no error there matters.

    Linux has let go of the descriptor whatever it answers (close(2)).
    """
    with contextlib.suppress(OSError):
        os.close(descriptor)


def target_error(path: Path, error: OSError, failed: str = "was not written") -> TargetError:
    """Say what a failed system call means for a target and what to do."""
    is_root = os.geteuid() == 0
    hints = {
        errno.EACCES: "look for a denial by SELinux or AppArmor" if is_root else "run it with sudo",
        errno.EPERM: "look for chattr +i" if is_root else "run it with sudo",
        errno.EBUSY: "it is a mount point: mount its directory instead of the file",
        errno.EROFS: "the file system is mounted read-only",
        errno.ENOSPC: "free some space and run it again",
        errno.EDQUOT: "free some space or raise the quota and run it again",
        errno.EFBIG: "raise the file size limit (ulimit -f)",
        errno.ENOLCK: "its file system has no locks: take a directory on another",
        errno.ELOOP: "its symlinks lead in a circle or end at the lock file",
    }
    reason = os.strerror(error.errno) if error.errno else str(error)
    return TargetError(f"{path} {failed}: {reason}", hints.get(error.errno or 0, ""))


def temporary_path(path: Path) -> Path:
    """Return where the new bytes of `path` are written first."""
    return path.with_name(f".{path.name}.ecsauth-new")


def _check_inode(temporary: Path, inode: int, path: Path) -> None:
    """Refuse a temporary file that is not ours: where no lock is held, or a lock does not hold."""
    if temporary.lstat().st_ino != inode:
        raise LockTimeoutError(f"{path}: another ecsauth writes it too", "run this again")


def _read(path: Path, limit: int, flags: int = 0) -> tuple[bytes, os.stat_result]:
    descriptor = os.open(path, _READ | flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise EcsauthError(f"{path} is {_kind(status.st_mode)}, not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = read_up_to(file, limit + 1)
    finally:
        close_quietly(descriptor)
    if len(data) > limit:
        raise EcsauthError(f"{path} is more than the {limit:,} bytes that are read")
    return data, status


def _follow(path: Path, status: os.stat_result) -> Path:
    if status.st_uid not in (0, os.geteuid()):
        raise TargetError(
            f"{path} is a symlink of another user (uid {status.st_uid})", "remove it if in doubt"
        )
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        raise TargetError(
            f"{path} is a symlink to {path.readlink()}, which does not exist",
            "create that file or remove the link",
        ) from None
    except (OSError, RuntimeError) as error:
        raise TargetError(f"{path}: its symlink cannot be followed") from error
    if not real.is_file():
        raise TargetError(f"{path} leads to {real}, which is not a regular file")
    return real


def _write_temporary(temporary: Path, path: Path, data: bytes, mode: int) -> int:
    """Write the new file beside; return its inode."""
    try:
        old: os.stat_result | None = path.lstat()
    except FileNotFoundError:
        old = None
    if old is not None and stat.S_ISLNK(old.st_mode):
        old = None  # a link in place of a file that is ours: the link itself is replaced
    if old is not None:
        check_owner(path, old)
    if old is not None and os.geteuid() and not os.access(path, os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # root may, or is told why
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()  # left by a crash: whoever writes this holds a lock

    def prepare(descriptor: int) -> None:
        if old is not None:
            _keep_identity(descriptor, path, old)
        if mode != PRIVATE:
            os.fchmod(descriptor, mode)

    return write_new(temporary, data, prepare, os.fsync)


def write_new(
    name: Path | str,
    data: bytes,
    prepare: Callable[[int], None],
    finish: Callable[[int], None],
    folder: int | None = None,
) -> int:
    """Write a file that must not exist yet, with mode 0600; return its inode.

    Args:
        name: of the file.
        data: its bytes.
        prepare: is given the descriptor before anything is written.
        finish: is given it when everything is written.
        folder: descriptor of its folder; None if `name` is a path.

    Raises:
        OSError: it is not written, or not whole.

    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, PRIVATE, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        prepare(descriptor)
        file.write(data)
        file.flush()
        finish(descriptor)
        return os.fstat(descriptor).st_ino


def _keep_identity(descriptor: int, path: Path, old: os.stat_result) -> None:
    now = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (now.st_uid, now.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, PRIVATE & old.st_mode)
    try:
        label = os.getxattr(path, _SELINUX)
    except OSError:
        return  # no SELinux here
    if os.getxattr(descriptor, _SELINUX) != label:
        os.setxattr(descriptor, _SELINUX, label)


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        close_quietly(descriptor)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a symlink",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
