"""Where the two settings go: a file on this host, or standard output."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ecsauth.errors import UsageError
from ecsauth.layout import AGENT_JSON, ENV_FILE
from ecsauth.targets.local_file import LocalFile
from ecsauth.targets.stdout import Stdout

DEFAULT_TARGET = "/etc/ecs/ecs.config"


def parse_target(text: str, lock_timeout: float, stdout: BinaryIO) -> LocalFile | Stdout:
    """Understand a TARGET of the command line.

    A path; one that ends in ``.json`` is the agent's JSON file; ``-`` is standard output.

    Raises:
        UsageError: an empty text, or a kind of target that does not exist.

    """
    if text == "-":
        return Stdout(stdout, ENV_FILE)
    if not text:
        raise UsageError("the target is empty", f"the usual one is {DEFAULT_TARGET}")
    if set(text) & set("{\n\0") or len(text) > 4096:
        raise UsageError(
            "the target is some text, not a path", f"the usual one is {DEFAULT_TARGET}"
        )
    if "://" in text:
        raise UsageError(
            f"{text.partition('://')[0]}:// is no target", f"name a path, such as {DEFAULT_TARGET}"
        )
    layout = AGENT_JSON if text.endswith(".json") else ENV_FILE
    return LocalFile(Path(text), layout, lock_timeout)
