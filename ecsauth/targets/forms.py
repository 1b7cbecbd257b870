"""Where the two settings go: a file on this host, or standard output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Callable

from ecsauth.engine_auth.layouts import ENV_FILE, layout_of
from ecsauth.errors import UsageError
from ecsauth.targets.stdout import Stdout

if TYPE_CHECKING:
    from ecsauth.targets.target import Target

DEFAULT_TARGET = "/etc/ecs/ecs.config"
HELPER = "helper:"
"""The cache of the credential helper: no text with two settings, so only refresh has it."""


def parse_target(
    text: str,
    lock_timeout: float,
    stdout: Callable[[], BinaryIO],
    make_s3: Callable[[str], Target] | None = None,
) -> Target:
    """Understand a TARGET of the command line.

    A path; one that ends in ``.json`` is the agent's JSON file; ``-`` is standard output;
    ``s3://BUCKET/KEY``.

    Args:
        text: as typed.
        lock_timeout: seconds to wait for another writer of a file.
        stdout: returns standard output.
        make_s3: makes a target in S3 of its URL; None where there can be none.

    Raises:
        UsageError: an empty text, or a kind of target that does not exist.

    """
    from ecsauth.targets.local_file import LocalFile

    if text == "-":
        return Stdout(stdout, ENV_FILE)
    if not text:
        raise UsageError("the target is empty", f"the usual one is {DEFAULT_TARGET}")
    if set(text) & set("{\n\0") or len(text) > 4096:
        raise UsageError(
            "the target is some text, not a path", f"the usual one is {DEFAULT_TARGET}"
        )
    if text == HELPER:
        raise UsageError(f"{HELPER} is a target of refresh and run only")
    if text.startswith("s3:") and make_s3 is not None:
        return make_s3(text)
    if "://" in text:
        raise UsageError(
            f"{text.partition('://')[0]}:// is no target", f"name a path, such as {DEFAULT_TARGET}"
        )
    return LocalFile(Path(text), layout_of(text), lock_timeout)
