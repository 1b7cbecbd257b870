"""What was had from a source, when, and when it is due again. Pure, and no secret in it.

A credential is stale (due) at half its life, a little earlier on some hosts than on others, so
that a fleet that started together does not ask together for ever. It is expired when it is past
its time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ecsauth.credentials.credential import Credential, Fetched

STALE_AT = 0.5
"""The part of its life after which a credential is due at the latest."""

SPREAD = 0.1
"""How much earlier than `STALE_AT` it may be due, as a part of its life."""

TOGETHER_SECONDS = 30 * 60
"""If anything is fetched, then also what is due this soon: one write for all of it."""

CLOCK_SECONDS = 5 * 60
"""A time further ahead than this was noted by a clock that has since been set back."""


@dataclass(frozen=True)
class LoginRecord:
    """One login that a source gave.

    Attributes:
        digest: of the login, see `login_digest`.
        expires_at: Unix seconds; None if it does not expire or nobody knows.

    """

    digest: str
    expires_at: int | None = None


@dataclass(frozen=True)
class Lease:
    """What one source gave to one target. Times are Unix seconds.

    Attributes:
        source: its name, for people.
        fetched_at: when it was asked.
        refresh_at: when it is to be asked again; 0 for a source that is asked each time.
        version: what the source calls this state of its secret; may be empty.
        logins: key as the agent compares it → what was given for it.

    """

    source: str
    fetched_at: int
    refresh_at: int
    version: str = ""
    logins: Mapping[str, LoginRecord] = field(default_factory=dict)


@dataclass(frozen=True)
class Leases:
    """All leases of one target.

    Attributes:
        salt: random text that the digests are made with.
        by_source: `source_key` → lease.

    """

    salt: str = ""
    by_source: Mapping[str, Lease] = field(default_factory=dict)

    def of(self, match: str) -> Lease | None:
        """Return the lease that gave a key, as the agent compares it, last."""
        found = [item for item in self.by_source.values() if match in item.logins]
        return max(found, key=lambda item: item.fetched_at, default=None)


def source_key(salt: str, name: str, fingerprint: str) -> str:
    """Return what a source's lease is kept under: another if anything of the source changes."""
    return _digest(salt, "source", name, fingerprint)


def login_digest(salt: str, credential: Credential) -> str:
    """Return what tells two logins apart without being one (HMAC-SHA256 keyed by the salt)."""
    return _digest(salt, *credential.login)


def make_lease(
    salt: str, name: str, fetched: Fetched, *, now: float, spread: float, recheck: float
) -> Lease:
    """Note what a source gave.

    Args:
        salt: for the digests.
        name: of the source.
        fetched: its answer; one with problems is due again at once.
        now: Unix seconds.
        spread: 0 to 1, this host's part in the jitter; the same for all of one run.
        recheck: seconds after which a secret without a known end is looked at again.

    """
    logins = {
        item.match: LoginRecord(login_digest(salt, item), item.expires_at)
        for item in fetched.credentials
    }
    due = int(now) if fetched.problems else refresh_at(fetched.credentials, now, spread, recheck)
    return Lease(name, int(now), due, fetched.version, logins)


def refresh_at(credentials: Sequence[Credential], now: float, spread: float, recheck: float) -> int:
    """Return when to ask again (Unix seconds): the earliest of what the credentials call for."""
    times = [now + recheck * (1 - 2 * SPREAD * spread)]
    expiring = [item for item in credentials if item.expires_at is not None]
    if credentials and len(expiring) == len(credentials):
        times = []
    for item in expiring:
        begun = min(now, now if item.requested_at is None else item.requested_at)
        life = max(0.0, (item.expires_at or 0) - begun)
        times.append(begun + life * (STALE_AT - SPREAD * spread))
    return int(min(times))


def why_due(
    lease: Lease | None, present: Mapping[str, str], owned: Collection[str], now: float
) -> str:
    """Say why a source must be asked now, in a few words; empty if it need not.

    Args:
        lease: what it gave before; None if nothing is known of it.
        present: key → digest of the login that is in the target.
        owned: the keys for which this source, of all of them, counts.
        now: Unix seconds.

    """
    if lease is None:
        return "not asked before"
    if now < lease.fetched_at - CLOCK_SECONDS:
        return "the clock was set back"
    if now >= lease.refresh_at:
        return "it is time"
    for match, record in lease.logins.items():
        if match in owned and match not in present:
            return f"{match} is missing in the target"
        if match in owned and present[match] != record.digest:
            return f"{match} was changed in the target"
    return ""


def is_due_soon(lease: Lease, now: float) -> bool:
    """Return whether it would be due shortly anyway."""
    return now >= lease.refresh_at - TOGETHER_SECONDS


def owned_matches(
    leases: Sequence[Lease | None], now: float | None = None
) -> tuple[frozenset[str], ...]:
    """Return for each source the keys for which it counts: of two with the same, the later.

    With `now` (Unix seconds), what has expired counts for nobody.
    """
    owner = {
        match: index
        for index, lease in enumerate(leases)
        if lease is not None
        for match, record in lease.logins.items()
        if now is None or record.expires_at is None or now < record.expires_at
    }
    return tuple(
        frozenset(match for match in (lease.logins if lease else ()) if owner.get(match) == index)
        for index, lease in enumerate(leases)
    )


def _digest(salt: str, *parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hmac.new(salt.encode(), text, hashlib.sha256).hexdigest()[:32]
