"""Where the two settings go: a file on this host, or standard output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ecsauth.check import Surroundings
from ecsauth.errors import UsageError
from ecsauth.files import MAX_BYTES, read_input
from ecsauth.layout import AGENT_JSON, ENV_FILE, Layout
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


@dataclass(frozen=True)
class Reading:
    """A target that is only looked at.

    Attributes:
        name: for messages.
        layout: of its text.
        text: its bytes.
        around: what else bears on it.

    """

    name: str
    layout: Layout
    text: bytes
    around: Surroundings


def read_target(text: str, stdin: BinaryIO) -> Reading:
    """Read a TARGET that is not written: a path, or ``-`` for standard input.

    Raises:
        SourceError: it cannot be read.
        UsageError: as `parse_target`.

    """
    if text == "-":
        data = stdin.read(MAX_BYTES)
        layout = AGENT_JSON if data.lstrip().startswith(b"{") else ENV_FILE
        return Reading("standard input", layout, data, Surroundings())
    target = parse_target(text, 0, stdin)
    if not isinstance(target, LocalFile):
        raise UsageError(f"{text} cannot be read")
    is_default = text == DEFAULT_TARGET
    hint = (
        "is the ECS agent installed here?" if is_default else f"the usual one is {DEFAULT_TARGET}"
    )
    data = read_input(target.path, hint)
    return Reading(text, target.layout, data, target.surroundings())
