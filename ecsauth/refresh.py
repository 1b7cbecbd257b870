"""Fetch what is due, and only that, into one or more targets: what the timer does.

Nothing due and nothing drifted: no source in AWS is asked and nothing is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ecsauth.credential import Credential, Fetched, with_known_expiry
from ecsauth.engine_auth import decode
from ecsauth.errors import ClockError, EcsauthError
from ecsauth.fetch import Source, fetch_source, join, verified
from ecsauth.lease import (
    Lease,
    Leases,
    is_due_soon,
    login_digest,
    make_lease,
    owned_matches,
    source_key,
    why_due,
)
from ecsauth.update import Outcome, Request, Target, apply_fetched


class Memory(Protocol):
    """What is remembered between runs. Neither method fails: what is lost is fetched again."""

    def recall(self, target: str) -> Leases:
        """Return what is known of a target, with a salt to go on with."""

    def keep(self, target: str, leases: Leases) -> None:
        """Remember it."""


@dataclass(frozen=True)
class RefreshRequest:
    """How to refresh.

    Attributes:
        update: as for every update.
        force: everything is due.
        prune_expired: take out every login that is known to have expired, whosever it is.
        recheck: seconds after which a secret without a known end is looked at again.
        spread: 0 to 1, this run's part in the jitter.

    """

    update: Request = field(default_factory=Request)
    force: bool = False
    prune_expired: bool = False
    recheck: float = 3600.0
    spread: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A source that was due, and what came of it."""

    source: str
    why: str
    answer: Fetched


@dataclass(frozen=True)
class TargetResult:
    """What became of one target: an outcome or an error."""

    target: Target
    outcome: Outcome = field(default_factory=Outcome)
    error: EcsauthError | None = None


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did.

    Attributes:
        asked: the sources that were due.
        results: one for each target, in order.
        next_at: when something is due again (Unix seconds); None if only the next run tells.

    """

    asked: tuple[Asked, ...]
    results: tuple[TargetResult, ...]
    next_at: int | None = None


@dataclass
class _View:
    """A target as it is, and what is known of it."""

    target: Target
    leases: Leases
    present: Mapping[str, Credential]
    digests: Mapping[str, str]
    is_untidy: bool
    error: EcsauthError | None = None

    def known(self, sources: Sequence[Source]) -> list[Lease | None]:
        """Return the lease of each source."""
        return [self.leases.by_source.get(self.key(item)) for item in sources]

    def key(self, source: Source) -> str:
        """Return what the source's lease is kept under."""
        return source_key(self.leases.salt, source.name, source.fingerprint)


def refresh(
    sources: Sequence[Source],
    targets: Sequence[Target],
    request: RefreshRequest,
    memory: Memory,
    *,
    now: float,
) -> Refreshed:
    """Bring every target up to date; one that fails does not stop the others.

    Args:
        sources: of two that name the same registry, the later wins.
        targets: all get the same logins.
        request: how.
        memory: of what was fetched before.
        now: Unix seconds.

    """
    views = [_look(target, memory.recall(target.name)) for target in targets]
    due = _due(sources, views, request, now)
    asked = {
        index: Asked(
            sources[index].name,
            why,
            verified(
                fetch_source(
                    sources[index], now, _known_version(sources, index, views, request, now)
                ),
                request.update.verifier,
                request.update.verify_only_warns,
            ),
        )
        for index, why in due.items()
    }
    results, times = [], []
    for view in views:
        result, leases = _apply(view, sources, asked, request, now)
        results.append(result)
        if result.error is None:
            if not request.update.dry_run:
                memory.keep(view.target.name, leases)
            known = [leases.by_source.get(view.key(source)) for source in sources]
            times += [item.refresh_at for item in known if item and item.refresh_at]
    return Refreshed(tuple(asked.values()), tuple(results), min(times, default=None))


def _look(target: Target, leases: Leases) -> _View:
    try:
        text = target.read()
        present, digests = _digests(target, leases, text)
        is_untidy = target.layout.is_untidy(text)
    except EcsauthError as error:
        return _View(target, leases, {}, {}, is_untidy=False, error=error)
    return _View(target, leases, present, digests, is_untidy)


