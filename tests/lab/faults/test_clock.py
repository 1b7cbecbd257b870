"""Refresh, the credential helper and the schedule on a host whose clock is wrong, or jumps."""

from __future__ import annotations

import calendar
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.builders import HOST, b64
from tests.lab.aws_stub import PRIVATE, AwsStub
from tests.lab.faults.clocks import Clock, Host

TOKEN = "t0ken-of-the-clock"
DAY, HOUR = 24 * 3600, 3600
NOT_FOUND = "credentials not found in native keychain\n"


@pytest.fixture
def host(tmp_path: Path, aws: AwsStub) -> Host:
    """A host whose clock is right, for now."""
    return Host(tmp_path, aws, Clock(tmp_path / "clock"), TOKEN)


def moment(text: str) -> int:
    """Return Unix seconds for a time in UTC."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def has_token(host: Host) -> bool:
    return b64(f"AWS:{TOKEN}") in host.target.read_text()


def assert_answered(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["Secret"] == TOKEN


@pytest.mark.parametrize(
    ("offset", "words"),
    [(DAY, "1,440 min fast"), (-DAY, "1,440 min slow"), (400, "7 min fast")],
)
def test_refresh_with_a_wrong_clock_changes_nothing_and_names_it(
    host: Host, offset: int, words: str
) -> None:
    assert host.refresh().returncode == 0
    assert has_token(host)
    before, calls = host.target.read_bytes(), len(host.aws.calls)
    host.clock.set(offset)
    wrong = host.refresh("--force")
    assert wrong.returncode == 3
    assert f"the clock of this host is {words}; set it" in wrong.stderr
    assert host.target.read_bytes() == before
    assert len(host.aws.calls) == calls + 1
    host.clock.set(0)
    right = host.refresh()
    assert right.returncode == 0
    assert "nothing is due" in right.stdout
    assert host.target.read_bytes() == before
    assert len(host.aws.calls) == calls + 1


def test_refresh_takes_nothing_out_if_a_new_token_seems_to_have_expired(host: Host) -> None:
    """A proxy that signs anew hides from AWS that the clock is wrong."""
    host.let_in(is_blind=True)
    assert host.refresh().returncode == 0
    before = host.target.read_bytes()
    host.clock.set(DAY)
    wrong = host.refresh()
    assert wrong.returncode == 3
    assert "check the clock of this host" in wrong.stderr
    assert host.target.read_bytes() == before
    assert has_token(host)


@pytest.mark.parametrize("is_blind", [False, True])
def test_refresh_at_boot_in_1970_is_made_good_when_the_clock_is_set(
    host: Host, is_blind: bool
) -> None:
    host.let_in(is_blind=is_blind)
    host.clock.set(int(10 * HOUR - time.time()))
    early = host.refresh()
    assert early.returncode == (0 if is_blind else 3)
    assert has_token(host) == is_blind
    host.clock.set(0)
    calls = len(host.aws.calls)
    assert host.refresh().returncode == 0
    assert has_token(host)
    assert len(host.aws.calls) == calls + 1
    assert "nothing is due" in host.refresh().stdout
    assert len(host.aws.calls) == calls + 1


@pytest.mark.parametrize(
    ("zone", "switch"),
    [
        ("Europe/Berlin", "2026-03-29 01:00:00"),
        ("Europe/Berlin", "2026-10-25 01:00:00"),
        ("America/New_York", "2026-03-08 07:00:00"),
        ("America/New_York", "2026-11-01 06:00:00"),
    ],
)
def test_nothing_is_due_or_an_hour_off_because_of_daylight_saving(
    host: Host, zone: str, switch: str
) -> None:
    host.variables["TZ"] = zone
    local = "import time; print(time.localtime().tm_isdst)"
    host.clock.set_both(moment(switch) - 600)
    before = host.python("-c", local).stdout
    assert host.refresh().returncode == 0
    planned = re.findall("next at .*", host.refresh().stdout)
    host.clock.set_both(moment(switch) + 600)
    assert host.python("-c", local).stdout != before  # the zone is known, and there was a switch
    again = host.refresh()
    assert "nothing is due" in again.stdout
    assert re.findall("next at .*", again.stdout) == planned
    assert len(host.aws.calls) == 1
    next_at = json.loads(host.refresh("--json").stdout)["next_at"]
    assert planned == [time.strftime("next at %Y-%m-%d %H:%M UTC", time.gmtime(next_at))]
    since = next_at - (moment(switch) - 600)
    assert 0.4 * 12 * HOUR - 60 <= since <= 0.5 * 12 * HOUR + 60


@pytest.mark.parametrize(
    "now", ["2016-12-31 23:59:58", "2038-01-19 03:10:00", "2040-02-29 12:00:00"]
)
def test_refresh_shows_the_right_day_in_odd_years(host: Host, now: str) -> None:
    host.clock.set_both(moment(now))
    assert host.refresh().returncode == 0
    shown = re.findall(r"next at (\S+ \S+) UTC", host.refresh().stdout)
    (found,) = [moment(f"{text}:00") for text in shown]
    assert 0.4 * 12 * HOUR - 120 <= found - moment(now) <= 0.5 * 12 * HOUR + 60
    host.clock.set_both(moment(now) + 7 * HOUR)
    assert host.refresh().returncode == 0
    assert len(host.aws.calls) == 2


def test_helper_keeps_its_token_while_the_clock_is_back_and_asks_once(host: Host) -> None:
    assert_answered(host.get())
    host.clock.set(-DAY)
    for _ in range(4):
        assert_answered(host.get())
    assert len(host.aws.calls) == 2
    host.clock.set(0)
    assert_answered(host.get())
    assert len(host.aws.calls) == 2


def test_helper_answers_nothing_that_has_expired_and_forgets_nothing(host: Host) -> None:
    assert_answered(host.get())
    host.clock.set(13 * HOUR)
    for number in range(3):
        done = host.get()
        assert (done.returncode, done.stdout) == (1, NOT_FOUND)
        assert len(host.aws.calls) == 2 + number  # one for each that was asked for
    host.clock.set(0)
    assert_answered(host.get())
    assert len(host.aws.calls) == 4


@pytest.mark.parametrize(("true_hours", "is_answered"), [(11, True), (13, False)])
def test_helper_believes_aws_that_its_token_has_expired(
    host: Host, true_hours: int, is_answered: bool
) -> None:
    assert_answered(host.get())
    host.clock.true_offset = true_hours * HOUR
    host.clock.set(7 * HOUR)  # hours behind: by this clock the token is due, and no more
    done = host.get()
    assert len(host.aws.calls) == 2
    if is_answered:
        assert_answered(done)
    else:
        assert (done.returncode, done.stdout) == (1, NOT_FOUND)
        again = host.get()  # nor is it answered later
        assert (again.returncode, again.stdout) == (1, NOT_FOUND)


@pytest.mark.parametrize(
    "offset",
    [6 * HOUR, -HOUR, int(-time.time()) + 10 * HOUR],
    ids=["six hours fast", "an hour slow", "1970"],  # the same in all processes
)
def test_helper_does_not_trust_for_long_what_a_wrong_clock_has_kept(
    host: Host, offset: int
) -> None:
    host.let_in(is_blind=True)
    host.clock.set(offset)
    assert_answered(host.get())
    calls = len(host.aws.calls)
    host.clock.set(0)
    assert_answered(host.get())
    is_kept = len(host.aws.calls) == calls
    assert is_kept == (offset == -HOUR)  # it seems an hour older than it is, and is still fresh
    host.clock.true_offset = int(6.5 * HOUR)
    host.clock.set(int(6.5 * HOUR))
    assert_answered(host.get())
    assert len(host.aws.calls) > calls


@pytest.fixture
def daemon(host: Host) -> Iterator[subprocess.Popen[bytes]]:
    """A schedule that runs every second."""
    command = [sys.executable, "-m", "ecsauth", "run", "--every=1", "--jitter=0", f"ecr:{HOST}"]
    with (host.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--to", str(host.target)], env=host.environment(), stdout=log, stderr=log
        )
    yield process
    process.kill()
    process.wait()


def test_schedule_neither_stops_nor_storms_while_the_clock_jumps(
    host: Host, daemon: subprocess.Popen[bytes]
) -> None:
    def log() -> str:
        return (host.folder / "log").read_text()

    def wait(ready: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not ready():
            assert time.monotonic() < end, log()
            assert daemon.poll() is None, log()
            time.sleep(0.02)

    def runs() -> int:
        return len(re.findall("nothing is due|written|nothing could be fetched", log()))

    def has_jumped(times: int) -> bool:
        return log().count("the clock was set: refreshing now") == times

    def has_run(times: int) -> bool:
        return runs() >= times

    wait(lambda: "nothing is due" in log())
    assert has_token(host)
    before = host.target.read_bytes()
    for number, offset in enumerate([DAY, -DAY, -50 * 365 * DAY, 0], 1):
        count, begun = runs(), time.monotonic()
        host.clock.set(offset)
        wait(partial(has_jumped, number))
        wait(partial(has_run, count + 3))
        assert runs() - count <= 2 + (time.monotonic() - begun)  # one a second, and one at once
        assert host.target.read_bytes() == before
    assert log().count("the clock was set") == 4
    failed = log().count("the refresh failed")
    calls = [call for call in host.aws.calls if PRIVATE.rpartition(".")[2] in call]
    assert 3 <= failed <= len(calls) <= failed + 2
    daemon.terminate()
    assert daemon.wait(20) == 0
