"""The users of this host."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Account:
    """A user account of this host."""

    name: str
    uid: int
    gid: int
    home: str


def account_of(name: str) -> Account | None:
    """Return the account of a user name; None if it does not exist."""
    try:
        return _account(pwd.getpwnam(name))
    except KeyError:
        return None


def owner_of(path: Path) -> Account | None:
    """Return a file's owner if ecsauth runs as root and the owner is another user; else None."""
    try:
        uid = path.stat().st_uid
        return _account(pwd.getpwuid(uid)) if os.geteuid() == 0 and uid != 0 else None
    except (OSError, KeyError):
        return None


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)
