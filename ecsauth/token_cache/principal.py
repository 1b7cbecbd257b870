"""As whom a token is asked for, as far as it can be told without asking AWS.

A session's keys change every hour and with every process; the profile, the role or the instance
does not. So what names them is the principal, and not the keys, unless they are all there is.
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
"""What the AWS SDK does not look at when it is given a profile (botocore/credentials.py)."""

_NAMES_SOMEBODY = frozenset(
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
"""A line of the credentials file that a new session of the same principal changes."""

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
    """Return the principal that calls for an account, as a digest.

    Args:
        account: the AWS account of the registry; empty for ECR Public.
        environment: variables.
        home: the home directory.
        files: the SDK's.
        boot: what names this start of this machine: if nothing else names somebody, it is the
            instance.
        secrets: what stands in the files that `INTRICATE` variables name.

    """
    profile = environment.get(f"AWS_PROFILE_{account}", "") if account else ""
    role = environment.get(f"AWS_ROLE_ARN_{account}", "") if account else ""
    dropped = _REPLACED_BY_PROFILE if profile else frozenset()
    names = [name for name in (*PRINCIPAL, *INTRICATE) if name not in dropped]
    is_named = bool(profile or files.config.content or files.credentials.content)
    is_named = is_named or any(environment.get(name) for name in _NAMES_SOMEBODY)
    parts = [profile, role, home, files.config.path, files.credentials.path]
    parts += [f"{name}={environment.get(name, '')}" for name in names]
    parts += ["" if is_named else boot]
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    lasting = b"\n".join(_lasting_lines(files.credentials.content))
    return hashlib.sha256(b"\0\0".join([text, files.config.content, lasting, secrets])).hexdigest()


def token_name(principal: str, service: str, region: str, *, fips: bool) -> str:
    """Return the name of the token that a principal has for a region, fit for a file."""
    text = "\0".join([principal, service, region, "fips" if fips else ""])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _lasting_lines(credentials: bytes) -> Iterator[bytes]:
    """Yield the lines that name somebody; a session's key if nothing else in its section does."""
    for section in re.split(rb"^(?=\s*\[)", credentials, flags=re.MULTILINE):
        lines = section.splitlines()
        has_name = any(_LASTING_NAME.match(line) for line in lines)
        for line in lines:
            if not _OF_SESSION.match(line) and not (has_name and _KEY_OF_SESSION.match(line)):
                yield line
