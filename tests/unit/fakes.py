"""Small classes on the ports, for tests of the use cases."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ecsauth.credential import Credential, Fetched
from ecsauth.engine_auth import decode
from ecsauth.errors import EcsauthError, SourceError
from ecsauth.layout import ENV_FILE, Layout
from ecsauth.lease import Leases
from ecsauth.registry import parse_auth_key

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

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
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

    def keep(self, target: str, leases: Leases) -> None:
        self.known[target] = leases
