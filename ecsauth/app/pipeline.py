"""The pipeline: query the sources, merge what they return into the targets.

convert, migrate, publish, pull and refresh are this pipeline with different ends. With `DueOptions`
only what is due is queried: if nothing is due and nothing has drifted, no source in AWS is queried
and nothing is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Callable

from ecsauth.app.fetch import Verification, fetch_source, join, verified
from ecsauth.app.requests import MergeOptions
from ecsauth.app.update import Outcome, merge_into
from ecsauth.credentials.credential import Credential, Fetched
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.freshness import (
    TOGETHER_SECONDS,
    Lease,
    Leases,
    is_due_soon,
    login_digest,
    make_lease,
    owned_matches,
    refresh_at,
    source_key,
    why_due,
)
from ecsauth.credentials.lease_text import pack, unpack
from ecsauth.engine_auth.codec import decode
from ecsauth.errors import ClockError, EcsauthError, SourceError
from ecsauth.sources.source import Source
from ecsauth.targets.stdout import Stdout
from ecsauth.targets.target import RememberingTarget, Target


@dataclass(frozen=True)
class DueOptions:
    """Query only what is due.

    Attributes:
        force: everything is due.
        prune_expired: remove every login that is known to have expired, whatever its source.
        recheck: seconds after which a secret without a known expiry is read again.
        spread: 0 to 1, this run's share of the jitter.
        ahead: seconds; what is due within them is renewed now; 0 for the usual half hour, and only
            together with something that is due.

    """

    force: bool = False
    prune_expired: bool = False
    recheck: float = 3600.0
    spread: float = 0.0
    ahead: float = 0.0


@dataclass(frozen=True)
class Flow:
    """How the pipeline works.

    Attributes:
        merge: how credentials are merged.
        due: query only what is due; None queries every source.
        verify: logs in with each credential first; None skips that.

    """

    merge: MergeOptions = field(default_factory=MergeOptions)
    due: DueOptions | None = None
    verify: Verification | None = None


@dataclass(frozen=True)
class Asked:
    """A source that was due, and its answer."""

    source: str
    why: str
    answer: Fetched


@dataclass(frozen=True)
class TargetResult:
    """The result for one target: an outcome or an error.

    Attributes:
        leases: what each source last returned for it; None without `DueOptions`.

    """

    target: Target
    outcome: Outcome = field(default_factory=Outcome)
    error: EcsauthError | None = None
    leases: Leases | None = None

    @property
    def is_stdout(self) -> bool:
        """Whether the settings went to standard output."""
        return isinstance(self.target, Stdout)

    @property
    def exit_code(self) -> int:
        """The exit code of a command that writes only this target."""
        if self.error is not None:
            return self.error.exit_code
        return SourceError.exit_code if self.outcome.problems else 0


@dataclass(frozen=True)
class Brought:
    """What the pipeline did.

    Attributes:
        asked: the sources that were queried.
        results: one for each target, in order.
        next_at: when something is due again (Unix seconds); None if unknown until the next run.

    """

    asked: tuple[Asked, ...]
    results: tuple[TargetResult, ...]
    next_at: int | None = None


@dataclass
class _View:
    """A target's present content, and its leases."""

    target: Target
    leases: Leases
    present: Mapping[str, Credential] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    is_untidy: bool = False
    error: EcsauthError | None = None

    def known(self, sources: Sequence[Source]) -> list[Lease | None]:
        """Return the lease of each source."""
        return [self.leases.by_source.get(self.key(item)) for item in sources]

    def key(self, source: Source) -> str:
        """Return the key of the source's lease."""
        return source_key(self.leases.salt, source.name, source.fingerprint)


