"""Refresh on its ports: what is asked, what is written, what stays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from ecsauth.app.pipeline import Brought
from ecsauth.app.requests import MergeOptions
from ecsauth.credentials.credential import Fetched
from ecsauth.errors import ClockError, SourceError, TargetError
from ecsauth.sources.source import Source
from tests.builders import HOST, credential, ecr_password
from tests.unit.fakes import (
    HOUR,
    Clock,
    DictMemory,
    FixedSource,
    MemoryTarget,
    TokenSource,
    bring_all,
    bring_due,
)

DENIED = SourceError("ecr: denied")


@dataclass
class Bench:
    """A target, a memory and a clock to refresh with."""

    clock: Clock = field(default_factory=Clock)
    target: MemoryTarget = field(default_factory=MemoryTarget)
    memory: DictMemory = field(default_factory=DictMemory)

    def run(self, *sources: Source, **options: Any) -> Brought:
        return bring_due(sources, [self.target], self.memory, self.clock.now, **options)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_second_run_asks_and_writes_nothing(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    first = bench.run(source)
    assert [item.why for item in first.asked] == ["not asked before"]
    assert first.next_at == bench.clock.now + 6 * HOUR
    bench.clock.now += 6 * HOUR - 1
    second = bench.run(source)
    assert (source.calls, bench.target.writes) == (1, 1)
    assert second.asked == ()
    assert second.results[0].outcome.plan is None
    bench.clock.now += 1
    bench.run(source)
    assert (source.calls, bench.target.writes) == (2, 2)


def test_forced_run_asks(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    bench.clock.now += 1
    bench.run(source, force=True)
    assert (source.calls, bench.target.writes) == (2, 2)


def test_dry_run_writes_and_remembers_nothing(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    done = bench.run(source, merge=MergeOptions(dry_run=True))
    plan = done.results[0].outcome.plan
    assert plan
    assert plan.changed
    assert (bench.target.writes, bench.memory.known) == (0, {})


@pytest.mark.parametrize("edit", ["remove", "change"])
def test_edited_target_is_put_right(bench: Bench, edit: str) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    bench.clock.now += 60
    before = bench.target.text
    other = b"e30=" if edit == "change" else b""
    bench.target.text = (
        b"ECS_CLUSTER=y\n" if not other else before.replace(b"QVdT", b"QVdU", 1)  # AWS, AWT
    )
    assert bench.target.text != before
    bench.run(source)
    assert bench.target.logins() == {"a.io": f"token-of-{int(bench.clock.now)}"}


def test_edit_of_other_lines_makes_nothing_due(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    bench.target.text += b"ECS_LOGLEVEL=debug\n"
    bench.run(source)
    assert (source.calls, bench.target.writes) == (1, 1)


def test_repeated_setting_is_tidied_without_asking(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    lines = bench.target.text.splitlines()
    bench.target.text += lines[-1] + b"\n"
    bench.run(source)
    assert (source.calls, bench.target.writes) == (1, 2)
    assert bench.target.text.splitlines() == lines


def test_changed_source_is_asked(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    source.fingerprint = "another role"
    bench.run(source)
    assert source.calls == 2
    assert len(bench.memory.known["memory"].by_source) == 1


def test_login_file_is_read_every_run_and_written_when_it_changes(bench: Bench) -> None:
    file = FixedSource((credential("b.io"),))
    bench.run(file)
    bench.run(file)
    assert (file.calls, bench.target.writes) == (2, 1)
    file.credentials = (credential("b.io", secret="new"),)
    bench.run(file)
    assert bench.target.logins() == {"b.io": "new"}


def test_secret_of_the_same_version_is_not_rewritten(bench: Bench) -> None:
    secret = FixedSource((credential("b.io"),), fingerprint="f", version="v1")
    bench.run(secret, recheck=HOUR)
    bench.clock.now += HOUR
    done = bench.run(secret, recheck=HOUR)
    assert (secret.calls, bench.target.writes) == (2, 1)
    assert done.asked[0].answer.version == "v1"
    secret.credentials, secret.version = (credential("b.io", secret="new"),), "v2"
    bench.clock.now += HOUR - 1
    bench.run(secret, recheck=HOUR)
    assert bench.target.writes == 1
    bench.clock.now += 1
    bench.run(secret, recheck=HOUR)
    assert bench.target.logins() == {"b.io": "new"}


def test_failing_source_keeps_its_login_until_it_expires_and_stops_no_other(bench: Bench) -> None:
    source, file = TokenSource(bench.clock), FixedSource((credential("b.io"),))
    bench.run(source, file)
    source.failing = DENIED
    bench.clock.now += 12 * HOUR - 1
    file.credentials = (credential("b.io", secret="new"),)
    done = bench.run(source, file)
    assert set(bench.target.logins()) == {"a.io", "b.io"}
    assert bench.target.logins()["b.io"] == "new"
    assert done.results[0].outcome.problems == (DENIED,)
    bench.clock.now += 1
    done = bench.run(source, file)
    assert set(bench.target.logins()) == {"b.io"}
    assert "a.io: its login has expired and is removed" in done.results[0].outcome.warnings[0]
    source.failing = None
    bench.run(source, file)
    assert set(bench.target.logins()) == {"a.io", "b.io"}


def test_last_login_is_removed_when_it_expires(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    source.failing = DENIED
    bench.clock.now += 12 * HOUR
    bench.run(source)
    assert bench.target.logins() == {}
    assert b"ECS_CLUSTER=x" in bench.target.text


def test_wrong_clock_takes_nothing_out(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    source.failing = ClockError("ecr: the clock is wrong")
    bench.clock.now += 24 * HOUR
    bench.run(source)
    assert set(bench.target.logins()) == {"a.io"}


def test_replaced_login_of_a_failing_source_stays(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    bench.run(FixedSource((credential("a.io", secret="by hand"),)))
    source.failing = DENIED
    bench.clock.now += 12 * HOUR
    bench.run(source)
    assert bench.target.logins() == {"a.io": "by hand"}


def test_prune_takes_out_what_no_source_answers_for(bench: Bench) -> None:
    bench.run(TokenSource(bench.clock))
    leases = bench.memory.known["memory"]
    bench.clock.now += 12 * HOUR
    file = FixedSource((credential("b.io"),))
    bench.run(file)
    assert set(bench.target.logins()) == {"a.io", "b.io"}
    bench.memory.known["memory"] = leases
    bench.run(file, prune_expired=True)
    assert set(bench.target.logins()) == {"b.io"}


def test_expired_login_goes_even_if_the_memory_was_lost(bench: Bench) -> None:
    other = HOST.replace("us-west-2", "us-west-1")
    password = ecr_password(int(bench.clock.now) + 60)
    old = credential(HOST, "AWS", password)
    theirs = credential(other, "AWS", password)
    bench.run(FixedSource((old, theirs)))
    bench.memory.known.clear()
    failing = TokenSource(bench.clock, hosts=(HOST,), failing=DENIED)
    bench.clock.now += 59
    bench.run(failing)
    assert set(bench.target.logins()) == {HOST, other}
    bench.clock.now += 1
    bench.run(failing)
    assert bench.target.logins() == {}


def test_lost_memory_is_made_anew(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    bench.memory.known.clear()
    bench.clock.now += 60
    bench.run(source)
    bench.run(source)
    assert source.calls == 2
    assert bench.target.logins() == {"a.io": f"token-of-{int(bench.clock.now)}"}


def test_what_is_due_soon_is_asked_together(bench: Bench) -> None:
    early = TokenSource(bench.clock, "ecr:a", life=12 * HOUR)
    late = TokenSource(bench.clock, "ecr:b", ("b.io",), life=13 * HOUR, fingerprint="g")
    much_later = TokenSource(bench.clock, "ecr:c", ("c.io",), life=14 * HOUR, fingerprint="h")
    bench.run(early, late, much_later)
    bench.clock.now += 6 * HOUR
    bench.run(early, late, much_later)
    assert (early.calls, late.calls, much_later.calls) == (2, 2, 1)


def test_of_two_sources_the_later_counts_even_when_only_the_earlier_is_due(bench: Bench) -> None:
    early = TokenSource(bench.clock, "ecr:a", ("a.io", "b.io"), life=2 * HOUR)
    late = TokenSource(bench.clock, "ecr:b", ("b.io",), fingerprint="g", suffix=lambda: "-late")
    bench.run(early, late)
    kept = bench.target.logins()["b.io"]
    assert kept.endswith("-late")
    bench.clock.now += HOUR
    bench.run(early, late)
    assert (early.calls, late.calls) == (2, 1)
    assert bench.target.logins() == {"a.io": f"token-of-{int(bench.clock.now)}", "b.io": kept}
    bench.run(early)  # without the later one, the earlier answers for both
    assert not bench.target.logins()["b.io"].endswith("-late")


def test_earlier_source_steps_in_when_the_login_of_a_failing_later_one_expires(
    bench: Bench,
) -> None:
    early = TokenSource(bench.clock, "ecr:a")
    late = TokenSource(bench.clock, "ecr:b", fingerprint="g", suffix=lambda: "-late")
    bench.run(early, late)
    assert bench.target.logins()["a.io"].endswith("-late")
    late.failing = DENIED
    for _ in range(4 * 24 * 4):
        bench.clock.now += 15 * 60
        bench.run(early, late)
        secret = bench.target.logins()["a.io"]
        assert bench.clock.now < int(secret.split("-")[2]) + 12 * HOUR
    assert not secret.endswith("-late")


def test_login_written_meanwhile_by_another_process_is_not_removed(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    bench.clock.now += 12 * HOUR
    by_hand = MemoryTarget()
    bring_all([FixedSource((credential("a.io", secret="by hand"),))], by_hand, now=bench.clock.now)

    class Raced(TokenSource):
        def fetch(self) -> Fetched:
            bench.target.text = by_hand.text
            raise DENIED

    bench.run(Raced(bench.clock))
    assert bench.target.logins() == {"a.io": "by hand"}


def test_run_with_fewer_sources_forgets_nothing_of_the_others(bench: Bench) -> None:
    one = TokenSource(bench.clock)
    two = TokenSource(bench.clock, "ecr:b", ("b.io",), fingerprint="g")
    bench.run(one, two)
    bench.run(one)
    bench.run(one, two)
    assert (one.calls, two.calls) == (1, 1)


def test_replace_drops_what_no_source_gives(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source, FixedSource((credential("b.io"),)))
    bench.run(source, merge=MergeOptions(replace=True))
    assert set(bench.target.logins()) == {"a.io"}
    writes, calls = bench.target.writes, source.calls
    bench.run(source, merge=MergeOptions(replace=True))
    assert (bench.target.writes, source.calls) == (writes, calls)


def test_replace_keeps_logins_of_a_source_that_is_not_queried_now(bench: Bench) -> None:
    source, file = TokenSource(bench.clock), FixedSource((credential("b.io"),))
    bench.run(source, file)
    file.credentials = (credential("c.io"),)
    bench.run(source, file, merge=MergeOptions(replace=True))
    assert set(bench.target.logins()) == {"a.io", "c.io"}
    assert source.calls == 1


def test_replace_drops_nothing_while_a_source_fails(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source, FixedSource((credential("b.io"),)))
    source.failing = DENIED
    bench.clock.now += 6 * HOUR
    bench.run(source, FixedSource((credential("c.io"),)), merge=MergeOptions(replace=True))
    assert set(bench.target.logins()) == {"a.io", "b.io", "c.io"}


def test_every_target_gets_the_same_and_a_bad_one_stops_no_other(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bad = MemoryTarget(name="bad", failing=TargetError("bad was not written"))
    good = MemoryTarget(name="good")
    done = bring_due([source], [bad, good], bench.memory, bench.clock.now)
    assert [result.error is not None for result in done.results] == [True, False]
    assert good.logins() == {"a.io": f"token-of-{int(bench.clock.now)}"}
    assert source.calls == 1
    bench.clock.now += 60
    bad.failing = None
    bring_due([source], [bad, good], bench.memory, bench.clock.now)
    assert bad.logins() == good.logins()  # what one lacks, both get
    assert source.calls == 2


def test_unreadable_target_makes_nothing_due(bench: Bench) -> None:
    class Unreadable(MemoryTarget):
        def read(self) -> bytes:
            raise TargetError("no")

    source = TokenSource(bench.clock)
    done = bring_due([source], [Unreadable()], bench.memory, 0)
    assert done.results[0].error
    assert source.calls == 0


def test_clock_set_back_asks_again(bench: Bench) -> None:
    source = TokenSource(bench.clock)
    bench.run(source)
    bench.clock.now -= 24 * HOUR
    bench.run(source)
    assert source.calls == 2
