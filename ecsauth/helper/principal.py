"""As whom a token is asked for, as far as it can be told without asking AWS.

A session's keys change every hour and with every process; the profile, the role or the instance
does not. So what names them is the principal, and not the keys, unless they are all there is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ecsauth.helper.answers import DECIDING

_REPLACED_BY_PROFILE = frozenset(
    {
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    }
)
"""What the AWS SDK does not look at when it is given a profile (botocore/credentials.py)."""

_SESSION_LINE = re.compile(
    rb"^\s*(aws_secret_access_key|aws_session_token|aws_security_token"
    rb"|aws_access_key_id\s*=\s*ASIA|[a-z_]*expir[a-z_]*)",
    re.IGNORECASE,
)
"""A line of the credentials file that a new session of the same principal changes."""


def principal_of(
    account: str, environment: Mapping[str, str], home: str, config: bytes, credentials: bytes
) -> str:
    """Return the principal that calls for an account, as a digest.

    Args:
        account: the AWS account of the registry; empty for ECR Public.
        environment: variables.
        home: the home directory.
        config: the SDK's configuration file; empty if there is none.
        credentials: its credentials file.

    """
    profile = environment.get(f"AWS_PROFILE_{account}", "") if account else ""
    role = environment.get(f"AWS_ROLE_ARN_{account}", "") if account else ""
    dropped = _REPLACED_BY_PROFILE if profile else frozenset()
    named = [f"{name}={environment.get(name, '')}" for name in DECIDING if name not in dropped]
    lasting = [line for line in credentials.splitlines() if not _SESSION_LINE.match(line)]
    parts = [profile, role, home, *named]
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(b"\0\0".join([text, config, *lasting])).hexdigest()


def token_name(principal: str, service: str, region: str, *, fips: bool) -> str:
    """Return the name of the token that a principal has for a region, fit for a file."""
    text = "\0".join([principal, service, region, "fips" if fips else ""])
    return hashlib.sha256(text.encode()).hexdigest()[:40]
