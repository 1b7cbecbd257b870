"""A user of this host, as whom a credential helper runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """The user as whom a helper runs, when it is not our own."""

    name: str
    uid: int
    gid: int
    home: str
