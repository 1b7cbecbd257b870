"""The core of fleet refresh: portions, limits, when to stop, what is left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ecsauth.errors import SourceError
from ecsauth.fleet.rollout import Rollout
from ecsauth.fleet.values import (
    CANCELLED,
    DONE,
    FAILED,
    GONE,
    NOT_MANAGED,
    NOT_SENT,
    RUNNING,
    SENT,
    TIMED_OUT,
    UNREACHABLE,
    WAITING,
    Instance,
    Invocation,
    Limit,
    Limits,
    Order,
    Row,
    Sent,
    parse_limit,
)
from ecsauth.fleet.waves import RolloutPorts, run_rollout
from tests.unit.fleet.fake_ssm import FakeSsm, fleet

TEN = Limits(Limit(10, True), Limit(10, True))
ALL = Limits(Limit(100, True), Limit(100, True))


def drive(ssm: FakeSsm, rollout: Rollout, timeout: float = 10_000) -> tuple[list[Row], list[str]]:
    changed: list[Row] = []
    warned: list[str] = []
    around = RolloutPorts(lambda: ssm.now, ssm.sleep, changed.extend, warned.append)
    run_rollout(rollout, ssm, timeout, around)
    return changed, warned


def test_two_thousand_instances_in_forty_portions() -> None:
    ssm = FakeSsm()
    rollout = Rollout(fleet(2000), TEN)
    drive(ssm, rollout)
    assert rollout.all_done()
    assert [len(order.instances) for order in ssm.orders] == [50] * 40
    assert {(order.concurrency, order.errors) for order in ssm.orders} == {(50, 200)}
    assert len({name for order in ssm.orders for name in order.instances}) == 2000
    assert ssm.most == 200
    assert ssm.cancelled == []


@pytest.mark.parametrize(
    ("count", "concurrency", "each", "most"),
    [
        (7, "10%", 1, 1),
        (7, "3", 3, 3),
        (120, "20", 20, 20),
        (300, "120", 50, 100),
        (60, "60", 50, 50),
    ],
)
def test_no_more_at_the_same_time_than_allowed(
    count: int, concurrency: str, each: int, most: int
) -> None:
    ssm = FakeSsm()
    rollout = Rollout(fleet(count), Limits(parse_limit(concurrency, least=1), Limit(0)))
    drive(ssm, rollout)
    assert rollout.all_done()
    assert {order.concurrency for order in ssm.orders} == {each}
    assert ssm.most == most


def test_instances_print_and_the_last_line_is_fetched_once_a_command() -> None:
    ssm = FakeSsm()
    rollout = Rollout(fleet(60), ALL)
    changed, _ = drive(ssm, rollout)
    assert {row.said for row in rollout.rows} == {f"i-{number:04}" for number in range(60)}
    assert sorted(looked for looked in ssm.looks if looked[1]) == [("c-1", True), ("c-2", True)]
    assert {row.status for row in changed} == {SENT, RUNNING, DONE}
    assert len(changed) == 180


def test_first_error_stops_it_if_none_is_allowed() -> None:
    ssm = FakeSsm(ends={"i-0000": "Failed"})
    rollout = Rollout(fleet(100), Limits(Limit(1), Limit(0)))
    _, warned = drive(ssm, rollout)
    assert len(ssm.orders) == 1
    assert ssm.orders[0].errors == 0
    assert rollout.is_stopped
    # One more had begun before it was seen; it is let finish.
    assert rollout.counts()[NOT_SENT] >= 50
    assert rollout.counts()[FAILED] == 1
    assert WAITING not in rollout.counts()
    assert any("more errors than --max-errors" in line for line in warned)


@pytest.mark.parametrize(("errors", "is_stopped"), [(1, True), (2, False), (3, False)])
def test_errors_at_the_limit_are_no_reason_to_stop_and_one_more_is(
    errors: int, is_stopped: bool
) -> None:
    ssm = FakeSsm(ends={"i-0003": "Failed", "i-0055": "ExecutionTimedOut"})
    rollout = Rollout(fleet(200), Limits(Limit(50), Limit(errors)))
    drive(ssm, rollout)
    assert rollout.is_stopped is is_stopped
    assert [order.errors for order in ssm.orders][:2] == [errors, errors - 1]
    assert len(ssm.orders) == (2 if is_stopped else 4)
    assert rollout.counts().get(DONE, 0) == (98 if is_stopped else 198)
    assert rollout.counts().get(NOT_SENT, 0) == (100 if is_stopped else 0)
    assert not rollout.all_done()


def test_errors_of_several_commands_are_added_up_and_what_has_begun_is_let_finish() -> None:
    ssm = FakeSsm(ends={"i-0000": "Failed", "i-0050": "Failed"})
    rollout = Rollout(fleet(120), Limits(Limit(100), Limit(1)))
    drive(ssm, rollout)
    assert rollout.counts() == {DONE: 98, NOT_SENT: 20, FAILED: 2}


def test_only_what_has_not_begun_is_cancelled_when_it_stops() -> None:
    ssm = FakeSsm(ends={"i-0000": "Failed"}, stuck={"i-0060", "i-0061"})
    rollout = Rollout(fleet(120), Limits(Limit(100), Limit(0)))
    drive(ssm, rollout)
    assert ssm.cancelled == [("c-2", ("i-0060", "i-0061"))]
    assert rollout.counts() == {DONE: 97, NOT_SENT: 20, CANCELLED: 2, FAILED: 1}


def test_unreachable_instances_are_no_reason_to_stop_but_a_failure() -> None:
    ssm = FakeSsm(ends={"i-0001": "Undeliverable", "i-0002": "DeliveryTimedOut"})
    rollout = Rollout(fleet(100), Limits(Limit(50), Limit(0)))
    drive(ssm, rollout)
    assert rollout.counts() == {DONE: 98, UNREACHABLE: 2}
    assert not rollout.all_done()


def test_instances_that_ssm_does_not_manage_are_not_sent_to_and_count_as_failed() -> None:
    ssm = FakeSsm()
    found = [*fleet(2), Instance("i-x", NOT_MANAGED), Instance("i-y", UNREACHABLE)]
    rollout = Rollout(found, Limits(Limit(50, True), Limit(0)))
    drive(ssm, rollout)
    assert ssm.orders == [Order(("i-0000", "i-0001"), 1, 0)]
    assert rollout.counts() == {DONE: 2, NOT_MANAGED: 1, UNREACHABLE: 1}
    assert not rollout.all_done()


def test_only_unmanaged_instances_send_nothing() -> None:
    ssm = FakeSsm()
    rollout = Rollout([Instance("i-x", NOT_MANAGED)], TEN)
    drive(ssm, rollout)
    assert (ssm.orders, ssm.pauses) == ([], [])
    assert not rollout.all_done()


def test_no_instances_are_nothing_to_do() -> None:
    rollout = Rollout([], TEN)
    drive(FakeSsm(), rollout)
    assert rollout.all_done()


def test_instance_that_vanishes_is_gone_and_the_others_go_on() -> None:
    ssm = FakeSsm(gone={"i-0051"})
    rollout = Rollout(fleet(60), ALL)
    drive(ssm, rollout)
    assert rollout.counts() == {DONE: 59, GONE: 1}
    assert not rollout.all_done()


def test_command_whose_instances_are_all_gone_is_not_waited_for() -> None:
    ssm = FakeSsm(gone={"i-0000", "i-0001"})
    rollout = Rollout(fleet(2), ALL)
    drive(ssm, rollout)
    assert rollout.counts() == {GONE: 2}
    assert ssm.looks == []


def test_instance_that_vanishes_while_it_is_waited_for_times_out() -> None:
    ssm = FakeSsm(ends={"i-0001": "InProgress"})
    rollout = Rollout(fleet(120), Limits(Limit(50), Limit(0)))
    _, warned = drive(ssm, rollout, timeout=60)
    assert rollout.counts() == {NOT_SENT: 70, DONE: 49, TIMED_OUT: 1}
    assert ssm.cancelled == [("c-1", ())]
    assert ssm.now == pytest.approx(60)
    assert any("cancelled: c-1" in line for line in warned)
    assert {row.said for row in rollout.rows if row.status == DONE} != {""}


@pytest.mark.parametrize("statuses", [(), ("i-0000",)])
def test_time_that_is_over_before_anything_ends(statuses: Sequence[str]) -> None:
    ssm = FakeSsm(ends=dict.fromkeys(statuses, "Failed"))
    rollout = Rollout(fleet(2), ALL)
    drive(ssm, rollout, timeout=1)
    assert rollout.counts() == {TIMED_OUT: 2}


def test_pauses_grow_to_ten_seconds_and_begin_anew_when_something_is_sent() -> None:
    ssm = FakeSsm(ends={"i-0001": "InProgress"})
    rollout = Rollout(fleet(2), ALL)
    drive(ssm, rollout, timeout=200)
    assert ssm.pauses[0] == 2
    assert ssm.pauses[1] == 2.5
    assert max(ssm.pauses) == 10
    assert ssm.pauses[:-1] == sorted(ssm.pauses[:-1])
    again = FakeSsm()
    drive(again, Rollout(fleet(100), Limits(Limit(50), Limit(0))))
    assert again.pauses.count(2) == 2


def test_interrupt_cancels_every_command_and_says_so() -> None:
    ssm = FakeSsm(interrupt_at=2)
    rollout = Rollout(fleet(120), Limits(Limit(100), Limit(0)))
    warned: list[str] = []
    around = RolloutPorts(lambda: ssm.now, ssm.sleep, warn=warned.append)
    with pytest.raises(KeyboardInterrupt):
        run_rollout(rollout, ssm, 100, around)
    assert ssm.cancelled == [("c-1", ()), ("c-2", ())]
    assert rollout.counts() == {CANCELLED: 100, NOT_SENT: 20}
    assert warned == ["cancelled: c-1, c-2; instances that had begun may still finish"]


def test_command_that_cannot_be_cancelled_is_named_with_the_cure() -> None:
    ssm = FakeSsm(interrupt_at=2, refuses_to_cancel=True)
    warned: list[str] = []
    around = RolloutPorts(lambda: ssm.now, ssm.sleep, warn=warned.append)
    with pytest.raises(KeyboardInterrupt):
        run_rollout(Rollout(fleet(2), ALL), ssm, 100, around)
    (line,) = warned
    assert line == (
        "command c-1 was not cancelled (denied); cancel it: aws ssm cancel-command --command-id c-1"
    )


@pytest.mark.parametrize(("faults", "is_raised"), [(1, False), (3, False), (4, True)])
def test_failing_poll_is_retried_three_times(faults: int, is_raised: bool) -> None:
    ssm = FakeSsm(faults=[SourceError("throttled") for _ in range(faults)])
    rollout = Rollout(fleet(2), ALL)
    if not is_raised:
        _, warned = drive(ssm, rollout)
        assert rollout.all_done()
        assert warned == ["throttled; retrying"] * faults
        return
    with pytest.raises(SourceError, match="throttled"):
        drive(ssm, rollout)
    assert ssm.cancelled == [("c-1", ())]


def test_order_that_is_throttled_is_sent_again() -> None:
    ssm = FakeSsm()
    send = ssm.send
    refusals = [SourceError("throttled")] * 3

    def refuse(order: Order) -> Sent:
        if ssm.orders and refusals:
            raise refusals.pop()
        return send(order)

    ssm.send = refuse  # type: ignore[method-assign]
    rollout = Rollout(fleet(100), ALL)
    drive(ssm, rollout)
    assert rollout.all_done()
    assert ssm.cancelled == []


def test_order_that_is_refused_cancels_those_before() -> None:
    ssm = FakeSsm(stuck={item.name for item in fleet(50)})
    send = ssm.send

    def refuse(order: Order) -> Sent:
        if ssm.orders:
            raise SourceError("denied")
        return send(order)

    ssm.send = refuse  # type: ignore[method-assign]
    rollout = Rollout(fleet(100), ALL)
    with pytest.raises(SourceError, match="denied"):
        drive(ssm, rollout)
    assert ssm.cancelled == [("c-1", ())]
    assert rollout.counts() == {CANCELLED: 50, NOT_SENT: 50}


def test_by_tag_it_is_one_command_and_instances_that_join_are_shown() -> None:
    names = [item.name for item in fleet(70)]
    ssm = FakeSsm(by_tag=(*names, "i-new"))
    rollout = Rollout(fleet(70), TEN, is_by_tag=True)
    drive(ssm, rollout)
    assert ssm.orders == [Order((), 7, 7)]
    assert rollout.all_done()
    assert len(rollout.rows) == 71


def test_by_tag_an_instance_that_is_not_reached_is_not_waited_for() -> None:
    ssm = FakeSsm(by_tag=("i-0000", "i-lost"), stuck={"i-lost"})
    rollout = Rollout(
        [*fleet(1), Instance("i-lost", UNREACHABLE)], Limits(Limit(1), Limit(0)), is_by_tag=True
    )
    drive(ssm, rollout)
    assert rollout.counts() == {DONE: 1, UNREACHABLE: 1}
    assert ssm.cancelled == [("c-1", ())]  # it would get it whenever it comes back
    assert ssm.now < 20


def test_by_tag_instances_that_ssm_never_lists_are_not_waited_for_when_it_stops() -> None:
    names = [item.name for item in fleet(20)]
    ssm = FakeSsm(by_tag=tuple(names), ends={"i-0000": "Failed"}, lists_begun_only=True)
    rollout = Rollout(fleet(20), Limits(Limit(1), Limit(0)), is_by_tag=True)
    drive(ssm, rollout)
    assert rollout.counts() == {CANCELLED: 19, FAILED: 1}
    assert ssm.now < 20
    ssm = FakeSsm(by_tag=tuple(names), lists_begun_only=True)
    rollout = Rollout(fleet(20), Limits(Limit(1), Limit(0)), is_by_tag=True)
    drive(ssm, rollout)
    assert rollout.all_done()


def test_by_tag_an_instance_that_comes_back_meanwhile_counts() -> None:
    ssm = FakeSsm(by_tag=("i-lost", "i-0000"))
    rollout = Rollout([*fleet(1), Instance("i-lost", UNREACHABLE)], ALL, is_by_tag=True)
    rollout.note_sent(ssm.send(Order((), 1, 1)))
    rollout.note_seen("c-1", [Invocation("i-lost", RUNNING), Invocation("i-0000", DONE)])
    assert not rollout.is_over
    rollout.note_seen("c-1", [Invocation("i-lost", DONE)])
    assert rollout.all_done()


def test_a_signal_waits_until_the_command_is_known() -> None:
    events: list[str] = []

    class Whole:
        def __enter__(self) -> None:
            events.append("hold")

        def __exit__(self, *_: object) -> None:
            events.append(f"release {rollout.commands}")

    ssm = FakeSsm()
    rollout = Rollout(fleet(1), ALL)
    whole: Callable[[], Whole] = Whole
    run_rollout(rollout, ssm, 100, RolloutPorts(lambda: ssm.now, ssm.sleep, whole=whole))
    assert events == ["hold", "release ['c-1']"]
