"""Parse a TARGET of the command line: a file on this host, standard output or S3."""

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
"""The credential helper's cache: it does not hold the two settings, so only refresh fills it."""


def parse_target(
    text: str,
    lock_timeout: float,
    stdout: Callable[[], BinaryIO],
    make_s3: Callable[[str], Target] | None = None,
) -> Target:
    """Parse a TARGET of the command line.

    A path; one that ends in ``.json`` is the agent's JSON file; ``-`` is standard output;
    ``s3://BUCKET/KEY``.

    Args:
        text: as typed.
        lock_timeout: seconds to wait for another writer of a file.
        stdout: returns standard output.
        make_s3: makes a target of an S3 URL; None where S3 is not supported.

    Raises:
        UsageError: the text is not a target, or its scheme is unknown.

    """
    from ecsauth.targets.local_file import LocalFile

    if text == "-":
        return Stdout(stdout, ENV_FILE)
    if not text:
        raise UsageError(
            "the target is empty", f"the default is {DEFAULT_TARGET}", reference="target-invalid"
        )
    if set(text) & set("{\n\0") or len(text) > 4096:
        raise UsageError(
            "the target is not a path",
            f"the default is {DEFAULT_TARGET}",
            reference="target-invalid",
        )
    if text == HELPER:
        raise UsageError(
            f"{HELPER} is a target of refresh and run only", reference="target-unsupported"
        )
    if text.startswith("s3:") and make_s3 is not None:
        return make_s3(text)
    if "://" in text:
        raise UsageError(
            f"{text.partition('://')[0]}:// is not a supported target",
            f"name a path, such as {DEFAULT_TARGET}",
            reference="target-unknown-scheme",
        )
    return LocalFile(Path(text), layout_of(text), lock_timeout)
