"""A registry's answer to a login."""

from __future__ import annotations

from dataclasses import dataclass, field

ACCEPTED = "accepted"
REFUSED = "refused"
UNREACHABLE = "unreachable"
UNTRUSTED = "untrusted"


@dataclass(frozen=True)
class Verdict:
    """A registry's answer to a login.

    Attributes:
        registry: host[:port]; ``docker.io`` for Docker Hub.
        username: that was sent.
        outcome: ``accepted``, ``refused``, ``unreachable`` or ``untrusted`` (the certificate).
        detail: why, for display.
        key: the credential's key as spelled.
        realm: the token server's host, if it differs from the registry's.

    """

    registry: str
    username: str
    outcome: str
    detail: str = ""
    realm: str = ""
    key: str = field(default="", compare=False)