def bring(
    sources: Sequence[Source],
    targets: Sequence[Target],
    flow: Flow,
    recall: Callable[[str], Leases] = lambda _: Leases(),
    *,
    now: float,
) -> Brought:
    """Merge the sources' credentials into every target; a failing one does not stop the others.

    Args:
        sources: if two name the same registry, the later one wins.
        targets: all get the same logins.
        flow: how.
        recall: key of a target → its leases, with a salt.
        now: Unix seconds.

    """
    views = [
        _view(target, sources, recall(target.key)) if flow.due else _View(target, Leases())
        for target in targets
    ]
    due = (
        _due(sources, views, flow.due, now) if flow.due else dict.fromkeys(range(len(sources)), "")
    )
    asked = {
        index: Asked(sources[index].name, why, _ask(sources, index, views, flow, now))
        for index, why in due.items()
    }
    results, times = [], []
    for view in views:
        result = _apply(view, sources, asked, flow, now)
        results.append(result)
        if result.leases is not None:
            known = [result.leases.by_source.get(view.key(source)) for source in sources]
            times += [item.refresh_at for item in known if item and item.refresh_at]
    return Brought(tuple(asked.values()), tuple(results), min(times, default=None))


def _ask(
    sources: Sequence[Source], index: int, views: Sequence[_View], flow: Flow, now: float
) -> Fetched:
    version = _known_version(sources, index, views, now) if flow.due and not flow.due.force else ""
    found = fetch_source(sources[index], now, version)
    return verified(found, flow.verify)


def _view(target: Target, sources: Sequence[Source], leases: Leases) -> _View:
    try:
        text = target.read()
        present, digests = _digests(target, leases, text)
        is_untidy = target.layout.is_untidy(text)
    except EcsauthError as error:
        return _View(target, leases, error=error)
    view = _View(target, leases, present, digests, is_untidy)
    if not leases.by_source and isinstance(target, RememberingTarget):
        names = {_memory_key(item): item.name for item in sources}
        found = unpack(target.memory, names, present, leases.salt)
        keys = {_memory_key(item): view.key(item) for item in sources}
        known = {keys[key]: lease for key, lease in found.items()}
        view.leases = replace(leases, by_source=known)
    return view


def _memory_key(source: Source) -> str:
    """Return the key of a source's lease beside a target: no salt outlives the run there."""
    return source_key("", source.name, source.fingerprint)[:16]


def _digests(
    target: Target, leases: Leases, text: bytes
) -> tuple[dict[str, Credential], dict[str, str]]:
    """Return the logins in a text of the target and their digests, by key."""
    present = {item.match: item for item in decode(target.layout.read(text)).credentials}
    return present, {match: login_digest(leases.salt, item) for match, item in present.items()}


def _due(
    sources: Sequence[Source], views: Sequence[_View], options: DueOptions, now: float
) -> dict[int, str]:
    """Return index → reason for the sources to query; an unreadable target needs none."""
    due: dict[int, str] = {}
    readable = [view for view in views if view.error is None]
    for view in readable:
        known = view.known(sources)
        for index, (source, owned) in enumerate(zip(sources, owned_matches(known, now))):
            why = (
                why_due(known[index], view.digests, owned, now)
                if source.fingerprint
                else "read every time"
            )
            if options.force:
                why = "--force"
            if why:
                due.setdefault(index, why)
    ahead = options.ahead or TOGETHER_SECONDS
    if options.ahead or any(sources[index].fingerprint for index in due):
        for index, source in enumerate(sources):
            if index not in due and _is_soon(source, readable, now, ahead):
                due[index] = "together with the others"
    return dict(sorted(due.items()))


def _known_version(
    sources: Sequence[Source],
    index: int,
    views: Sequence[_View],
    now: float,
) -> str:
    """Return the version of a source's answer that every target still has, else an empty string."""
    versions = set()
    for view in views:
        known = view.known(sources)
        lease, owned = known[index], owned_matches(known, now)[index]
        if view.error is not None or lease is None or _has_expired(lease, now):
            return ""
        undated = replace(lease, refresh_at=int(now) + 1)  # everything but the time counts
        versions.add("" if why_due(undated, view.digests, owned, now) else lease.version)
    return versions.pop() if len(versions) == 1 else ""


def _has_expired(lease: Lease, now: float) -> bool:
    expiries = [record.expires_at for record in lease.logins.values()]
    return any(item is not None and item <= now for item in expiries)


def _is_soon(source: Source, views: Sequence[_View], now: float, ahead: float) -> bool:
    leases = [view.leases.by_source.get(view.key(source)) for view in views]
    return any(lease is not None and is_due_soon(lease, now, ahead) for lease in leases)


