"""What follows the ``?`` of a name in AWS: ``profile=…&region=…``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote

from ecsauth.aws.session import Identity
from ecsauth.errors import UsageError

IDENTITY = ("profile", "role_arn", "external_id")
REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")


def parse_parameters(scheme: str, query: str, known: Collection[str]) -> dict[str, str]:
    """Understand ``NAME=VALUE&…``; values may be escaped as in a URL.

    Args:
        scheme: for messages, as it is written.
        query: what follows the ``?``.
        known: names that there may be.

    Raises:
        UsageError: a name that is unknown, without value or twice there, or no AWS region.

    """
    found: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        if name not in known or not equals or name in found:
            raise UsageError(
                f"a parameter after the ? of {scheme} is unknown, without value or twice there",
                f"there are {', '.join(known)}",
            )
        found[name] = unquote(value)
    region = found.get("region", "")
    if region and not REGION.fullmatch(region):
        raise UsageError(f"?region= of {scheme} is no AWS region", "such as us-west-2")
    return found


def identity_of(parameters: Mapping[str, str]) -> Identity:
    """Return the identity that the parameters name."""
    return Identity(**{name: parameters.get(name, "") for name in IDENTITY})
