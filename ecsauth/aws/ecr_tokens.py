"""Authorization tokens of ECR and ECR Public, requested once per identity and region."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ecsauth.aws.failure import Call
from ecsauth.aws.session import Aws, Identity
from ecsauth.credentials.credential import Credential, check_login
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.errors import ClockError, SourceError

PUBLIC_REGION = "us-east-1"


PUBLIC_HOST = "public.ecr.aws"


TARGETS = {
    "ecr": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
    "ecr-public": "SpencerFrontendService.GetAuthorizationToken",
}
"""Service → X-Amz-Target of GetAuthorizationToken."""


_LAST = 2**40


_LIFE_SECONDS = 12 * 3600
"""Lifetime of a token; a later expiry time is not believed."""


NO_AWS = "check for a proxy or a wrong AWS_ENDPOINT_URL"


_POLICY = "AmazonEC2ContainerRegistryReadOnly"


_PUBLIC_POLICY = "AmazonElasticContainerRegistryPublicReadOnly"


@dataclass(frozen=True)
class Token:
    """A decoded authorization token. Times are Unix seconds.

    Attributes:
        host: host of the registry that the answer names; empty for ECR Public.

    """

    host: str
    username: str
    password: str = field(repr=False)
    expires_at: int = 0
    requested_at: int = 0

    def credential(self, host: str) -> Credential:
        """Return the credential for a registry host."""
        found = Credential(
            parse_auth_key(host),
            self.username,
            self.password,
            expires_at=self.expires_at,
            requested_at=self.requested_at,
        )
        check_login(found)
        return found


class EcrTokens:
    """Requests tokens: one call per region, identity and endpoint type, even if it fails.

    Args:
        aws: makes the calls.
        clock: Unix seconds.
        is_direct: avoid a client where possible, which saves time and memory.

    """

    def __init__(
        self, aws: Aws, clock: Callable[[], float] = time.time, *, is_direct: bool = True
    ) -> None:
        self._aws = aws
        self._is_direct = is_direct
        self._clock = clock
        self._answers: dict[tuple[object, ...], Token] = {}
        self._failures: dict[tuple[object, ...], SourceError] = {}

    def private(
        self, region: str, identity: Identity, subject: str, *, fips: bool, dual_stack: bool
    ) -> Token:
        """Return the token for a region.

        Raises:
            SourceError: there is no token; it says why and what to do.

        """

        def ask() -> Token:
            call = Call(subject, "ecr:GetAuthorizationToken", region, _POLICY)
            begun = self._clock()
            answer = self._get("ecr", call, identity, fips=fips, dual_stack=dual_stack)
            data = answer.get("authorizationData")
            return self._decode(data[0] if isinstance(data, list) and data else None, call, begun)

        return self._once(("ecr", region, identity, fips, dual_stack), subject, ask)

    def public(self, identity: Identity, subject: str) -> Token:
        """Return the token for ECR Public.

        Raises:
            SourceError: as `private`.

        """

        def ask() -> Token:
            action = "ecr-public:GetAuthorizationToken (with sts:GetServiceBearerToken)"
            call = Call(subject, action, PUBLIC_REGION, _PUBLIC_POLICY)
            begun = self._clock()
            answer = self._get("ecr-public", call, identity)
            return self._decode(answer.get("authorizationData"), call, begun)

        return self._once(("ecr-public", identity), subject, ask)

    def _get(
        self,
        service: str,
        call: Call,
        identity: Identity,
        *,
        fips: bool = False,
        dual_stack: bool = False,
    ) -> Mapping[str, Any]:
        if self._is_direct and not fips and not dual_stack:
            answer = self._aws.call_directly(call, identity, TARGETS[service], service)
            if answer is not None:
                return answer
        client = self._aws.client(
            service, call.region, identity, call.subject, fips=fips, dual_stack=dual_stack
        )
        return self._aws.call(call, identity, client.get_authorization_token)

    def _once(self, key: tuple[object, ...], subject: str, ask: Callable[[], Token]) -> Token:
        if key in self._failures:
            raise self._failures[key].of_subject(subject)
        if key not in self._answers:
            try:
                self._answers[key] = ask()
            except SourceError as error:
                self._failures[key] = error
                raise
        return self._answers[key]

    def _decode(self, data: Any, call: Call, requested_at: float) -> Token:
        if not isinstance(data, Mapping):
            raise _unexpected("AWS answered without authorization data", call.subject)
        username, password = _decode_token(str(data.get("authorizationToken", "")), call.subject)
        expires_at = _unix_seconds(data.get("expiresAt"))
        expires_at = min(expires_at, int(requested_at) + _LIFE_SECONDS)
        if expires_at <= self._clock():
            raise ClockError(
                "AWS returned a token that has expired",
                "check the clock of this host (date -u)",
                subject=call.subject,
            )
        host = str(data.get("proxyEndpoint") or "").removeprefix("https://")
        return Token(host, username, password, expires_at, int(requested_at))


def _unix_seconds(moment: Any) -> int:
    """Convert a datetime (from a client) or a number (from AWS) to Unix seconds; 0 if neither."""
    if isinstance(moment, datetime):
        return int(moment.timestamp())
    is_number = isinstance(moment, (int, float)) and 0 < moment < _LAST
    return int(moment) if is_number else 0


def _decode_token(text: str, subject: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise _unexpected("AWS returned a token that is not base64", subject) from None
    username, colon, password = decoded.partition(":")
    if not colon:
        raise _unexpected("AWS returned a token without a colon", subject)
    if not password:
        raise _unexpected("AWS returned a token without a password", subject)
    return username, password


def _unexpected(what: str, subject: str) -> SourceError:
    return SourceError(what, NO_AWS, subject=subject, reference="aws-unexpected-answer")
