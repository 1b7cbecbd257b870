"""How often the agent is restarted: the whole refresh, over days of a clock that the test moves."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ecsauth.agent.restart.policy import ANY_FILE, AT_ONCE, LATE, RestartPolicy
from ecsauth.app.refresh import Ends, RefreshRequest, RefreshResult, run
from ecsauth.app.requests import MergeOptions
from ecsauth.credentials.credential import Credential, Fetched
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.sources.source import Source
from ecsauth.state.store import StateStore
from ecsauth.targets.forms import parse_target
from tests.builders import HOST, ROOT
from tests.unit.app.test_delivery import FakeAgent
from tests.unit.fakes import HOUR, Clock, FakeEdges, Heard, TokenSource, fake_ports

DAYS = 7
_TIMER = (ROOT / "systemd" / "ecsauth-refresh.timer").read_text()
"""The shipped unit: its own interval is what is simulated."""


def period() -> float:
    """Return the seconds between two runs of the shipped timer."""
    found = re.search(r"^OnCalendar=\*:0/(\d+)$", _TIMER, re.MULTILINE)
    assert found, _TIMER
    return int(found[1]) * 60


@dataclass
class MintingFile:
    """A login file whose credential helper makes a new token at each call."""

    clock: Clock
    host: str
    make: Callable[[int], str]
    ttl: int = 0
    name: str = "/root/.docker/config.json"
    fingerprint: str = ""

    def fetch(self) -> Fetched:
        now = int(self.clock.now)
        item = Credential(parse_auth_key(self.host), "AWS", self.make(now))
        return Fetched((with_known_expiry(item),), ttl=self.ttl)


def ecr_token(now: int) -> str:
    """Return a token as ECR makes it, of its size: its end is in it."""
    payload = {"payload": "x" * 1700, "datakey": str(now), "expiration": now + 12 * HOUR}
    return base64.b64encode(json.dumps(payload).encode()).decode()


def jwt(now: int) -> str:
    """Return a JSON Web Token of 12 hours."""
    claims = json.dumps({"iat": now, "exp": now + 12 * HOUR}).encode()
    return f"eyJhbGciOiJub25lIn0.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.x"


@dataclass
class Host:
    """One instance with its timer."""

    directory: Path
    clock: Clock
    agent: FakeAgent
    said: Heard
    chance: float = 0.5
    renewal: str = LATE

    def tick(self, source: Source) -> int:
        """Run the timer's refresh once."""
        edges = FakeEdges(os.environ, io.BytesIO(), io.BytesIO, the_agent=self.agent)
        request = RefreshRequest(
            ("named",),
            (str(self.agent.file),),
            merge=MergeOptions(),
            restart=RestartPolicy(ANY_FILE, renewal=self.renewal, timeout=1),
            state_dir=self.directory / "state",
        )
        ports = replace(
            fake_ports(edges, self.said, self.clock),
            chance=lambda: self.chance,
            host_chance=lambda _: self.chance,
        )
        target = parse_target(str(self.agent.file), 5, io.BytesIO)
        done = run(request, Ends([source], [target]), ports, self.warn)
        return done.exit_code

    def warn(self, result: RefreshResult) -> None:
        for item in result.brought.results:
            self.said("target", "\n".join(item.outcome.warnings))

    def restarts_a_day(self, source: Source, days: int = DAYS) -> float:
        """Return the restarts of an average day, without the first one."""
        assert self.tick(source) == 0
        first = self.agent.restarts
        for _ in range(int(days * 24 * HOUR / period())):
            self.clock.now += period()
            assert self.tick(source) == 0
        return (self.agent.restarts - first) / days


@pytest.fixture
def host(tmp_path: Path) -> Host:
    file = tmp_path / "ecs.config"
    file.write_text("ECS_CLUSTER=x\n")
    return Host(tmp_path, Clock(), FakeAgent(file), Heard())


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_ecr_tokens(host: Host, chance: float) -> None:
    host.chance = chance
    source = TokenSource(host.clock, hosts=(HOST,))
    assert 2.3 <= host.restarts_a_day(source) <= 2.7
    assert source.calls <= 5.5 * DAYS


def test_ecr_tokens_at_once(host: Host) -> None:
    host.renewal = AT_ONCE
    assert host.restarts_a_day(TokenSource(host.clock, hosts=(HOST,)), 2) >= 4


@pytest.mark.parametrize(
    ("registry", "make", "ttl"),
    [(HOST, ecr_token, 0), ("q.io", jwt, 0), ("q.io", lambda now: f"token-{now}", 12 * HOUR)],
)
def test_helper_that_makes_a_token_at_each_call(
    host: Host, registry: str, make: Callable[[int], str], ttl: int
) -> None:
    assert host.restarts_a_day(MintingFile(host.clock, registry, make, ttl), 3) <= 2.7
    assert "another one at each reading" not in host.said.of("target")


def test_static_login_restarts_nothing(host: Host) -> None:
    assert host.restarts_a_day(MintingFile(host.clock, "q.io", lambda _: "hunter2"), 1) == 0


def test_token_without_an_end_is_warned_of(host: Host) -> None:
    source = MintingFile(host.clock, "q.io", lambda now: f"token-{now}")
    assert host.restarts_a_day(source, 1) > 24
    assert "docker-config:/root/.docker/config.json?ttl=12h" in host.said.of("target")


def test_new_registry_restarts_at_once_and_a_renewal_does_not(host: Host) -> None:
    source = TokenSource(host.clock, hosts=(HOST,))
    host.tick(source)
    host.clock.now += 6 * HOUR
    host.tick(source)
    assert (source.calls, host.agent.restarts) == (2, 1)
    known = StateStore(host.directory / "state").target(str(host.agent.file)).delivery
    assert known.is_pending
    assert known.restart_at == int(Clock().now + 12 * HOUR * (1 - 0.225))
    source.hosts = (HOST, "other.io")
    source.fingerprint = "g"
    host.tick(source)
    assert host.agent.restarts == 2


def test_restart_for_a_renewal_waits_for_tasks_that_are_starting(host: Host) -> None:
    source = TokenSource(host.clock, hosts=(HOST,))
    host.tick(source)
    for hours in (6.0, 9.5):
        host.clock.now = Clock().now + hours * HOUR
        host.agent.look_now = replace(host.agent.look_now, starting_tasks=2)
        host.tick(source)
        assert host.agent.restarts == 1
    host.clock.now = Clock().now + 10.6 * HOUR  # less than an eighth is left
    host.tick(source)
    assert host.agent.restarts == 2
