"""Identifiers of this host: its boot, and its share of a fleet."""

from __future__ import annotations

import os

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str:
    """Return the kernel's id of this boot; empty if it cannot be read.

    It tells apart tokens in a home directory that several hosts share or that was baked into an
    image: those may belong to other instance roles.
    """
    try:
        with open(BOOT_ID, encoding="ascii") as file:  # noqa: PTH123 - pathlib takes 5 ms
            return file.readline().strip()
    except (OSError, ValueError):
        return ""


def host_chance(purpose: str) -> float:
    """Return a number from 0 to 1 that is fixed for this host and purpose, to spread a fleet out.

    It is derived from /etc/machine-id (machine-id(5)), or from the host name if that file is
    missing or empty, as in some images.
    """
    import hashlib  # not loaded on the credential helper's hit path

    try:
        with open("/etc/machine-id", encoding="ascii") as file:  # noqa: PTH123 - as above
            name = file.readline().strip()
    except (OSError, ValueError):
        name = ""
    digest = hashlib.sha256(f"{purpose} {name or os.uname().nodename}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
