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
    """Parse ``s3://BUCKET/KEY``; parameters follow a ``?``, separated by ``&``.

    Args:
        text: the URL.
        environment: environment variables; ECSAUTH_EXPECTED_BUCKET_OWNER is read if the URL names
            no owner.

    Raises:
        UsageError: a bucket, key or parameter is invalid.

    """
    if not text.startswith(SCHEME):
        raise _invalid("s3: is not followed by //BUCKET/KEY")
    address, _, query = text[len(SCHEME) :].partition("?")
    bucket, key = _split(address)
    if not _BUCKET.fullmatch(bucket) or not key or key.endswith("/") or not key.isprintable():
        raise _invalid(f"{SCHEME} is not followed by BUCKET/KEY")
    if len(key.encode()) > 1024:
        raise _invalid(f"the key after {SCHEME} is longer than the 1,024 bytes that S3 allows")
    found = parse_parameters(SCHEME, query, _PARAMETERS)
    owner = found.get("expected_bucket_owner") or environment.get(OWNER_VARIABLE, "")
    if owner and not _ACCOUNT.fullmatch(owner):
        raise UsageError(
            "the expected bucket owner is not an AWS account ID",
            "write its 12 digits",
            reference="usage-bucket-owner",
        )
    return Place(bucket, key, identity_of(found), found.get("region", ""), owner)


def _invalid(what: str) -> UsageError:
    return UsageError(what, "write s3://BUCKET/ecs.config", reference="usage-s3-url")


def _split(address: str) -> tuple[str, str]:
    """Split bucket and key; the ARN of an access point contains a slash."""
    if address.startswith("arn:"):
        service, _, rest = address.partition("/")
        name, _, key = rest.partition("/")
        return f"{service}/{name}", key
    bucket, _, key = address.partition("/")
    return bucket, key