def _digests(
    target: Target, leases: Leases, text: bytes
) -> tuple[dict[str, Credential], dict[str, str]]:
    """Return the logins in a text of the target and their digests, by key."""
    present = {item.match: item for item in decode(target.layout.read(text)).credentials}
    return present, {match: login_digest(leases.salt, item) for match, item in present.items()}


def _due(
    sources: Sequence[Source], views: Sequence[_View], request: RefreshRequest, now: float
) -> dict[int, str]:
    """Return index → why for the sources to ask; a target that cannot be read asks for none."""
    due: dict[int, str] = {}
    readable = [view for view in views if view.error is None]
    for view in readable:
        known = view.known(sources)
        for index, (source, owned) in enumerate(zip(sources, owned_matches(known, now))):
            why = (
                why_due(known[index], view.digests, owned, now) if source.fingerprint else "looked"
            )
            if request.force:
                why = "--force"
            if why:
                due.setdefault(index, why)
    if any(sources[index].fingerprint for index in due):
        for index, source in enumerate(sources):
            if index not in due and _is_soon(source, readable, now):
                due[index] = "together with the others"
    return dict(sorted(due.items()))


def _known_version(
    sources: Sequence[Source],
    index: int,
    views: Sequence[_View],
    request: RefreshRequest,
    now: float,
) -> str:
    """Return the version of a source's answer that every target still has; empty if one has not."""
    if request.force:
        return ""
    versions = set()
    for view in views:
        known = view.known(sources)
        lease, owned = known[index], owned_matches(known, now)[index]
        if view.error is not None or lease is None or _has_expired(lease, now):
            return ""
        held = replace(lease, refresh_at=int(now) + 1)  # all but the time counts
        versions.add("" if why_due(held, view.digests, owned, now) else lease.version)
    return versions.pop() if len(versions) == 1 else ""


def _has_expired(lease: Lease, now: float) -> bool:
    expiries = [held.expires_at for held in lease.logins.values()]
    return any(item is not None and item <= now for item in expiries)


def _is_soon(source: Source, views: Sequence[_View], now: float) -> bool:
    leases = [view.leases.by_source.get(view.key(source)) for view in views]
    return any(lease is not None and is_due_soon(lease, now) for lease in leases)


def _apply(
    view: _View,
    sources: Sequence[Source],
    asked: Mapping[int, Asked],
    request: RefreshRequest,
    now: float,
) -> tuple[TargetResult, Leases]:
    if view.error is not None:
        return TargetResult(view.target, error=view.error), view.leases
    leases = _new_leases(view, sources, asked, request, now)
    fetched = _fetched(asked, leases, now)
    expired = _expired(view, sources, asked, request, now)
    dropped = expired | _unnamed(view, leases, asked, request)
    if not fetched.credentials and not dropped and not view.is_untidy:
        outcome = Outcome(problems=fetched.problems, notes=fetched.notes, warnings=fetched.warnings)
        return TargetResult(view.target, outcome), _by_key(view, sources, leases)
    said = tuple(
        f"{view.present[match].registry}: its login has expired and is taken out: pulls from it"
        " are anonymous now"
        for match in sorted(expired)
        if match not in {item.match for item in fetched.credentials}
    )
    fetched = replace(fetched, warnings=(*fetched.warnings, *said))
    # Only a source that answered has its logins in `fetched`; the others' are kept by `dropped`.
    answered = [item for item in asked.values() if not item.answer.is_unchanged]
    how = replace(request.update, replace=request.update.replace and len(answered) == len(sources))
    hold = contextlib.nullcontext() if how.dry_run else view.target.held()
    try:
        with hold:
            outcome = apply_fetched(
                fetched,
                view.target,
                how,
                now=now,
                dropped=lambda text: _still_there(view, dropped, text),
            )
    except EcsauthError as error:
        return TargetResult(view.target, Outcome(problems=fetched.problems), error), view.leases
    return TargetResult(view.target, outcome), _by_key(view, sources, leases)