def _apply(
    view: _View, sources: Sequence[Source], asked: Mapping[int, Asked], flow: Flow, now: float
) -> TargetResult:
    if view.error is not None:
        return TargetResult(view.target, error=view.error)
    if flow.due is None:
        answers = [item.answer for item in asked.values()]
        fetched = join([item.source for item in asked.values()], answers)
        return _merge(view, fetched, flow.merge, frozenset(), now)
    asked = _without_early_renewals(view, sources, asked, flow.due, now)
    leases = _new_leases(view, sources, asked, flow.due, now)
    fetched = _fetched(asked, leases, now)
    expired = _expired(view, sources, asked, flow.due, now)
    dropped = expired | _unnamed(view, leases, asked, flow.merge)
    restless = _restless(view, sources, leases)
    said = tuple(
        f"{view.present[match].registry}: its login has expired and is removed: pulls from it"
        " are now anonymous"
        for match in sorted(expired)
        if match not in {item.match for item in fetched.credentials}
    )
    fetched = replace(fetched, warnings=(*fetched.warnings, *said, *restless))
    # Only a source that answered has its logins in `fetched`; the others' are kept by `dropped`.
    answered = [item for item in asked.values() if not item.answer.is_unchanged]
    is_all = len(answered) == len(sources)
    merge = replace(flow.merge, replace=flow.merge.replace and is_all)
    if isinstance(view.target, RememberingTarget):
        known = {_memory_key(source): lease for source, lease in zip(sources, leases) if lease}
        view.target.remember(pack(known))
    result = _merge(view, fetched, merge, dropped, now)
    if result.error is not None:
        return result
    return replace(result, leases=_leases_to_keep(view, sources, leases))


def _merge(
    view: _View, fetched: Fetched, merge: MergeOptions, dropped: frozenset[str], now: float
) -> TargetResult:
    if not fetched.credentials and not dropped and not view.is_untidy:
        outcome = Outcome(problems=fetched.problems, notes=fetched.notes, warnings=fetched.warnings)
        return TargetResult(view.target, outcome)
    lock = contextlib.nullcontext() if merge.dry_run else view.target.locked()
    try:
        with lock:
            outcome = merge_into(
                fetched,
                view.target,
                merge,
                now=now,
                dropped=lambda text: _still_there(view, dropped, text),
            )
    except EcsauthError as error:
        return TargetResult(view.target, Outcome(problems=fetched.problems), error)
    return TargetResult(view.target, outcome)


def _new_leases(
    view: _View,
    sources: Sequence[Source],
    asked: Mapping[int, Asked],
    options: DueOptions,
    now: float,
) -> list[Lease | None]:
    """Return the lease of each source; one that returned nothing keeps its previous lease."""
    leases = view.known(sources)
    for index, item in asked.items():
        if item.answer.credentials:
            lease = make_lease(
                view.leases.salt,
                item.source,
                item.answer,
                now=now,
                spread=options.spread,
                recheck=options.recheck,
            )
            if item.answer.problems:
                lease = replace(lease, version="")  # not all of that version was used
            is_free = not sources[index].fingerprint
            before = leases[index]
            leases[index] = _compared(lease, before) if is_free else lease
    return leases


def _compared(lease: Lease, before: Lease | None) -> Lease:
    """Return the lease of a source that is asked each time, with what has changed since."""
    known = before.logins if before else {}
    logins = {
        match: replace(item, has_changed=match in known and known[match].digest != item.digest)
        for match, item in lease.logins.items()
    }
    return replace(lease, refresh_at=0, logins=logins)


def _restless(
    view: _View, sources: Sequence[Source], leases: Sequence[Lease | None]
) -> Iterator[str]:
    """Yield a warning for each login that is another one at each reading and tells no end."""
    for source, before, lease in zip(sources, view.known(sources), leases):
        if lease is None or before is None or lease is before:
            continue
        for match, item in lease.logins.items():
            known = before.logins.get(match)
            if known and known.has_changed and item.has_changed and item.expires_at is None:
                yield (
                    f"{source.name}: the login of {match} is another one at each reading and does"
                    " not tell its end, so that each run writes it and restarts the agent; name"
                    f" how long it lives: docker-config:{source.name.split(':', 1)[-1]}?ttl=12h"
                )


