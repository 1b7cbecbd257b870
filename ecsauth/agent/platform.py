"""Detect hosts whose agent takes its settings in another way, and name that way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ecsauth.agent.paths import ENV_FILES, JSON_FILE
from ecsauth.errors import TargetError
from ecsauth.host.atomic_file import is_there

_BOTTLEROCKET_ROOT = ".bottlerocket/rootfs"
"""Where Bottlerocket's admin container sees the host's files."""


def check_platform(targets: Sequence[str], root: Path = Path("/")) -> None:
    """Refuse an agent file as target on a host whose agent does not read it.

    Args:
        targets: as typed.
        root: of the file system.

    Raises:
        TargetError: this is Bottlerocket, whose agent is set up by its settings API alone
            (bottlerocket-os/bottlerocket, ``settings.container-registry.credentials``).

    """
    if not {*ENV_FILES, JSON_FILE} & set(targets) or not _is_bottlerocket(root):
        return
    raise TargetError(
        "this is Bottlerocket: its agent takes logins from the settings API, not from a file",
        "apiclient set --json with settings.container-registry.credentials: a list of"
        " {registry, auth}, auth as in ecsauth convert",
    )


def _is_bottlerocket(root: Path) -> bool:
    if is_there(root / _BOTTLEROCKET_ROOT):
        return True
    try:
        text = (root / "etc/os-release").read_text("utf-8", "replace")
    except OSError:
        return False
    return any(line.strip().replace('"', "") == "ID=bottlerocket" for line in text.splitlines())
