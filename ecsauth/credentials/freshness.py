"""What each source last returned, and when it is due again. Pure; holds no secret.

A credential is stale (due) at half its life. Some hosts refresh a little earlier than others, so
that a fleet that started together does not keep asking together. It is expired once its end has
passed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ecsauth.credentials.credential import Credential, Fetched

STALE_AT = 0.5
"""The fraction of its life after which a credential is due at the latest."""

SPREAD = 0.1
"""How much earlier than `STALE_AT` it may be due, as a fraction of its life."""

TOGETHER_SECONDS = 30 * 60
"""When anything is fetched, sources due within this time are fetched too, for a single write."""

RESTART_LEFT = (0.2, 0.25)
"""The fraction of a token's life that is left when the agent is restarted for its renewal."""

QUIET_LEFT = 0.125
"""The fraction of a token's life that must be left for a restart to wait for a quiet moment."""

CLOCK_SECONDS = 5 * 60
"""A recorded time further ahead than this means that the clock has since been set back."""


@dataclass(frozen=True)
class LoginRecord:
    """One login that a source returned.

    Attributes:
        digest: of the login, see `login_digest`.
        expires_at: Unix seconds; None if it never expires or the time is unknown.
        issued_at: Unix seconds; None if unknown.
        has_changed: whether the source returned another login the time before.

    """

    digest: str
    expires_at: int | None = None
    issued_at: int | None = None
    has_changed: bool = False


@dataclass(frozen=True)
class Lease:
    """What one source returned for one target. Times are Unix seconds.

    Attributes:
        source: its display name.
        fetched_at: when it was asked.
        refresh_at: when to ask again; 0 for a source that is asked each time.
        version: the source's own version of its secret; may be empty.
        logins: key as the agent compares it → the login returned for it.

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
        salt: random text that keys the digests.
        by_source: `source_key` → lease.

    """

    salt: str = ""
    by_source: Mapping[str, Lease] = field(default_factory=dict)

    def of(self, match: str) -> Lease | None:
        """Return the latest lease with a login for this key, spelled as the agent compares it."""
        found = [item for item in self.by_source.values() if match in item.logins]
        return max(found, key=lambda item: item.fetched_at, default=None)


@dataclass(frozen=True)
class RunningLogin:
    """One login that the agent runs with, or will run with. Times are Unix seconds.

    Attributes:
        user: digest of what a renewal keeps: the user name and the kind of login.
        digest: of the whole login.
        issued_at: when its life began; None if unknown.
        expires_at: when its life ends; None if it does not, or if unknown.

    """

    user: str
    digest: str
    issued_at: int | None = None
    expires_at: int | None = None

    @property
    def life(self) -> int | None:
        """Seconds from issue to expiry; None if unknown."""
        if self.issued_at is None or self.expires_at is None:
            return None
        return max(0, self.expires_at - self.issued_at)

    def late_at(self, chance: float) -> int | None:
        """Return when to restart the agent for its renewal, Unix seconds; None if unknown.

        Args:
            chance: 0 to 1, the host's fixed place between a quarter and a fifth of its life left.

        """
        if self.life is None or self.expires_at is None:
            return None
        least, most = RESTART_LEFT
        return int(self.expires_at - (most - (most - least) * chance) * self.life)


def source_key(salt: str, name: str, fingerprint: str) -> str:
    """Return the key of a source's lease; it changes with any property of the source."""
    return _digest(salt, "source", name, fingerprint)


def login_digest(salt: str, credential: Credential) -> str:
    """Return a digest that compares logins without revealing them (HMAC-SHA256, keyed by salt)."""
    return _digest(salt, *credential.login)


def make_lease(
    salt: str, name: str, fetched: Fetched, *, now: float, spread: float, recheck: float
) -> Lease:
    """Record what a source returned.

    Args:
        salt: for the digests.
        name: of the source.
        fetched: its answer; one with problems is due again at once.
        now: Unix seconds.
        spread: this host's jitter, 0 to 1; the same throughout one run.
        recheck: seconds after which a secret without a known end is checked again.

    """
    logins = {
        item.match: LoginRecord(login_digest(salt, item), item.expires_at, item.requested_at)
        for item in fetched.credentials
    }
    due = int(now) if fetched.problems else refresh_at(fetched.credentials, now, spread, recheck)
    return Lease(name, int(now), due, fetched.version, logins)


def refresh_at(credentials: Sequence[Credential], now: float, spread: float, recheck: float) -> int:
    """Return when to ask again (Unix seconds): when the first of the credentials is due."""
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
    """Return why a source must be asked now, in a few words; empty if it need not be.

    Args:
        lease: its last lease; None if there is none.
        present: key → digest of the login in the target.
        owned: the keys for which this source takes precedence.
        now: Unix seconds.

    """
    if lease is None:
        return "not asked before"
    if now < lease.fetched_at - CLOCK_SECONDS:
        return "the clock was set back"
    if now >= lease.refresh_at:
        return "it is due"
    for match, record in lease.logins.items():
        if match in owned and match not in present:
            return f"{match} is missing from the target"
        if match in owned and present[match] != record.digest:
            return f"{match} was changed in the target"
    return ""


def is_due_soon(lease: Lease, now: float, ahead: float = TOGETHER_SECONDS) -> bool:
    """Return whether it is due within `ahead` seconds."""
    return now >= lease.refresh_at - ahead


def owned_matches(
    leases: Sequence[Lease | None], now: float | None = None
) -> tuple[frozenset[str], ...]:
    """Return for each source the keys it owns; where several have a key, the last one owns it.

    With `now` (Unix seconds), expired logins are ignored.
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


def running_login(salt: str, item: Credential, lease: Lease | None) -> RunningLogin:
    """Return the record of a login that the agent runs with."""
    digest = login_digest(salt, item)
    kinds = "".join("1" if part else "0" for part in item.login[1:])
    record = lease.logins.get(item.match) if lease else None
    issued, expires = item.requested_at, item.expires_at
    if lease and record and record.digest == digest and record.expires_at is not None:
        issued, expires = record.issued_at or lease.fetched_at, record.expires_at
    return RunningLogin(_digest(salt, "user", item.username, kinds), digest, issued, expires)


def restart_due_at(
    running: Mapping[str, RunningLogin], wanted: Mapping[str, RunningLogin], chance: float
) -> int | None:
    """Return when to restart the agent so that it runs with `wanted` (Unix seconds).

    A mere renewal waits until a quarter to a fifth of the running login's life is left.

    Args:
        running: match → login that the agent runs with.
        wanted: match → login that it should run with.
        chance: 0 to 1, the host's fixed place between a quarter and a fifth.

    Returns:
        None if a change is more than a renewal, so that the restart is due at once.

    """
    if set(running) != set(wanted):
        return None
    times = []
    for match, old in running.items():
        if old.digest == wanted[match].digest:
            continue
        due_at = old.late_at(chance)
        if old.user != wanted[match].user or due_at is None:
            return None
        times.append(due_at)
    return min(times, default=None)


def quiet_until(running: Mapping[str, RunningLogin]) -> float:
    """Return until when a restart may wait for a quiet moment (Unix seconds)."""
    times = [
        item.expires_at - QUIET_LEFT * item.life
        for item in running.values()
        if item.expires_at is not None and item.life is not None
    ]
    return min(times, default=0.0)


def _digest(salt: str, *parts: str) -> str:
    import hashlib  # with OpenSSL 10 ms, and convert compares nothing
    import hmac

    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hmac.new(salt.encode(), text, hashlib.sha256).hexdigest()[:32]
