"""Checks whether other users could replace files that ecsauth reads or writes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ecsauth.errors import TargetError

_MAX_LINKS = 40


def untrusted_path_reason(path: Path, *, root_alone: bool = False) -> str:
    """Say why another user could redirect this path; empty if none could.

    That is a user who can rename a part of the path, or who owns a symlink in it. A sticky folder
    such as /tmp is fine: others cannot rename our files in it.
    """
    here, rest, links = Path("/"), list(reversed(path.absolute().parts[1:])), 0
    while True:
        if reason := untrusted_folder_reason(here, here.lstat(), root_alone=root_alone):
            return reason
        if not rest:
            return ""
        part = rest.pop()
        entry = here.parent if part == ".." else here / part
        status = entry.lstat()
        if not stat.S_ISLNK(status.st_mode):
            here = entry
            continue
        links += 1
        if status.st_uid not in {0, 0 if root_alone else os.geteuid()} or links > _MAX_LINKS:
            return f"{entry} is a symlink of another user (uid {status.st_uid})"
        target = entry.readlink()
        rest += reversed(target.parts[target.is_absolute() :])
        here = Path("/") if target.is_absolute() else here


def untrusted_folder_reason(
    folder: Path, status: os.stat_result, *, root_alone: bool = False
) -> str:
    """Say why another user could rename our files in a folder; empty if none could.

    Trusted users are

    1. root and the user that ecsauth runs as;
    2. the user who called sudo, because ecsauth runs on their behalf;
    3. in a user namespace, users outside of it, because no process in it can act as them
       (user_namespaces(7));
    4. the users in ECSAUTH_TRUSTED_UIDS; ``all`` means every user, for volumes of containers.
    """
    named = os.environ.get("ECSAUTH_TRUSTED_UIDS", "")
    if named == "all":
        return ""
    trusted = {0, os.geteuid(), *_numbers(named), *_numbers(os.environ.get("SUDO_UID", ""))}
    trusted = {0} if root_alone else trusted
    if status.st_uid not in trusted and not _is_outside(status.st_uid):
        return f"{folder} belongs to another user (uid {status.st_uid})"
    if _is_shared(status) and not status.st_mode & stat.S_ISVTX:
        return f"{folder} can be written by others"
    return ""


def check_owner(path: Path, status: os.stat_result) -> None:
    """Refuse another user's file in a directory that other users can write.

    That user may have put it there, and the new file would keep its owner, who could read it.

    Raises:
        TargetError: the file is refused.

    """
    if status.st_uid not in (0, os.geteuid()) and _is_shared(path.parent.stat()):
        raise TargetError(
            f"{path} belongs to another user (uid {status.st_uid}), in a directory that others"
            " can write",
            "remove it if in doubt",
            reference="target-untrusted",
        )


def _numbers(text: str) -> set[int]:
    return {int(item) for item in text.replace(",", " ").split() if item.isdecimal()}


def _is_outside(uid: int) -> bool:
    """Return whether this user namespace has no number of its own for a user."""
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
        known = Path("/proc/self/uid_map").read_text("ascii").split()
    except (OSError, ValueError):
        return False
    return uid == overflow and known != ["0", "0", "4294967295"]


def _is_shared(status: os.stat_result) -> bool:
    is_group_s = status.st_mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid())
    return bool(is_group_s or status.st_mode & stat.S_IWOTH)
