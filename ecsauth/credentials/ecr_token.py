"""The age of an ECR token that was found in a file."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.registry import is_ecr_public, parse_ecr_host


def with_known_expiry(credential: Credential) -> Credential:
    """Return it with `expires_at` read off an ECR token; any other credential unchanged."""
    host = credential.registry
    if credential.expires_at is not None or not (parse_ecr_host(host) or is_ecr_public(host)):
        return credential
    return replace(credential, expires_at=ecr_token_expiry(credential.secret))


def ecr_token_expiry(password: str) -> int | None:
    """Return when an ECR password expires (Unix seconds); None if it does not tell.

    The password is base64 of JSON with an ``expiration`` field. That is undocumented, so it only
    serves to tell the age of a token that was found in a file.
    """
    try:
        document = json.loads(base64.b64decode(password.encode("ascii"), validate=True))
    except (ValueError, binascii.Error, RecursionError):
        return None
    expiration = document.get("expiration") if isinstance(document, dict) else None
    if isinstance(expiration, bool) or not isinstance(expiration, (int, float)):
        return None
    return int(expiration) if 0 < expiration < 2**40 else None
