"""What the use cases need from outside; `wiring.system_ports` supplies the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Callable, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from ecsauth.agent.restart.ports import Agent, Drainer
    from ecsauth.app.fetch import Verification, Verifier
    from ecsauth.app.requests import AgentAccess, PublishOptions, SourceOptions, VerifyPolicy
    from ecsauth.credentials.verdict import Verdict
    from ecsauth.engine_auth.codec import EngineAuth
    from ecsauth.sources.source import Source
    from ecsauth.state.store import StateStore
    from ecsauth.targets.target import Target


class Say(Protocol):
    """Prints one line for the user; `kind` is ``error``, ``warning``, ``note`` or ``next``."""

    def __call__(self, kind: str, text: str, hint: str = "") -> None:
        """Print it; never raises."""


class Edges(Protocol):
    """Makers of sources, targets and the rest; they query and open nothing yet.

    Each raises UsageError for an invalid text.
    """

    def source(self, text: str, options: SourceOptions) -> Source:
        """Return the source that a SOURCE names; those of one command share their AWS sessions."""

    def target(
        self, text: str, lock_timeout: float, publishing: PublishOptions | None = None
    ) -> Target:
        """Return the target that a TARGET names; without `publishing` it cannot be in S3."""

    def agent(self, access: AgentAccess, settings: EngineAuth | None) -> Agent:
        """Return the agent of this host; `settings` are for a container without ecs-init."""

    def drainer(
        self, timeout: float, ports: Ports, remember: Callable[[str], None], remembered: str
    ) -> Drainer:
        """Return what drains the container instance."""

    def verifier(self, policy: VerifyPolicy, ports: Ports) -> Verifier:
        """Return what logs in with credentials."""

    def state(self, directory: Path) -> StateStore:
        """Return the state kept between runs."""

    def shield(self) -> AbstractContextManager[None]:
        """Hold off signals for the ``with`` block."""


def _no_progress(_: int) -> AbstractContextManager[Callable[[Verdict], None]]:
    return nullcontext(lambda _: None)


@dataclass(frozen=True)
class Ports:
    """What the use cases need from outside.

    Attributes:
        edges: makes sources, targets and the rest.
        environment: variables.
        stdin: standard input.
        stdout: returns standard output; raises TargetError if the caller closed it.
        say: prints a line for the user.
        now: returns Unix seconds.
        monotonic: returns seconds that setting the clock does not change.
        sleep: waits that many seconds.
        chance: returns a number from 0 to 1 for the jitter.
        host_chance: purpose → this host's own fixed number from 0 to 1.
        progress: number of logins → callback for each verdict while they are verified.

    """

    edges: Edges
    environment: Mapping[str, str]
    stdin: BinaryIO
    stdout: Callable[[], BinaryIO]
    say: Say
    now: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    chance: Callable[[], float]
    host_chance: Callable[[str], float] = lambda _: 0.0
    progress: Callable[[int], AbstractContextManager[Callable[[Verdict], None]]] = field(
        default=_no_progress
    )

    def note(self, text: str) -> None:
        """Print a note."""
        self.say("note", text)

    def warn(self, text: str, hint: str = "") -> None:
        """Print a warning."""
        self.say("warning", text, hint)

    def sources(self, texts: Sequence[str], options: SourceOptions) -> list[Source]:
        """Return the sources that the texts name."""
        return [self.edges.source(text, options) for text in texts]

    def verify(self, policy: VerifyPolicy | None) -> Verification | None:
        """Return what logs in before anything is written; None if the policy is None."""
        if policy is None:
            return None
        from ecsauth.app.fetch import Verification  # only if something is verified

        return Verification(self.edges.verifier(policy, self), policy.only_warns)
