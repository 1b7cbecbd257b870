"""What sources need from this process: its environment, stdin and users."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ecsauth.cli.console import stdin_stream
from ecsauth.sources import Account, Context


def make_context(helper_timeout: float, select: str) -> Context:
    """Return what sources need from this process."""
    return Context(os.environ, stdin_stream(), helper_timeout, select, _owner_of)


def account_of(name: str) -> Account | None:
    """Return the account of a user name; None if there is none."""
    try:
        return _account(pwd.getpwnam(name))
    except KeyError:
        return None


def _owner_of(path: Path) -> Account | None:
    """Return the owner of a file if we are root and he is not: helpers then run as he does."""
    try:
        uid = path.stat().st_uid
        return _account(pwd.getpwuid(uid)) if os.geteuid() == 0 and uid != 0 else None
    except (OSError, KeyError):
        return None


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)
