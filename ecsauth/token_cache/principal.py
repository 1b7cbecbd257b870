"""The principal for which a token is requested, as far as it is known without a call to AWS.

A session's keys change every hour and with every process; the profile, role or instance does not.
So the principal is identified by those, and by the keys only if nothing else identifies it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping

from ecsauth.aws.deciding import PRINCIPAL
from ecsauth.token_cache.answers import INTRICATE
from ecsauth.token_cache.sdk_files import SdkFiles

_REPLACED_BY_PROFILE = frozenset(
    {
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    }
)
"""Variables that the AWS SDK ignores when it is given a profile (botocore/credentials.py)."""

_NAMES_PRINCIPAL = frozenset(
    {
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_ROLE_ARN",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    }
)
_OF_SESSION = re.compile(
    rb"\s*(aws_secret_access_key|aws_session_token|aws_security_token|[a-z_]*expir[a-z_]*)\s*=",
    re.IGNORECASE,
)
"""A line of the credentials file that changes with each session of the same principal."""

_KEY_OF_SESSION = re.compile(rb"\s*aws_access_key_id\s*=\s*ASIA", re.IGNORECASE)
_LASTING_NAME = re.compile(rb"\s*(x_principal_arn|role_arn)\s*=", re.IGNORECASE)


def principal_of(
    account: str,
    environment: Mapping[str, str],
    home: str,
    files: SdkFiles,
    *,
    boot: str = "",
    secrets: bytes = b"",
) -> str:
    """Return a digest of the principal that is used for an account.

    Args:
        account: the AWS account of the registry; empty for ECR Public.
        environment: environment variables.
        home: the home directory.
        files: the SDK's files.
        boot: ID of this boot of the machine; it stands for the instance if nothing else
            identifies a principal.
        secrets: content of the files named by `INTRICATE` variables.

    """
    profile = environment.get(f"AWS_PROFILE_{account}", "") if account else ""
    role = environment.get(f"AWS_ROLE_ARN_{account}", "") if account else ""
    dropped = _REPLACED_BY_PROFILE if profile else frozenset()
    names = [name for name in (*PRINCIPAL, *INTRICATE) if name not in dropped]
    is_named = bool(profile or files.config.content or files.credentials.content)
    is_named = is_named or any(environment.get(name) for name in _NAMES_PRINCIPAL)
    parts = [profile, role, home, files.config.path, files.credentials.path]
    parts += [f"{name}={environment.get(name, '')}" for name in names]
    parts += ["" if is_named else boot]
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    lasting = b"\n".join(_lasting_lines(files.credentials.content))
    return hashlib.sha256(b"\0\0".join([text, files.config.content, lasting, secrets])).hexdigest()


def token_name(principal: str, service: str, region: str, *, fips: bool) -> str:
    """Return the name of a principal's token for a region, usable as a file name."""
    text = "\0".join([principal, service, region, "fips" if fips else ""])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _lasting_lines(credentials: bytes) -> Iterator[bytes]:
    """Yield the lines that identify a principal; session keys only where nothing else does."""
    for section in re.split(rb"^(?=\s*\[)", credentials, flags=re.MULTILINE):
        lines = section.splitlines()
        has_name = any(_LASTING_NAME.match(line) for line in lines)
        for line in lines:
            if not _OF_SESSION.match(line) and not (has_name and _KEY_OF_SESSION.match(line)):
                yield line
