"""One registry's credential, with secrets kept out of its repr, and a source's answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ecsauth.credentials.registry import AuthKey
from ecsauth.errors import SourceError

TOKEN_USERNAME = "<token>"  # noqa: S105 - a marker of the helper protocol, not a secret
"""The user name with which a credential helper marks the secret as an identity token."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_UNICODE = re.compile("[\ud800-\udfff\ufffd]")


@dataclass(frozen=True)
class Credential:
    """What the agent sends to one registry.

    Exactly one of `secret` (a password), `identity_token` (an OAuth2 refresh token) and
    `registry_token` (a bearer token) is used. Times are Unix seconds.
    """

    auth_key: AuthKey
    username: str = ""
    secret: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    email: str = ""
    expires_at: int | None = None
    """When the registry stops accepting it; None if it never does or the time is unknown."""
    requested_at: int | None = None
    """When it was requested; None if unknown."""

    @property
    def match(self) -> str:
        """The key as the agent compares it; unique among the credentials of one target."""
        return self.auth_key.match

    @property
    def registry(self) -> str:
        """Its registry, host[:port]; ``docker.io`` for Docker Hub."""
        return self.auth_key.registry

    @property
    def needs_docker_format(self) -> bool:
        """True if ``dockercfg``, which holds only ``user:password``, cannot carry it.

        An entry without a login, which makes the agent pull anonymously, also needs ``docker``.
        """
        has_token = bool(self.identity_token or self.registry_token)
        return has_token or ":" in self.username or not any(self.login)

    def is_expired(self, now: float) -> bool:
        """Return whether it has expired at `now` (Unix seconds), the instant itself included."""
        return self.expires_at is not None and now >= self.expires_at

    def same_login(self, other: Credential) -> bool:
        """Return whether both send the same thing to the registry."""
        return self.login == other.login

    @property
    def login(self) -> tuple[str, str, str, str]:
        """What the registry gets: user name, password, identity token, registry token."""
        return (self.username, self.secret, self.identity_token, self.registry_token)


@dataclass(frozen=True)
class Fetched:
    """What a source returned.

    Attributes:
        credentials: at most one per key that the agent can tell apart.
        problems: one error for each registry whose login could not be used.
        notes: what was repaired or left out, one line each.
        warnings: what may not work, one line each.
        version: the source's own version of its secret; empty if it has none.
        is_unchanged: the source has nothing newer than last time; then without credentials.
        ttl: how long its logins live that do not tell their end, seconds; 0 for unknown.

    """

    credentials: tuple[Credential, ...] = ()
    problems: tuple[SourceError, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    version: str = ""
    is_unchanged: bool = False
    ttl: int = 0


def check_login(credential: Credential) -> None:
    """Refuse a login that would not reach a registry unaltered.

    A working login has no control characters (docker login refuses them; ``echo`` without ``-n``
    adds one), and text that is not UTF-8 reaches the registry altered.

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
                f"the {what} {fault}",
                f"log in again: docker login {registry}",
                subject=registry,
                reference="login-invalid-characters",
            )


def _text_fault(value: str) -> str:
    if _CONTROL.search(value):
        return "contains a control character"
    return "is not valid UTF-8" if _NOT_UNICODE.search(value) else ""
