"""Request a token from AWS, as the ECR sources do."""

from __future__ import annotations

from collections.abc import Mapping

from ecsauth.aws.ecr_tokens import EcrTokens
from ecsauth.aws.session import Aws, Identity
from ecsauth.token_cache.cache import CachedToken
from ecsauth.token_cache.server import Server

HURRIED_SECONDS = 5.0
ASK_SECONDS = 25.0
"""Limit for one login; below `flight.WAIT_SECONDS`, so that no waiting process asks too."""


class AwsAsker:
    """Requests tokens from ECR and ECR Public.

    Args:
        environment: variables of the AWS SDK, and the profile or role of an account.
        tokens: makes the calls; given if this process already has one to share.

    """

    def __init__(self, environment: Mapping[str, str], tokens: EcrTokens | None = None) -> None:
        self._environment = environment
        self._aws = Aws(environment, ASK_SECONDS)
        self._tokens = tokens or EcrTokens(self._aws)

    def __call__(self, server: Server, *, is_hurried: bool = False) -> CachedToken:
        """Return a token that serves a registry.

        Args:
            server: the registry.
            is_hurried: give up after `HURRIED_SECONDS`.

        Raises:
            SourceError: AWS gave no token; the error says why and what to do.

        """
        tokens = self._tokens
        if is_hurried:
            hurried = Aws(self._environment, HURRIED_SECONDS)
            tokens = EcrTokens(hurried)
        registry = server.registry
        if registry is None:
            token = tokens.public(Identity(), server.host)
        else:
            identity = self._aws.identity_for(registry.registry_id, Identity())
            token = tokens.private(
                registry.region,
                identity,
                server.host or f"ecr:{registry.region}",
                fips=registry.fips,
                dual_stack=registry.dual_stack,
            )
        login = token.credential(server.host or token.host)
        return CachedToken(
            login.username, login.secret, token.requested_at, token.expires_at, token.host
        )
