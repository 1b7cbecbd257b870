"""When a token found in a file expires: ECR's, and JSON Web Tokens (RFC 7519)."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from typing import Any

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.registry import is_ecr_public, parse_ecr_host

ECR_TOKEN_SECONDS = 12 * 3600
"""How long an ECR token lives (Amazon ECR API reference, GetAuthorizationToken)."""


def with_known_expiry(credential: Credential) -> Credential:
    """Return it with `expires_at` and `requested_at` as its token says; unchanged if it does not.

    Of other registries than ECR only a JSON Web Token says when it ends.
    """
    host = credential.registry
    if credential.expires_at is not None:
        return credential
    if parse_ecr_host(host) or is_ecr_public(host):
        expires_at = ecr_token_expiry(credential.secret)
        issued_at = None if expires_at is None else expires_at - ECR_TOKEN_SECONDS
        return replace(credential, expires_at=expires_at, requested_at=issued_at)
    token = credential.identity_token or credential.registry_token or credential.secret
    issued_at, expires_at = jwt_times(token)
    return replace(credential, expires_at=expires_at, requested_at=issued_at)


def ecr_token_expiry(password: str) -> int | None:
    """Return when an ECR password expires (Unix seconds); None if it does not say.

    The password is base64 of JSON with an ``expiration`` field. That is undocumented, so it is
    used only for tokens found in a file.
    """
    try:
        document = json.loads(base64.b64decode(password.encode("ascii"), validate=True))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return _time(document, "expiration")


def jwt_times(token: str) -> tuple[int | None, int | None]:
    """Return when a JSON Web Token was issued and expires (Unix seconds); None if it is not said.

    Its signature is not checked: the times only decide when it is renewed.
    """
    if not token.startswith("eyJ") or token.count(".") != 2:
        return None, None
    claims = token.split(".")[1]
    try:
        document = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None, None
    expires_at = _time(document, "exp")
    return (None, None) if expires_at is None else (_time(document, "iat"), expires_at)


def _time(document: Any, name: str) -> int | None:
    value = document.get(name) if isinstance(document, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 < value < 2**40 else None
