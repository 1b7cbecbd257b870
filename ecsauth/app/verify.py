"""verify: log in to each registry, as docker would; writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecsauth.app.fetch import fetch_source, join
from ecsauth.app.reading import read_target
from ecsauth.app.requests import DEFAULT_TARGET, SourceOptions, VerifyPolicy
from ecsauth.credentials.credential import Fetched
from ecsauth.credentials.verdict import ACCEPTED, Verdict
from ecsauth.engine_auth.codec import decode, shown_key
from ecsauth.errors import SourceError

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports


@dataclass(frozen=True)
class VerifyRequest:
    """Which logins to verify.

    Attributes:
        sources: as typed; none means the logins in `target`.
        target: as typed.
        options: how the sources are queried.
        policy: how logins are verified.

    """

    sources: tuple[str, ...] = ()
    target: str = DEFAULT_TARGET
    options: SourceOptions = field(default_factory=SourceOptions)
    policy: VerifyPolicy = field(default_factory=VerifyPolicy)


@dataclass(frozen=True)
class VerifyResult:
    """What the registries answered.

    Attributes:
        verdicts: one for each login, in order.
        problems: sources and entries without a login.

    """

    verdicts: tuple[Verdict, ...]
    problems: tuple[SourceError, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        is_fine = all(verdict.outcome == ACCEPTED for verdict in self.verdicts)
        return 0 if is_fine and not self.problems else SourceError.exit_code


def verify(request: VerifyRequest, ports: Ports) -> VerifyResult:
    """Log in with each credential.

    Raises:
        EcsauthError: there is nothing to log in with.

    """
    if request.sources:
        sources = ports.sources(request.sources, request.options)
        answers = [fetch_source(source, ports.now()) for source in sources]
        fetched = join([source.name for source in sources], answers)
    else:
        fetched = _logins_in(request.target, ports)
    for note in fetched.notes:
        ports.note(note)
    verifier = ports.edges.verifier(request.policy, ports)
    return VerifyResult(tuple(verifier(fetched.credentials)), fetched.problems)


def _logins_in(target: str, ports: Ports) -> Fetched:
    reading = read_target(target, ports)
    view = decode(reading.settings)
    if view.fault or not view.credentials:
        why = view.fault or "no registries in it"
        raise SourceError(
            f"there is no login: {why}",
            "run ecsauth check",
            subject=reading.name,
            reference="no-logins",
        )
    problems = tuple(
        SourceError(
            f"the agent skips it: {why}",
            "run ecsauth check",
            subject=shown_key(key),
            reference="entry-skipped",
        )
        for key, why in view.skipped.items()
    )
    return Fetched(view.credentials, problems)
