"""Limits, portions, statuses, and what an instance said."""

from __future__ import annotations

import pytest

from ecsauth.errors import UsageError
from ecsauth.fleet.values import (
    CANCELLED,
    DONE,
    FAILED,
    NOT_SENT,
    RUNNING,
    SENT,
    TIMED_OUT,
    UNREACHABLE,
    batches,
    last_line,
    parse_limit,
    status_of,
)


@pytest.mark.parametrize(
    ("text", "total", "number"),
    [
        ("10%", 2000, 200),
        ("10%", 10, 1),
        ("10%", 7, 0),
        ("0", 7, 0),
        ("0%", 7, 0),
        ("100%", 7, 7),
        ("5", 3, 5),
        ("99%", 100, 99),
    ],
)
def test_limit_is_a_number_or_a_part(text: str, total: int, number: int) -> None:
    assert parse_limit(text, least=0).of(total) == number


@pytest.mark.parametrize("text", ["", "-1", "101%", "1.5", "10 %", "ten", "%", "01", "1234567"])
def test_text_that_is_not_a_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_limit(text, least=0)
    assert caught.value.reference == "usage-limit"


@pytest.mark.parametrize("text", ["0", "0%"])
def test_limit_below_the_least_is_refused_and_at_the_least_accepted(text: str) -> None:
    with pytest.raises(UsageError, match=r"not a number of instances \(at least 1\)"):
        parse_limit(text, least=1)
    assert parse_limit(text, least=0).number == 0


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (50, [50]), (51, [50, 1]), (7, [7])])
def test_names_are_split_into_batches(count: int, sizes: list[int]) -> None:
    assert [len(part) for part in batches([str(n) for n in range(count)])] == sizes


@pytest.mark.parametrize(
    ("status", "details", "ours"),
    [
        ("InProgress", "In Progress", RUNNING),
        ("Success", "Success", DONE),
        ("TimedOut", "Delivery Timed Out", UNREACHABLE),
        ("TimedOut", "DeliveryTimedOut", UNREACHABLE),
        ("TimedOut", "ExecutionTimedOut", TIMED_OUT),
        ("Failed", "Undeliverable", UNREACHABLE),
        ("Failed", "Terminated", NOT_SENT),
        ("Cancelled", "Canceled", CANCELLED),
        ("Failed", "SomethingNew", FAILED),
        ("Whatever", "SomethingNew", SENT),
        ("Pending", "", SENT),
    ],
)
def test_status_of_ssm_is_mapped_to_ours(status: str, details: str, ours: str) -> None:
    assert status_of(status, details) == ours


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ("denied\n----------ERROR-------\nfailed to run commands: exit status 5", "denied"),
        ("all\n---Output truncated---", "all"),
        (
            "failed to run commands: exit status 5, it says",
            "failed to run commands: exit status 5, it says",
        ),
    ],
)
def test_last_line_is_what_the_instance_said(output: str, line: str) -> None:
    assert last_line(output) == line
