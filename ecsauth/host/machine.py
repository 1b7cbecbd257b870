"""What names this start of this machine."""

from __future__ import annotations

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str:
    """Return what names this start of this machine; empty if it cannot be read.

    A home directory that several machines share, or one that was baked into an image, holds tokens
    of other instance roles.
    """
    try:
        with open(BOOT_ID, encoding="ascii") as file:  # noqa: PTH123 - pathlib takes 5 ms
            return file.readline().strip()
    except (OSError, ValueError):
        return ""
