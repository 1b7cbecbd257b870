"""ECR and ECR Public as sources: authorization tokens become credentials.

One call gives a token for every registry that the caller can reach in a region, whatever
``registryIds`` says (Amazon ECR API reference, GetAuthorizationToken), so tokens are shared by
region and identity. ECR Public has one region for this, us-east-1, and no proxy endpoint.
"""

from __future__ import annotations

from ecsauth.aws.ecr_tokens import NO_AWS, PUBLIC_HOST, EcrTokens
from ecsauth.aws.session import Aws, Identity
from ecsauth.credentials.credential import Fetched
from ecsauth.credentials.registry import EcrRegistry, parse_ecr_host
from ecsauth.errors import SourceError


class EcrSource:
    """Private ECR: the caller's own registry, or that of a host name.

    Args:
        name: for messages.
        tokens: requests tokens from AWS.
        aws: for the default region and the identity of an account.
        identity: to use; its empty fields come from the account's variables.
        region: empty for the default; not used with `registry`.
        registry: parsed from a host name; None for the caller's own.

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
        self.fingerprint = f"{name} {identity} {region}\n{aws.deciding_settings()}"
        self.tokens = tokens
        self._aws = aws
        self.identity = identity
        self.region = region
        self.registry = registry

    def fetch(self) -> Fetched:
        """Return the one credential.

        Raises:
            SourceError: there is no token; says why and what to do.

        """
        found = self.registry
        identity = self.identity
        if found is not None:
            identity = self._aws.identity_for(found.registry_id, identity)
        region = found.region if found else self.own_region()
        token = self.tokens.private(
            region,
            identity,
            self.name,
            fips=bool(found and found.fips),
            dual_stack=bool(found and found.dual_stack),
        )
        if found is None:
            named = parse_ecr_host(token.host)
            if named is None or named.region != region:
                raise SourceError(
                    f"AWS returned a host that is not an ECR registry in {region}",
                    NO_AWS,
                    subject=self.name,
                    reference="aws-unexpected-answer",
                )
        return Fetched((token.credential(found.host if found else token.host),))

    def own_region(self) -> str:
        """Return the region of the caller's own registry.

        Raises:
            SourceError: none is set.

        """
        return self.region or self._aws.region(self.identity, self.name)


class EcrPublicSource:
    """ECR Public. Without AWS credentials, pulls still work, anonymously and slower."""

    def __init__(self, name: str, tokens: EcrTokens, aws: Aws, identity: Identity) -> None:
        self.name = name
        self.fingerprint = f"{name} {identity}\n{aws.deciding_settings()}"
        self.tokens = tokens
        self.identity = identity

    def fetch(self) -> Fetched:
        """Return the one credential.

        Raises:
            SourceError: as `EcrSource.fetch`.

        """
        token = self.tokens.public(self.identity, self.name)
        return Fetched((token.credential(PUBLIC_HOST),))
