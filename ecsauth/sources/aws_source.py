"""How a SOURCE of the command line names AWS: ``ecr:…`` and ``ecr-public:``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from ecsauth.aws import Aws, Identity
from ecsauth.errors import UsageError
from ecsauth.registry import parse_ecr_host
from ecsauth.sources.ecr import EcrPublicSource, EcrSource, EcrTokens

SCHEMES = ("ecr", "ecr-public")
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
_PARAMETERS = ("profile", "role_arn", "external_id")


@dataclass(frozen=True)
class AwsAccess:
    """What the AWS sources of one command share, so that a token is asked for once."""

    aws: Aws
    tokens: EcrTokens


def open_access(environment: Mapping[str, str]) -> AwsAccess:
    """Return what the AWS sources of one command share; asks nobody yet."""
    aws = Aws(environment)
    return AwsAccess(aws, EcrTokens(aws))


def parse_aws_source(text: str, access: AwsAccess) -> EcrSource | EcrPublicSource:
    """Understand ``ecr:``, ``ecr:REGION``, ``ecr:HOST`` and ``ecr-public:``.

    Parameters after ``?``: profile, role_arn, external_id.

    Raises:
        UsageError: what follows the colon is neither, or a parameter is unknown.

    """
    scheme, _, rest = text.partition(":")
    name, _, query = rest.partition("?")
    identity = _identity(query)
    if scheme == "ecr-public":
        if name:
            raise UsageError("nothing follows ecr-public: but parameters")
        return EcrPublicSource(f"{scheme}:", access.tokens, identity)
    plain = f"{scheme}:{name}"  # for messages: an external id is nobody else's business
    registry = parse_ecr_host(name)
    if name and registry is None and not _REGION.fullmatch(name):
        raise UsageError(
            f"{plain} names neither a region nor an ECR host",
            "such as ecr:us-west-2 or ecr:123456789012.dkr.ecr.us-west-2.amazonaws.com",
        )
    region = "" if registry else name
    return EcrSource(plain, access.tokens, access.aws, identity, region, registry)


def _identity(query: str) -> Identity:
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    unknown = [name for name in pairs if name not in _PARAMETERS]
    if unknown:
        raise UsageError(
            "an unknown parameter follows the ?", f"there are {', '.join(_PARAMETERS)}"
        )
    return Identity(**pairs)
