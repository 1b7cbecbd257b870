"""ECR and ECR Public as sources: authorization tokens become credentials.

One call gives a token for every registry that the caller can reach in a region, whatever
``registryIds`` says (Amazon ECR API reference, GetAuthorizationToken), so tokens are shared by
region and identity. ECR Public has one region for this, us-east-1, and no proxy endpoint.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ecsauth.aws import Aws, Identity, aws_error
from ecsauth.credential import Credential, Fetched, check_login
from ecsauth.errors import SourceError
from ecsauth.registry import EcrRegistry, parse_auth_key, parse_ecr_host

PUBLIC_REGION = "us-east-1"
PUBLIC_HOST = "public.ecr.aws"
_POLICY = "AmazonEC2ContainerRegistryReadOnly"
_PUBLIC_POLICY = "AmazonElasticContainerRegistryPublicReadOnly"


@dataclass(frozen=True)
class Token:
    """An authorization token, decoded.

    Attributes:
        host: of the registry that the answer names; empty for ECR Public.
        username: AWS.
        password: the token's.
        expires_at: Unix seconds.

    """

    host: str
    username: str
    password: str = field(repr=False)
    expires_at: int = 0

    def credential(self, host: str) -> Credential:
        """Return the credential for a registry host."""
        key = parse_auth_key(host)
        found = Credential(key, self.username, self.password, expires_at=self.expires_at)
        check_login(found)
        return found


class EcrTokens:
    """Asks for tokens; one call for each region, identity and kind of endpoint.

    Args:
        aws: makes the clients.
        clock: Unix seconds.

    """

    def __init__(self, aws: Aws, clock: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._clock = clock
        self._answers: dict[tuple[object, ...], Token] = {}

    def private(
        self, region: str, identity: Identity, subject: str, *, fips: bool, dual_stack: bool
    ) -> Token:
        """Return the token of a region.

        Raises:
            SourceError: no token; says why and what to do.

        """
        key = ("ecr", region, identity, fips, dual_stack)
        if key not in self._answers:
            client = self._aws.client(
                "ecr", region, identity, subject, fips=fips, dual_stack=dual_stack
            )
            action = "ecr:GetAuthorizationToken"
            answer = _call(client.get_authorization_token, subject, action, _POLICY)
            data = answer.get("authorizationData")
            first = data[0] if isinstance(data, list) and data else None
            self._answers[key] = self._decode(first, subject)
        return self._answers[key]

    def public(self, identity: Identity, subject: str) -> Token:
        """Return the token of ECR Public.

        Raises:
            SourceError: as `private`.

        """
        key = ("ecr-public", identity)
        if key not in self._answers:
            client = self._aws.client("ecr-public", PUBLIC_REGION, identity, subject)
            action = "ecr-public:GetAuthorizationToken (and sts:GetServiceBearerToken)"
            answer = _call(client.get_authorization_token, subject, action, _PUBLIC_POLICY)
            self._answers[key] = self._decode(answer.get("authorizationData"), subject)
        return self._answers[key]

    def _decode(self, data: Any, subject: str) -> Token:
        if not isinstance(data, Mapping):
            raise SourceError(f"{subject}: AWS answered without authorization data")
        username, password = _decode_token(str(data.get("authorizationToken", "")), subject)
        moment = data.get("expiresAt")
        expires_at = int(moment.timestamp()) if moment is not None else 0
        if expires_at <= self._clock():
            raise SourceError(
                f"{subject}: AWS gave a token that has expired", "look at the clock of this host"
            )
        host = str(data.get("proxyEndpoint") or "").removeprefix("https://")
        return Token(host, username, password, expires_at)


class EcrSource:
    """Private ECR: the caller's own registry, or the one of a host name.

    Args:
        name: what to call it in messages.
        tokens: asks AWS.
        aws: for the default region and the identity of an account.
        identity: as whom; what is empty comes from the account's variables.
        region: empty for the default; not used with `registry`.
        registry: read off a host name; None for the caller's own.

    """

    def __init__(
        self,
        name: str,
        tokens: EcrTokens,
        aws: Aws,
        identity: Identity,
        region: str = "",
        registry: EcrRegistry | None = None,
    ) -> None:
        self.name = name
        self._tokens = tokens
        self._aws = aws
        self._identity = identity
        self._region = region
        self._registry = registry

    def fetch(self) -> Fetched:
        """Return the one credential.

        Raises:
            SourceError: no token; says why and what to do.

        """
        found = self._registry
        identity = self._identity
        if found is not None:
            identity = self._aws.identity_for(found.registry_id, identity)
        region = found.region if found else self._region or self._aws.region(identity, self.name)
        token = self._tokens.private(
            region,
            identity,
            self.name,
            fips=bool(found and found.fips),
            dual_stack=bool(found and found.dual_stack),
        )
        if found is None and parse_ecr_host(token.host) is None:
            raise SourceError(f"{self.name}: AWS named a host that is no ECR registry")
        return Fetched((token.credential(found.host if found else token.host),))


class EcrPublicSource:
    """ECR Public. Without AWS credentials pulls from it still work, anonymously and slower."""

    def __init__(self, name: str, tokens: EcrTokens, identity: Identity) -> None:
        self.name = name
        self._tokens = tokens
        self._identity = identity

    def fetch(self) -> Fetched:
        """Return the one credential.

        Raises:
            SourceError: as `EcrSource.fetch`.

        """
        token = self._tokens.public(self._identity, self.name)
        return Fetched((token.credential(PUBLIC_HOST),))


def _call(method: Callable[[], Any], subject: str, action: str, policy: str) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return method()
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, subject, action, policy) from error


def _decode_token(text: str, subject: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise SourceError(f"{subject}: AWS gave a token that is not base64") from None
    username, colon, password = decoded.partition(":")
    if not colon or not password:
        raise SourceError(f"{subject}: AWS gave a token without a password")
    return username, password
