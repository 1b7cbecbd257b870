"""Query sources: a failing one does not hold up the others; nothing expired is passed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Callable

from ecsauth.credentials.credential import Credential, Fetched
from ecsauth.credentials.verdict import ACCEPTED, REFUSED, Verdict
from ecsauth.errors import SourceError, fault_place
from ecsauth.sources.source import ConditionalSource, Source

Verifier = Callable[[Sequence[Credential]], Sequence[Verdict]]
"""Logs in with each credential; verdicts in their order."""


@dataclass(frozen=True)
class Verification:
    """Log in with credentials before they are written.

    Attributes:
        verifier: logs in.
        only_warns: a refused login is written anyway, with a warning.

    """

    verifier: Verifier
    only_warns: bool = False


def fetch_source(source: Source, now: float, known_version: str = "") -> Fetched:
    """Query one source; an expired login is a problem, and so is a failure.

    Args:
        source: to be queried.
        now: Unix seconds.
        known_version: what it returned before, if only something newer is of use.

    """
    try:
        if known_version and isinstance(source, ConditionalSource):
            fetched = source.fetch_unless(known_version) or Fetched(is_unchanged=True)
        else:
            fetched = source.fetch()
    except SourceError as error:
        return Fetched(problems=(error,))
    except (MemoryError, SystemError, ImportError):
        raise  # these end the run, with messages of their own
    except OSError as error:
        reason = error.strerror or type(error).__name__
        place = error.filename or "a system call failed"
        failed = SourceError(
            f"{place}: {reason}",
            "check memory, the disk and ulimit -n",
            subject=source.name,
            reference="source-host-failed",
        )
        return Fetched(problems=(failed,))
    except Exception as error:  # a bug in one source does not hold up the others
        return Fetched(problems=(_bug(source.name, error),))
    found = [_with_end(item, fetched.ttl, now) for item in fetched.credentials]
    expired = [item for item in found if item.is_expired(now)]
    return replace(
        fetched,
        credentials=tuple(item for item in found if item not in expired),
        problems=(*fetched.problems, *(_expired(item, now) for item in expired)),
    )


def join(names: Sequence[str], answers: Sequence[Fetched]) -> Fetched:
    """Combine answers: of two logins for the same registry, the later one wins."""
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
                notes.append(f"{item.registry}: using the login of {name}")
            credentials[item.match] = item
    return Fetched(tuple(credentials.values()), tuple(problems), tuple(notes), tuple(warnings))


def verified(fetched: Fetched, verification: Verification | None) -> Fetched:
    """Leave out logins that their registry refuses; one that does not answer only gets a warning.

    Args:
        fetched: what a source returned.
        verification: logs in; None skips that.

    """
    if verification is None or not fetched.credentials:
        return fetched
    kept: list[Credential] = []
    problems, warnings = list(fetched.problems), list(fetched.warnings)
    verdicts = verification.verifier(fetched.credentials)
    for item, verdict in zip(fetched.credentials, verdicts):
        is_refused = verdict.outcome == REFUSED
        if is_refused and not verification.only_warns:
            message = f"{item.registry} refuses this login; not written"
            problems.append(SourceError(message, verdict.detail, reference="login-refused"))
            continue
        kept.append(item)
        if verdict.outcome != ACCEPTED:
            said = "refuses this login" if is_refused else f"is {verdict.outcome}, not verified"
            warnings.append(f"{item.registry} {said}: {verdict.detail}; written anyway")
    return replace(
        fetched, credentials=tuple(kept), problems=tuple(problems), warnings=tuple(warnings)
    )


def _with_end(item: Credential, ttl: int, now: float) -> Credential:
    if not ttl or item.expires_at is not None:
        return item
    return replace(item, expires_at=int(now) + ttl, requested_at=int(now))


def _expired(item: Credential, now: float) -> SourceError:
    hours = (now - (item.expires_at or 0)) / 3600
    age = f"{hours:,.0f} h" if hours < 48 else f"{hours / 24:,.0f} days"
    return SourceError(
        f"{item.registry}: its ECR token expired {age} ago",
        "log in again: aws ecr get-login-password | docker login --username AWS --password-stdin"
        f" {item.registry}",
        reference="ecr-token-expired",
    )


def _bug(name: str, error: Exception) -> SourceError:
    """Return our error for an unexpected one, whose own text may hold a secret."""
    return SourceError(
        f"{name}: unexpected: {fault_place(error)}",
        "this is a bug in ecsauth: report it",
        reference="source-unexpected",
    )
