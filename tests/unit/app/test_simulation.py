"""Three days of the timer with faults thrown in, and a fleet of 10,000; no clock but ours.

The pace of the shipped timer is `PERIOD` and `SPREAD_SECONDS`; the policy is the real one.
"""

from __future__ import annotations

import functools
import random
import re
from collections import Counter

import pytest

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.freshness import refresh_at
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.errors import SourceError
from tests.builders import ROOT
from tests.unit.fakes import HOUR, Clock, DictMemory, MemoryTarget, TokenSource, bring_due

PERIOD = 15 * 60
SPREAD_SECONDS = 2 * 60
MINUTE = 60
LIFE = 12 * HOUR
README = (ROOT / "README.md").read_text()


def outages(dice: random.Random, days: int) -> list[tuple[float, float]]:
    """Return (begin, end) of times without AWS: many short ones, a few that outlast a token."""
    found = []
    for _ in range(dice.randrange(1, 6)):
        begin = dice.random() * days * 24 * HOUR
        length = dice.choice([5 * MINUTE, HOUR, 3 * HOUR, 8 * HOUR, 20 * HOUR])
        found.append((begin, begin + length))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_three_days_of_the_timer_with_faults(seed: int) -> None:
    """At every minute there is a live token, or every run since it was due was in the dark."""
    dice = random.Random(seed)
    clock = Clock()
    start = clock.now
    source, target, memory = TokenSource(clock), MemoryTarget(), DictMemory()
    dark = outages(dice, 3)
    next_run = start
    last_lit = issued = removed_at = 0.0
    live_minutes = 0
    for minute in range(3 * 24 * 60):
        clock.now = start + minute * MINUTE
        if clock.now >= next_run:
            since = clock.now - start
            is_dark = any(begin <= since < end for begin, end in dark)
            source.failing = SourceError("ecr: throttled") if is_dark else None
            chance = dice.random()
            if chance < 0.02:
                memory.known.clear()  # the state was lost
            elif chance < 0.04:
                target.text = b"ECS_CLUSTER=x\n"  # somebody put an old file back
                removed_at = clock.now
            if not 0.04 <= chance < 0.06:  # else this run was killed before it began
                chance_of_run = dice.random()
                bring_due([source], [target], memory, clock.now, spread=chance_of_run)
                last_lit = last_lit if is_dark else clock.now
            next_run = clock.now + PERIOD + dice.random() * SPREAD_SECONDS
        secret = target.logins().get("a.io")
        if secret is not None:
            issued = int(secret.rpartition("-")[2])
            if clock.now < issued + LIFE:
                live_minutes += 1
                continue
        assert last_lit < max(issued + LIFE / 2, removed_at)
    assert live_minutes > 24 * 60
    assert source.calls < 3 * 24 * 4 * 1.05


@pytest.mark.parametrize("seed", range(5))
def test_three_days_without_faults_have_no_gap_and_cost_what_they_must(seed: int) -> None:
    dice = random.Random(seed)
    clock = Clock()
    start = clock.now
    source, target, memory = TokenSource(clock), MemoryTarget(), DictMemory()
    next_run = start
    oldest = 0.0
    for minute in range(3 * 24 * 60):
        clock.now = start + minute * MINUTE
        if clock.now >= next_run:
            chance_of_run = dice.random()
            bring_due([source], [target], memory, clock.now, spread=chance_of_run)
            next_run = clock.now + PERIOD + dice.random() * SPREAD_SECONDS
        issued = int(target.logins()["a.io"].rpartition("-")[2])
        oldest = max(oldest, clock.now - issued)
    assert oldest <= LIFE / 2 + PERIOD + SPREAD_SECONDS
    assert 12 <= source.calls <= 16  # 72 h at 4.8 to 6.3 h each
    assert target.writes == source.calls


def fleet(hosts: int, *, boot_seconds: float, days: int, seed: int) -> Counter[int]:
    """Return second → calls to ECR for hosts that started within `boot_seconds`."""
    dice = random.Random(seed)
    calls: Counter[int] = Counter()
    end = days * 24 * HOUR
    for _ in range(hosts):
        run = dice.random() * boot_seconds
        due = run
        while run < end:
            if run >= due:
                calls[int(run)] += 1
                token = Credential(
                    parse_auth_key("a.io"),
                    "AWS",
                    "s",
                    expires_at=int(run + LIFE),
                    requested_at=int(run),
                )
                due = refresh_at([token], run, dice.random(), HOUR)
                step = PERIOD  # skip the runs in between, which do nothing
                run += max(0, int((due - run) / step) - 1) * step
            run += PERIOD + dice.random() * SPREAD_SECONDS
    return calls


def test_fleet_stays_under_the_limit_of_ecr_and_readme_has_its_figures() -> None:
    calls = fleet(10_000, boot_seconds=600, days=3, seed=1)
    steady = {second: count for second, count in calls.items() if second > 600}
    peak = max(steady.values())
    per_day = sum(count for second, count in calls.items() if second >= 24 * HOUR) / 2
    worst_minute = max(
        sum(steady.get(second, 0) for second in range(begin, begin + 60)) / 60
        for begin in range(600, 3 * 24 * HOUR, 60)
    )
    assert worst_minute < 20  # the rate that ECR allows, with 200 more in a burst
    assert peak < 200
    shown = re.search(
        r"10,000 instances.*?([\d,]+) calls a day.*?([\d.]+) a second in the busiest minute",
        README,
        re.DOTALL,
    )
    assert shown, f"README lacks: {per_day:,.0f} calls a day, {worst_minute:.1f} a second"
    assert float(shown[1].replace(",", "")) == pytest.approx(per_day, rel=0.02)
    assert float(shown[2]) == pytest.approx(worst_minute, abs=0.3)


@functools.cache
def calls_of_a_host() -> float:
    """Return calls to ECR a day of one host, from the simulation of 1,000."""
    of_1000 = fleet(1000, boot_seconds=600, days=3, seed=2)
    return sum(count for second, count in of_1000.items() if second >= 24 * HOUR) / 2 / 1000


def layouts(hosts: int) -> dict[str, float]:
    """Return calls a day of a fleet in each layout."""
    asked = calls_of_a_host()
    looks = 24 * HOUR / (PERIOD + SPREAD_SECONDS / 2)
    return {
        "each: ECR": hosts * asked,
        "each: at the start": hosts / 600,
        "S3: ECR": asked,
        "S3: GET": hosts * looks,
        "SSM: ECR": asked,
        "SSM: GET": hosts * (looks + asked),
        "SSM: commands": asked,
    }


SCALE = [10, 1_000, 100_000]


@pytest.mark.parametrize("hosts", SCALE)
def test_readme_has_the_calls_of_each_layout(hosts: int) -> None:
    column = SCALE.index(hosts)
    table = re.search(r"\| A day \|.*?\n\n", README, re.DOTALL)
    assert table, "README lacks the table of calls a day"
    rows = [line.split("|")[1:-1] for line in table[0].strip().splitlines()[2:]]
    wanted = layouts(hosts)
    assert len(rows) == len(wanted)
    for cells, (name, expected) in zip(rows, wanted.items()):
        shown = float(cells[1 + column].strip().replace(",", ""))
        assert shown == pytest.approx(expected, rel=0.05, abs=0.05), (name, expected)