def _without_early_renewals(
    view: _View,
    sources: Sequence[Source],
    asked: Mapping[int, Asked],
    options: DueOptions,
    now: float,
) -> dict[int, Asked]:
    """Keep the target's login where a source that is asked each time has another one too early."""
    if options.force:
        return dict(asked)
    return {
        index: item
        if sources[index].fingerprint
        else replace(
            item,
            answer=replace(
                item.answer,
                credentials=tuple(
                    _not_too_early(view, found, now, options) for found in item.answer.credentials
                ),
            ),
        )
        for index, item in asked.items()
    }


def _not_too_early(view: _View, found: Credential, now: float, options: DueOptions) -> Credential:
    """Return the target's login instead of `found` if it is the same user's and not yet due."""
    present = view.present.get(found.match)
    if present is None or present.same_login(found) or present.username != found.username:
        return found
    if [bool(part) for part in present.login] != [bool(part) for part in found.login]:
        return found
    known = _with_recorded_times(view, present)
    if known.expires_at is None or known.requested_at is None:
        return found
    due_at = refresh_at([known], now, options.spread, options.recheck)
    if now >= due_at - options.ahead:
        return found
    return replace(known, auth_key=found.auth_key)


def _with_recorded_times(view: _View, item: Credential) -> Credential:
    """Return a login of the target with its times as a lease has them, or its own token."""
    for lease in view.leases.by_source.values():
        record = lease.logins.get(item.match)
        if record and record.digest == view.digests[item.match] and record.expires_at is not None:
            issued_at = record.issued_at or lease.fetched_at
            return replace(item, expires_at=record.expires_at, requested_at=issued_at)
    return with_known_expiry(item)


def _fetched(asked: Mapping[int, Asked], leases: Sequence[Lease | None], now: float) -> Fetched:
    """Combine the answers, without logins that a later source, not queried now, owns."""
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
    merge: MergeOptions,
) -> frozenset[str]:
    """Return the target's keys that no source has, for --replace; none if a lease is missing."""
    if not merge.replace or any(item.answer.problems for item in asked.values()):
        return frozenset()
    if any(lease is None for lease in leases):
        return frozenset()
    return frozenset(view.present) - {match for lease in leases if lease for match in lease.logins}


def _expired(
    view: _View,
    sources: Sequence[Source],
    asked: Mapping[int, Asked],
    options: DueOptions,
    now: float,
) -> frozenset[str]:
    """Return the keys of expired logins that are to be removed from the target.

    A source that failed loses its expired logins, unless any source failed because of the clock:
    then it is unknown what has expired.
    """
    problems = [problem for item in asked.values() for problem in item.answer.problems]
    if any(isinstance(problem, ClockError) for problem in problems):
        return frozenset()
    expired = frozenset(
        match for match, item in view.present.items() if _is_expired(view, item, now)
    )
    if options.prune_expired:
        return expired
    known = view.known(sources)
    owned = owned_matches(known)
    failed = [index for index, item in asked.items() if item.answer.problems]
    theirs = {match for index in failed for match in owned[index]}
    if any(known[index] is None for index in failed):  # unknown what it returned before
        theirs |= expired - {match for matches in owned for match in matches}
    return expired & theirs


def _is_expired(view: _View, item: Credential, now: float) -> bool:
    return _with_recorded_times(view, item).is_expired(now)


def _still_there(view: _View, dropped: frozenset[str], text: bytes) -> frozenset[str]:
    """Return those that have not been replaced in the text since the target was read."""
    digests = _digests(view.target, view.leases, text)[1]
    return frozenset(match for match in dropped if digests.get(match) == view.digests[match])


def _leases_to_keep(
    view: _View, sources: Sequence[Source], leases: Sequence[Lease | None]
) -> Leases:
    """Return the leases to keep: those of these sources, and of others whose logins still exist."""
    found = {view.key(source): lease for source, lease in zip(sources, leases) if lease is not None}
    named = {match for lease in found.values() for match in lease.logins}
    others = {
        key: lease
        for key, lease in view.leases.by_source.items()
        if key not in found
        and any(
            match not in named and view.digests.get(match) == record.digest
            for match, record in lease.logins.items()
        )
    }
    return Leases(view.leases.salt, {**others, **found})
