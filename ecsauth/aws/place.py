"""How the command line names an object: ``s3://BUCKET/KEY?region=…``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ecsauth.aws.objects import Place
from ecsauth.aws.parameters import IDENTITY, identity_of, parse_parameters
from ecsauth.errors import UsageError

SCHEME = "s3://"
_BUCKET = re.compile(
    r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|arn:aws[a-z-]*:s3:[a-z0-9-]*:[0-9]{12}:accesspoint/[a-z0-9-]+"
)
_ACCOUNT = re.compile(r"[0-9]{12}")
OWNER_VARIABLE = "ECSAUTH_EXPECTED_BUCKET_OWNER"
_PARAMETERS = (*IDENTITY, "region", "expected_bucket_owner")


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
    found = parse_parameters(SCHEME, query, _PARAMETERS)
    owner = found.get("expected_bucket_owner") or environment.get(OWNER_VARIABLE, "")
    if owner and not _ACCOUNT.fullmatch(owner):
        raise UsageError("the expected bucket owner is no AWS account", "it has 12 digits")
    return Place(bucket, key, identity_of(found), found.get("region", ""), owner)


def _split(address: str) -> tuple[str, str]:
    """Split bucket and key; the ARN of an access point has a slash in it."""
    if address.startswith("arn:"):
        service, _, rest = address.partition("/")
        name, _, key = rest.partition("/")
        return f"{service}/{name}", key
    bucket, _, key = address.partition("/")
    return bucket, key
