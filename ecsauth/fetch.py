"""Ask sources: one that fails does not stop the others, and nothing expired is passed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Callable, Protocol, runtime_checkable

from ecsauth.credential import Credential, Fetched
from ecsauth.errors import SourceError
from ecsauth.verdict import ACCEPTED, REFUSED, Verdict


class Source(Protocol):
    """Where credentials come from.

    Attributes:
        name: for people.
        fingerprint: changes with anything that the answer depends on, and may hold secrets;
            empty for a source that costs nothing to ask and is asked each time.

    """

    name: str
    fingerprint: str

    def fetch(self) -> Fetched:
        """Return what there is; raise SourceError if there is nothing at all."""


@runtime_checkable
class ConditionalSource(Protocol):
    """A source that can tell whether it has anything new."""

    def fetch_unless(self, version: str) -> Fetched | None:
        """As `Source.fetch`; None if that is still the version."""


Verifier = Callable[[Sequence[Credential]], Sequence[Verdict]]
"""Logs in with each credential; verdicts in their order."""


def fetch_source(source: Source, now: float, known_version: str = "") -> Fetched:
    """Ask one source; what has expired is a problem, and so is a failure.

    Args:
        source: to be asked.
        now: Unix seconds.
        known_version: what it gave before, if nothing but something newer is of use.

    """
    try:
        if known_version and isinstance(source, ConditionalSource):
            fetched = source.fetch_unless(known_version) or Fetched(is_unchanged=True)
        else:
            fetched = source.fetch()
    except SourceError as error:
        return Fetched(problems=(error,))
    expired = [item for item in fetched.credentials if item.is_expired(now)]
    return replace(
        fetched,
        credentials=tuple(item for item in fetched.credentials if item not in expired),
        problems=(*fetched.problems, *(_expired(item, now) for item in expired)),
    )


def fetch_all(sources: Sequence[Source], now: float) -> Fetched:
    """Ask each source and put the answers together."""
    return join([source.name for source in sources], [fetch_source(item, now) for item in sources])


def join(names: Sequence[str], answers: Sequence[Fetched]) -> Fetched:
    """Put answers together: of two logins for the same registry, the later counts."""
    credentials: dict[str, Credential] = {}
    problems: list[SourceError] = []
    notes: list[str] = []
    warnings: list[str] = []
    for name, answer in zip(names, answers):
        problems += answer.problems
        notes += answer.notes
        warnings += answer.warnings
        for item in answer.credentials:
            if item.match in credentials:
                notes.append(f"{item.registry}: the login of {name} is taken")
            credentials[item.match] = item
    return Fetched(tuple(credentials.values()), tuple(problems), tuple(notes), tuple(warnings))


def verified(fetched: Fetched, verifier: Verifier | None, only_warn: bool) -> Fetched:
    """Leave out the logins that their registries refuse; what cannot be asked is only said.

    Args:
        fetched: what the sources gave.
        verifier: logs in; None does not.
        only_warn: keep what a registry refuses, and say so.

    """
    if verifier is None or not fetched.credentials:
        return fetched
    kept: list[Credential] = []
    problems, warnings = list(fetched.problems), list(fetched.warnings)
    for item, verdict in zip(fetched.credentials, verifier(fetched.credentials)):
        is_refused = verdict.outcome == REFUSED
        if is_refused and not only_warn:
            problems.append(
                SourceError(f"{item.registry} refuses this login; not written", verdict.detail)
            )
            continue
        kept.append(item)
        if verdict.outcome != ACCEPTED:
            said = "refuses this login" if is_refused else f"is {verdict.outcome}, not verified"
            warnings.append(f"{item.registry} {said}: {verdict.detail}; written all the same")
    return replace(
        fetched, credentials=tuple(kept), problems=tuple(problems), warnings=tuple(warnings)
    )


def _expired(item: Credential, now: float) -> SourceError:
    hours = (now - (item.expires_at or 0)) / 3600
    age = f"{hours:,.0f} h" if hours < 48 else f"{hours / 24:,.0f} days"
    return SourceError(
        f"{item.registry}: its ECR token expired {age} ago",
        "log in again: aws ecr get-login-password | docker login --username AWS --password-stdin"
        f" {item.registry}",
    )