def _new_leases(
    view: _View,
    sources: Sequence[Source],
    asked: Mapping[int, Asked],
    request: RefreshRequest,
    now: float,
) -> list[Lease | None]:
    """Return the lease of each source; one that gave nothing keeps the lease it had."""
    leases = view.known(sources)
    for index, item in asked.items():
        if item.answer.credentials:
            lease = make_lease(
                view.leases.salt,
                item.source,
                item.answer,
                now=now,
                spread=request.spread,
                recheck=request.recheck,
            )
            if item.answer.problems:
                lease = replace(lease, version="")  # not all of that version was taken
            is_free = not sources[index].fingerprint
            leases[index] = replace(lease, refresh_at=0) if is_free else lease
    return leases


def _fetched(asked: Mapping[int, Asked], leases: Sequence[Lease | None], now: float) -> Fetched:
    """Put the answers together, without what a later source has that was not asked."""
    owned = owned_matches(leases, now)
    answers = [
        replace(
            item.answer,
            credentials=tuple(
                found for found in item.answer.credentials if found.match in owned[index]
            ),
        )
        for index, item in asked.items()
    ]
    return join([item.source for item in asked.values()], answers)


def _unnamed(
    view: _View,
    leases: Sequence[Lease | None],
    asked: Mapping[int, Asked],
    request: RefreshRequest,
) -> frozenset[str]:
    """Return the keys in the target that no source gives, if they are to go and all are known."""
    if not request.update.replace or any(item.answer.problems for item in asked.values()):
        return frozenset()
    if any(lease is None for lease in leases):
        return frozenset()
    return frozenset(view.present) - {match for lease in leases if lease for match in lease.logins}


def _expired(
    view: _View,
    sources: Sequence[Source],
    asked: Mapping[int, Asked],
    request: RefreshRequest,
    now: float,
) -> frozenset[str]:
    """Return the keys of logins in the target that are past their time and to be taken out.

    A source that failed loses its expired logins; unless it failed because of the clock, for
    then nobody knows what has expired.
    """
    problems = [problem for item in asked.values() for problem in item.answer.problems]
    if any(isinstance(problem, ClockError) for problem in problems):
        return frozenset()
    expired = frozenset(
        match for match, item in view.present.items() if _is_expired(view, item, now)
    )
    if request.prune_expired:
        return expired
    known = view.known(sources)
    owned = owned_matches(known)
    failed = [index for index, item in asked.items() if item.answer.problems]
    theirs = {match for index in failed for match in owned[index]}
    if any(known[index] is None for index in failed):  # nobody knows what it gave before
        theirs |= expired - {match for matches in owned for match in matches}
    return expired & theirs


def _is_expired(view: _View, item: Credential, now: float) -> bool:
    for lease in view.leases.by_source.values():
        held = lease.logins.get(item.match)
        if held and held.digest == view.digests[item.match] and held.expires_at is not None:
            return held.expires_at <= now
    return with_known_expiry(item).is_expired(now)


def _still_there(view: _View, dropped: frozenset[str], text: bytes) -> frozenset[str]:
    """Return those that nobody has replaced in the text since they were looked at."""
    digests = _digests(view.target, view.leases, text)[1]
    return frozenset(match for match in dropped if digests.get(match) == view.digests[match])


def _by_key(view: _View, sources: Sequence[Source], leases: Sequence[Lease | None]) -> Leases:
    """Return the leases to keep: of these sources, and of others whose logins are still there."""
    found = {view.key(source): lease for source, lease in zip(sources, leases) if lease is not None}
    named = {match for lease in found.values() for match in lease.logins}
    others = {
        key: lease
        for key, lease in view.leases.by_source.items()
        if key not in found
        and any(
            match not in named and view.digests.get(match) == held.digest
            for match, held in lease.logins.items()
        )
    }
    return Leases(view.leases.salt, {**others, **found})
