"""Small classes on the ports, for tests of the use cases."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ecsauth.agent.restart.ports import Agent, Drainer
from ecsauth.app.pipeline import Brought, DueOptions, Flow, bring
from ecsauth.app.ports import Ports
from ecsauth.app.requests import AgentAccess, MergeOptions
from ecsauth.app.update import Outcome
from ecsauth.app.wiring import SystemEdges
from ecsauth.credentials.credential import Credential, Fetched
from ecsauth.credentials.freshness import Leases
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.engine_auth.codec import EngineAuth, decode
from ecsauth.engine_auth.layouts import ENV_FILE, Layout
from ecsauth.errors import EcsauthError, SourceError
from ecsauth.sources.source import Source
from ecsauth.targets.target import Target

HOUR = 3600


@dataclass
class Clock:
    """Unix seconds that the test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class TokenSource:
    """Gives tokens as ECR does; `failing` says why not, if it does not."""

    clock: Clock
    name: str = "ecr:us-west-2"
    hosts: tuple[str, ...] = ("a.io",)
    life: float = 12 * HOUR
    fingerprint: str = "f"
    calls: int = 0
    failing: SourceError | None = None
    suffix: Callable[[], str] = str

    def fetch(self) -> Fetched:
        self.calls += 1
        if self.failing:
            raise self.failing
        now = int(self.clock.now)
        return Fetched(
            tuple(
                Credential(
                    parse_auth_key(host),
                    "AWS",
                    f"token-of-{now}{self.suffix()}",
                    expires_at=int(now + self.life),
                    requested_at=now,
                )
                for host in self.hosts
            )
        )


@dataclass
class FixedSource:
    """Gives the same logins each time."""

    credentials: tuple[Credential, ...]
    name: str = "fixed"
    fingerprint: str = ""
    calls: int = 0
    version: str = ""
    problems: tuple[SourceError, ...] = ()

    def fetch(self) -> Fetched:
        self.calls += 1
        return Fetched(self.credentials, self.problems, version=self.version)


@dataclass
class MemoryTarget:
    """A text in memory that counts its writes."""

    text: bytes = b"ECS_CLUSTER=x\n"
    name: str = "memory"
    layout: Layout = ENV_FILE
    writes: int = 0
    failing: EcsauthError | None = None

    def __post_init__(self) -> None:
        self.key = self.name

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def read(self) -> bytes:
        return self.text

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:
        if self.failing:
            raise self.failing
        self.text = text
        self.writes += 1
        return ()

    def logins(self) -> dict[str, str]:
        """Return registry → secret, as the agent reads it."""
        return {item.match: item.secret for item in decode(self.layout.read(self.text)).credentials}


@dataclass
class DictMemory:
    """Remembers in a dictionary."""

    known: dict[str, Leases] = field(default_factory=dict)

    def recall(self, target: str) -> Leases:
        return self.known.get(target, Leases("salt"))


def bring_due(
    sources: Sequence[Source],
    targets: Sequence[Target],
    memory: DictMemory,
    now: float,
    merge: MergeOptions | None = None,
    **due: Any,
) -> Brought:
    """Bring what is due, and remember it, as refresh does."""
    flow = Flow(merge or MergeOptions(), DueOptions(**due))
    done = bring(sources, targets, flow, memory.recall, now=now)
    for result in done.results:
        if result.leases is not None and not flow.merge.dry_run:
            memory.known[result.target.key] = result.leases
    return done


def bring_all(
    sources: Sequence[Source], target: Target, merge: MergeOptions | None = None, *, now: float
) -> Outcome:
    """Bring everything into one target, as migrate does; raise its error."""
    (result,) = bring(sources, [target], Flow(merge or MergeOptions()), now=now).results
    if result.error is not None:
        raise result.error
    return result.outcome


@dataclass
class Heard:
    """Takes what people should know, and keeps it: (kind, line)."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, kind: str, text: str, hint: str = "") -> None:
        self.lines.append((kind, f"{text}; {hint}" if hint else text))

    def of(self, kind: str) -> str:
        """Return the lines of one kind."""
        return "\n".join(line for each, line in self.lines if each == kind)


@dataclass
class Ticks:
    """A monotonic clock that sleeping moves."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@dataclass(frozen=True)
class FakeEdges(SystemEdges):
    """The edges of this host, but for the agent and what drains its instance."""

    the_agent: Agent | None = None
    make_drainer: Callable[[float, Callable[[str], None], str], Drainer] | None = None

    def agent(self, access: AgentAccess, settings: EngineAuth | None) -> Agent:
        assert self.the_agent is not None
        return self.the_agent

    def drainer(
        self, timeout: float, ports: Ports, remember: Callable[[str], None], remembered: str
    ) -> Drainer:
        assert self.make_drainer is not None
        return self.make_drainer(timeout, remember, remembered)


def fake_ports(edges: FakeEdges, say: Heard, clock: Callable[[], float] = time.time) -> Ports:
    """Return ports whose sleep takes no time."""
    ticks = Ticks()
    return Ports(
        edges=edges,
        environment=edges.environment,
        stdin=edges.stdin,
        stdout=edges.stdout,
        say=say,
        now=clock,
        monotonic=ticks,
        sleep=ticks.sleep,
        chance=lambda: 0.0,
    )
