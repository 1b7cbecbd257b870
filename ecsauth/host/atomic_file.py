"""Files that contain secrets: read safely, written completely or not at all.

`write_atomic` guarantees: after a crash or a power loss at any moment the path holds the old bytes
or the new ones, and only the owner can read the new ones at any time. It does not guarantee: other
hard links to the old file keep the old bytes, and POSIX ACLs are not copied (with mode 0600 they
would grant nothing).
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
"""The largest file that is read: far above any login file, far below the memory of a host."""
_PART_BYTES = 1024 * 1024

_SELINUX = "security.selinux"
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Readable(Protocol):
    """A stream that can be read in parts."""

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes; none at the end."""


@dataclass(frozen=True)
class FileState:
    """A file as it was when it was read.

    Attributes:
        path: the file itself, symlinks followed.
        data: its bytes; None if it does not exist.
        mode: its permission bits; 0600 if it does not exist.

    """

    path: Path
    data: bytes | None
    mode: int = PRIVATE


def read_regular(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a regular file; never block on a FIFO, never read a device.

    Raises:
        FileNotFoundError: the file does not exist.
        OSError: any other system error.
        EcsauthError: not a regular file, or larger than `limit` bytes.

    """
    return _read(path, limit)[0]


def read_up_to(file: Readable, count: int) -> bytes:
    """Read to the end or up to `count` bytes; a single ``read(count)`` allocates all at once."""
    parts: list[bytes] = []
    while count > 0 and (part := file.read(min(_PART_BYTES, count))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_input(path: Path, hint: str) -> bytes:
    """Read a file that will not be written.

    Args:
        path: the file.
        hint: what to do if it does not exist.

    Raises:
        SourceError: it cannot be read; it says why and what to do.

    """
    try:
        return read_regular(path)
    except FileNotFoundError:
        raise SourceError(
            "no such file", hint, subject=str(path), reference="input-missing"
        ) from None
    except PermissionError as error:
        raise SourceError(
            f"{path} cannot be read: permission denied",
            "run it with sudo",
            reference="input-unreadable",
        ) from error
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}", reference="input-unreadable"
        ) from error
    except EcsauthError as error:
        raise error.as_kind(SourceError) from error


def locate(path: Path) -> Path:
    """Return the file that a write to `path` replaces, symlinks followed.

    Raises:
        TargetError: a dangling or untrusted symlink, a missing directory, not a regular file.

    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        if not is_directory(path.parent):
            raise TargetError(
                f"the directory {path.parent} does not exist",
                "create it first",
                subject=str(path),
                reference="target-directory-missing",
            ) from None
        return path
    except OSError as error:
        raise target_error(path, error) from error
    if stat.S_ISLNK(status.st_mode):
        return _follow(path, status)
    if not stat.S_ISREG(status.st_mode):
        raise _irregular(path, status.st_mode).as_kind(TargetError)
    return path


def previous_path(path: Path) -> Path:
    """Return the path of the backup that the last write of `path` kept."""
    return path.with_name(f"{path.name}.ecsauth-previous")


def read_state(path: Path) -> FileState:
    """Read the file that a later `write_atomic` will replace.

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
        raise error.as_kind(TargetError) from error


def make_private(path: Path) -> int | None:
    """Remove group and other permissions of a file; its content is not written.

    A symlink is not followed.

    Returns:
        The previous mode; None if the file was already private.

    Raises:
        TargetError: the mode cannot be changed.

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
    """Replace the file at `path` (not a symlink, see `locate`) by `data`, or leave it unchanged.

    With `previous`, the file is replaced only if it still has these bytes. They are kept in a
    backup beside it, written the same way as the last step before the rename.

    The new file is written beside the old one, fsynced and renamed over it. Then the directory is
    fsynced, so that the rename survives a power loss. Owner, group and SELinux label are the old
    file's; the mode is 0600 without the bits that the old mode lacked.

    Args:
        path: the file; its directory must exist.
        data: its new bytes.
        previous: the file as it was read; None replaces it whatever it contains.
        mode: a wider mode than 0600, for a file without secrets; it replaces the old mode.
        keeps: whether to keep the bytes of `previous` in a backup.

    Raises:
        ConflictError: another process has changed the file since; its change stays.
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
    except BaseException:  # Ctrl-C, or an error that already names its path
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if not is_done:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ConflictError(
            f"{path} was changed by another process at the same moment", "run this again"
        )
    # The new file is in place. If the directory cannot be fsynced (some network file systems), a
    # power loss may bring back the complete old file.
    with contextlib.suppress(OSError):
        _fsync_directory(path.parent)


def restore_previous(path: Path, state: FileState) -> None:
    """Replace a file by its backup with a rename, which needs no disk space.

    Raises:
        ConflictError: another process has changed the file since it was read as `state`.
        TargetError: the backup cannot be renamed.

    """
    try:
        is_done = put_in_place(previous_path(path), path, state.data)
    except OSError as error:
        raise target_error(path, error, "was not restored") from error
    if not is_done:
        raise ConflictError(f"{path} was changed by another process at the same moment")
    with contextlib.suppress(OSError):
        _fsync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file durably: it does not reappear after a power loss.

    Raises:
        TargetError: it was not removed.

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
    """Return whether the path exists; False if that cannot be determined."""
    with contextlib.suppress(OSError):
        return path.exists()
    return False


def is_directory(path: Path) -> bool:
    """Return whether the path is a directory; False if that cannot be determined."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def close_quietly(descriptor: int) -> None:
    """Close a descriptor and ignore errors; for files that were read, locked or already fsynced.

    Linux releases the descriptor even if it returns an error (close(2)).
    """
    with contextlib.suppress(OSError):
        os.close(descriptor)


def target_error(path: Path, error: OSError, failed: str = "was not written") -> TargetError:
    """Return our error for a failed system call on a target: why, and what to do."""
    is_root = os.geteuid() == 0
    advice = {
        errno.EACCES: (
            "target-permission-denied",
            "check for a denial by SELinux or AppArmor" if is_root else "run it with sudo",
        ),
        errno.EPERM: (
            "target-permission-denied",
            "check for an immutable flag (lsattr)" if is_root else "run it with sudo",
        ),
        errno.EBUSY: (
            "target-mount-point",
            "it is a mount point: mount its directory instead of the file",
        ),
        errno.EROFS: (
            "target-read-only",
            "remount its file system read-write, or choose another path",
        ),
        errno.ENOSPC: ("target-no-space", "free some space and run it again"),
        errno.EDQUOT: ("target-no-space", "free some space or raise the quota and run it again"),
        errno.EFBIG: ("target-no-space", "raise the file size limit (ulimit -f)"),
        errno.ENOLCK: (
            "target-no-locks",
            "its file system has no locks: choose a directory on another one",
        ),
        errno.ELOOP: (
            "target-symlink-invalid",
            "its symlinks form a loop, or the lock file is a symlink: remove the link",
        ),
    }
    reason = os.strerror(error.errno) if error.errno else str(error)
    reference, hint = advice.get(error.errno or 0, ("target-io-failed", ""))
    return TargetError(f"{path} {failed}: {reason}", hint, reference=reference)


def temporary_path(path: Path) -> Path:
    """Return the path where the new bytes of `path` are written first."""
    return path.with_name(f".{path.name}.ecsauth-new")


def _check_inode(temporary: Path, inode: int, path: Path) -> None:
    """Refuse a temporary file that another process has replaced, with no lock or a broken one."""
    if temporary.lstat().st_ino != inode:
        raise LockTimeoutError(
            "another process is writing it too", "run this again", subject=str(path)
        )


def _read(path: Path, limit: int, flags: int = 0) -> tuple[bytes, os.stat_result]:
    descriptor = os.open(path, _READ | flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _irregular(path, status.st_mode)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = read_up_to(file, limit + 1)
    finally:
        close_quietly(descriptor)
    if len(data) > limit:
        raise EcsauthError(
            f"{path} has more than the {limit:,} bytes allowed", reference="file-too-large"
        )
    return data, status


def _follow(path: Path, status: os.stat_result) -> Path:
    if status.st_uid not in (0, os.geteuid()):
        raise TargetError(
            f"{path} is a symlink of another user (uid {status.st_uid})",
            "remove it if in doubt",
            reference="target-untrusted",
        )
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        raise TargetError(
            f"{path} is a symlink to {path.readlink()}, which does not exist",
            "create that file or remove the link",
            reference="target-symlink-invalid",
        ) from None
    except (OSError, RuntimeError) as error:
        raise TargetError(
            "its symlink cannot be followed", subject=str(path), reference="target-symlink-invalid"
        ) from error
    if not real.is_file():
        raise TargetError(
            f"{path} is a symlink to {real}, which is not a regular file",
            reference="file-not-regular",
        )
    return real


def _irregular(path: Path, mode: int) -> EcsauthError:
    return EcsauthError(
        f"{path} is {_kind(mode)}, not a regular file", reference="file-not-regular"
    )


def _write_temporary(temporary: Path, path: Path, data: bytes, mode: int) -> int:
    """Write the new file beside the old one; return its inode."""
    try:
        old: os.stat_result | None = path.lstat()
    except FileNotFoundError:
        old = None
    if old is not None and stat.S_ISLNK(old.st_mode):
        old = None  # a file of ours has become a symlink: the link itself is replaced
    if old is not None:
        check_owner(path, old)
    if old is not None and os.geteuid() and not os.access(path, os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # for root, the kernel says
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()  # left by a crash: the writer of this path holds the lock

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
    """Create a file with mode 0600; it must not exist yet. Return its inode.

    Args:
        name: name of the file, or its path.
        data: its bytes.
        prepare: called with the descriptor before anything is written.
        finish: called with the descriptor after everything is written.
        folder: descriptor of its directory; None if `name` is a path.

    Raises:
        OSError: it was not written, or not completely.

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
        return  # the file system has no SELinux labels
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
