"""What a registry says to a login."""

from __future__ import annotations

from dataclasses import dataclass, field

ACCEPTED = "accepted"
REFUSED = "refused"
UNREACHABLE = "unreachable"
UNTRUSTED = "untrusted"


@dataclass(frozen=True)
class Verdict:
    """What a registry says to a login.

    Attributes:
        registry: host[:port]; ``docker.io`` for Docker Hub.
        username: as whom.
        outcome: ``accepted``, ``refused``, ``unreachable`` or ``untrusted`` (its certificate).
        detail: why, for people.
        key: of the credential, as it is spelled.
        realm: the host that gives tokens, if it is another than the registry's.

    """

    registry: str
    username: str
    outcome: str
    detail: str = ""
    realm: str = ""
    key: str = field(default="", compare=False)
