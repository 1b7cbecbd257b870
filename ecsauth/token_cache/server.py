"""An ECR registry as a client requests it, and the login that it gets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ecsauth.credentials.registry import EcrRegistry, is_ecr_public, parse_ecr_host

PROGRAM = "docker-credential-ecr-login"


NOT_FOUND = "credentials not found in native keychain"


_MAX_URL = 2048


@dataclass(frozen=True)
class Login:
    """The login that `get` returns."""

    username: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Server:
    """An ECR registry as a caller requests it.

    Attributes:
        host: in lower case, without a port; empty for the caller's own registry in a region.
        registry: None for ECR Public.

    """

    host: str
    registry: EcrRegistry | None

    @property
    def fips(self) -> bool:
        """Whether its token is requested from a FIPS endpoint."""
        return self.registry is not None and self.registry.fips


def parse_server_url(text: str) -> Server | None:
    """Parse the server URL of a client: HOST, ``https://HOST/v2/`` or HOST/repository:tag.

    Returns None for a host that is not ECR's, and for ``http://``: a token must not be sent in
    plain text.
    """
    rest = text[len("https://") :] if text[:8].lower() == "https://" else text
    host = rest.partition("/")[0].removesuffix(":443").lower()
    return None if len(text) > _MAX_URL or not host.isascii() else server_of(host)


def server_of(host: str) -> Server | None:
    """Return the ECR registry of a lower-case host name; None if it is not ECR's."""
    registry = parse_ecr_host(host)
    if registry is not None or is_ecr_public(host):
        return Server(host, registry)
    return None


def login_reply(server_url: str, login: Login) -> str:
    """Return a login as one line of JSON."""
    return dumps({"ServerURL": server_url, "Username": login.username, "Secret": login.secret})


def dumps(document: Any) -> str:
    """Return JSON as Go writes it: no spaces, ASCII only."""
    return json.dumps(document, separators=(",", ":"))
