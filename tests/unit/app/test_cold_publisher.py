"""A publisher that remembers nothing between its runs learns from its object."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from ecsauth.credentials.freshness import Lease, LoginRecord
from ecsauth.credentials.lease_text import MAX_BYTES, pack, unpack
from tests.builders import HOST
from tests.unit.fakes import Clock, DictMemory, MemoryTarget, TokenSource, bring_due

DAYS = 5


@dataclass
class ObjectTarget(MemoryTarget):
    """A text in memory with metadata, as an object in S3."""

    memory: str = ""
    waiting: str = ""

    def remember(self, text: str) -> None:
        self.waiting = text

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:
        notes = super().write(text, expires_at)
        self.memory = self.waiting
        return notes


def calls_and_writes(*, is_cold: bool) -> tuple[int, int]:
    """Run the publisher every 15 minutes for some days."""
    clock, target, memory = Clock(), ObjectTarget(), DictMemory()
    source = TokenSource(clock, hosts=(HOST,))
    for _ in range(DAYS * 96):
        done = bring_due([source], [target], DictMemory() if is_cold else memory, clock.now)
        assert done.results[0].exit_code == 0
        clock.now += 900
    return source.calls, target.writes


def test_cold_runs_make_as_many_calls_and_writes_as_warm_ones() -> None:
    cold = calls_and_writes(is_cold=True)
    assert cold == calls_and_writes(is_cold=False)
    assert cold[0] <= 4.3 * DAYS


def test_without_its_memory_every_run_asks() -> None:
    clock, target = Clock(), MemoryTarget()
    source = TokenSource(clock, hosts=(HOST,))
    for _ in range(3):
        bring_due([source], [target], DictMemory(), clock.now)
        clock.now += 900
    assert source.calls == 3


def test_changed_object_is_asked_for_again() -> None:
    clock, target = Clock(), ObjectTarget()
    source = TokenSource(clock, hosts=(HOST,))
    bring_due([source], [target], DictMemory(), clock.now)
    target.text = b"ECS_CLUSTER=x\n"
    bring_due([source], [target], DictMemory(), clock.now + 900)
    assert source.calls == 2
    source.fingerprint = "another role"
    bring_due([source], [target], DictMemory(), clock.now + 900)
    assert source.calls == 3


LEASE = Lease("ecr:", 100, 200, logins={HOST: LoginRecord("d", 300)})


def test_packed_leases_fit_and_hold_no_digest() -> None:
    text = pack({"k": LEASE})
    assert text == f'{{"k":[100,200,300,["{HOST}"]]}}'
    many = replace(LEASE, logins={f"{number}.{HOST}": LoginRecord("d") for number in range(40)})
    assert pack({"k": many}) == ""
    few = replace(LEASE, logins=dict(list(many.logins.items())[:25]))
    assert 1000 < len(pack({"k": few})) <= MAX_BYTES
    assert pack({}) == pack({"k": replace(LEASE, refresh_at=0)}) == ""


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"k":1}', '{"k":[1,2,3]}', '{"k":[1,2,true,[]]}', '{"k":[1,2,3,["x"]]}'],
)
def test_malformed_memory_is_none(text: str) -> None:
    assert unpack(text, {"k": "ecr:"}, {}, "salt") == {}
    assert unpack('{"k":[1,2,3,[]]}', {"k": "ecr:"}, {}, "salt") == {"k": Lease("ecr:", 1, 2)}
    assert unpack('{"k":[1,2,3,[]]}', {"other": "ecr:"}, {}, "salt") == {}
