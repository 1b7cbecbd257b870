"""One registry's credential, its secrets never shown, and how fresh it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ecsauth.credentials.registry import AuthKey
from ecsauth.errors import SourceError

TOKEN_USERNAME = "<token>"  # noqa: S105 - a marker of the helper protocol, no secret
"""The user name by which a credential helper says that the secret is an identity token."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_UNICODE = re.compile("[\ud800-\udfff\ufffd]")


@dataclass(frozen=True)
class Credential:
    """What the agent shall send to one registry.

    Exactly one of `secret`, `identity_token` and `registry_token` decides how: a password, an
    OAuth2 refresh token, a bearer token. Times are Unix seconds.
    """

    auth_key: AuthKey
    username: str = ""
    secret: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    email: str = ""
    expires_at: int | None = None
    """When the registry stops accepting it; None if it does not expire or nobody knows."""
    requested_at: int | None = None
    """When it was asked for; None if nobody knows."""

    @property
    def match(self) -> str:
        """What tells two credentials of one target apart: the key as the agent compares it."""
        return self.auth_key.match

    @property
    def registry(self) -> str:
        """The host[:port] that it is for; ``docker.io`` for Docker Hub."""
        return self.auth_key.registry

    @property
    def needs_docker_format(self) -> bool:
        """True if ``dockercfg`` cannot carry it: it keeps nothing but ``user:password``.

        An entry without any login, which makes the agent pull anonymously, needs it too.
        """
        has_token = bool(self.identity_token or self.registry_token)
        return has_token or ":" in self.username or not any(self.login)

    def is_expired(self, now: float) -> bool:
        """Return whether it is past its time at `now` (Unix seconds); at the instant, it is."""
        return self.expires_at is not None and now >= self.expires_at

    def same_login(self, other: Credential) -> bool:
        """Return whether both send the same thing to the registry."""
        return self.login == other.login

    @property
    def login(self) -> tuple[str, str, str, str]:
        """User name, password, identity token, registry token: what reaches the registry."""
        return (self.username, self.secret, self.identity_token, self.registry_token)


@dataclass(frozen=True)
class Fetched:
    """What a source gave.

    Attributes:
        credentials: at most one per key that the agent can tell apart.
        problems: one error for each registry whose login could not be used.
        notes: what was mended or left out, each one line.
        warnings: what may not work, each one line.
        version: what the source calls this state of its secret; empty if it has no such name.
        is_unchanged: the source has nothing newer than what it gave last time; no credentials.

    """

    credentials: tuple[Credential, ...] = ()
    problems: tuple[SourceError, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    version: str = ""
    is_unchanged: bool = False


def check_login(credential: Credential) -> None:
    """Refuse a login that no registry would get unaltered.

    A control character is never part of a working login (docker login refuses it; it comes from
    ``echo`` without ``-n``), and text that is not UTF-8 reaches the registry altered.

    Raises:
        SourceError: a control character or text that is not UTF-8.

    """
    parts = (
        ("user name", credential.username),
        ("password", credential.secret),
        ("identity token", credential.identity_token),
        ("registry token", credential.registry_token),
        ("email", credential.email),
    )
    for what, value in parts:
        if fault := _text_fault(value):
            registry = credential.registry
            raise SourceError(
                f"the {what} {fault}", f"log in again: docker login {registry}", subject=registry
            )


def _text_fault(value: str) -> str:
    if _CONTROL.search(value):
        return "contains a control character"
    return "is not valid UTF-8" if _NOT_UNICODE.search(value) else ""
