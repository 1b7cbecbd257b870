"""The parameters after the ``?`` of a SOURCE or TARGET in AWS: ``profile=…&region=…``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote

from ecsauth.aws.session import Identity
from ecsauth.errors import UsageError

IDENTITY = ("profile", "role_arn", "external_id")
REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")


def parse_parameters(scheme: str, query: str, known: Collection[str]) -> dict[str, str]:
    """Parse ``NAME=VALUE&…``; values may be escaped as in a URL.

    Args:
        scheme: the scheme as it is written, for messages.
        query: the text after the ``?``.
        known: allowed names.

    Raises:
        UsageError: a name is unknown, has no value or is given twice, or the region is invalid.

    """
    found: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        if name not in known:
            raise _invalid(
                f"unknown parameter {name!r} after the ? of {scheme}",
                f"known are {', '.join(known)}",
            )
        if not equals:
            raise _invalid(f"the parameter {name} of {scheme} has no value", f"write {name}=VALUE")
        if name in found:
            raise _invalid(f"the parameter {name} of {scheme} is given twice", "remove one")
        found[name] = unquote(value)
    region = found.get("region", "")
    if region and not REGION.fullmatch(region):
        raise _invalid(f"?region= of {scheme} is not an AWS region", "write one such as us-west-2")
    return found


def _invalid(what: str, hint: str) -> UsageError:
    return UsageError(what, hint, reference="usage-parameter")


def identity_of(parameters: Mapping[str, str]) -> Identity:
    """Return the identity that the parameters name."""
    return Identity(**{name: parameters.get(name, "") for name in IDENTITY})
