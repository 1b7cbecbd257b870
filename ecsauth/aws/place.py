"""How the command line names an object: ``s3://BUCKET/KEY?region=…``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from ecsauth.aws.objects import Place
from ecsauth.aws.session import Identity
from ecsauth.errors import UsageError

SCHEME = "s3://"
_BUCKET = re.compile(
    r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|arn:aws[a-z-]*:s3:[a-z0-9-]*:[0-9]{12}:accesspoint/[a-z0-9-]+"
)
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
_ACCOUNT = re.compile(r"[0-9]{12}")
_IDENTITY = ("profile", "role_arn", "external_id")
_OWNER = "ECSAUTH_EXPECTED_BUCKET_OWNER"
_PARAMETERS = (*_IDENTITY, "region", "expected_bucket_owner")


def parse_place(text: str, environment: Mapping[str, str]) -> Place:
    """Understand ``s3://BUCKET/KEY``; parameters follow a ``?``, with ``&`` between them.

    Args:
        text: the URL.
        environment: for ECSAUTH_EXPECTED_BUCKET_OWNER, unless the URL names an owner.

    Raises:
        UsageError: a bucket, key or parameter that makes no sense.

    """
    if not text.startswith(SCHEME):
        raise UsageError("s3: is not followed by //BUCKET/KEY", "such as s3://BUCKET/ecs.config")
    address, _, query = text[len(SCHEME) :].partition("?")
    bucket, key = _split(address)
    if not _BUCKET.fullmatch(bucket) or not key or key.endswith("/") or not key.isprintable():
        raise UsageError(
            f"{SCHEME} is not followed by BUCKET/KEY", "such as s3://BUCKET/ecs.config"
        )
    if len(key.encode()) > 1024:
        raise UsageError("the key of the object is too long")
    found: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        if name not in _PARAMETERS or not equals or name in found:
            raise UsageError(
                f"a parameter after the ? of {SCHEME} is unknown, without value or twice there",
                f"there are {', '.join(_PARAMETERS)}",
            )
        found[name] = unquote(value)
    region = found.get("region", "")
    owner = found.get("expected_bucket_owner") or environment.get(
        "ECSAUTH_EXPECTED_BUCKET_OWNER", ""
    )
    if region and not _REGION.fullmatch(region):
        raise UsageError(f"?region= of {SCHEME} is no AWS region", "such as us-west-2")
    if owner and not _ACCOUNT.fullmatch(owner):
        raise UsageError("the expected bucket owner is no AWS account", "it has 12 digits")
    identity = Identity(**{name: found.get(name, "") for name in _IDENTITY})
    return Place(bucket, key, identity, region, owner)


def _split(address: str) -> tuple[str, str]:
    """Split bucket and key; the ARN of an access point has a slash in it."""
    if address.startswith("arn:"):
        service, _, rest = address.partition("/")
        name, _, key = rest.partition("/")
        return f"{service}/{name}", key
    bucket, _, key = address.partition("/")
    return bucket, key
