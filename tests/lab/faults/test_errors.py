"""A command of which any one system call fails loses nothing and says so, with the right code."""

from __future__ import annotations

import os

import pytest

from tests.lab.faults.forks import Completed
from tests.lab.faults.ground import Ground
from tests.lab.faults.scenarios import HELPER, PASSWORD, SCENARIOS, TOKEN, Scenario, is_crash, names

Point = tuple[str, int]
ERRORS = ("ENOSPC", "EIO", "EROFS", "EACCES", "EINTR", "EMFILE", "EDQUOT")


def chosen(points: list[Point]) -> list[tuple[Point, str]]:
    """Return each point with each error, if ECSAUTH_TORTURE=full; else with one in turn."""
    if os.environ.get("ECSAUTH_TORTURE") == "full":
        return [(point, error) for point in points for error in ERRORS]
    return [(point, ERRORS[index % len(ERRORS)]) for index, point in enumerate(points)]


def faults_of(scenario: Scenario, done: Completed, found: bytes | None) -> list[str]:
    """Return what is wrong with how a command ended and what it left."""
    is_new = scenario.is_new(found)
    faults = []
    is_whole = is_new or scenario.is_old(found) or (done.code == 3 and scenario.is_part(found))
    if not is_whole:
        faults.append(f"torn: {found!r}")
    if is_crash(done.err):
        faults.append("a traceback, or nearly")
    if PASSWORD in done.out + done.err or (TOKEN in done.out + done.err and scenario is not HELPER):
        faults.append("a secret")
    return faults + (_helper(done) if scenario is HELPER else _codes(done, is_new=is_new))


def _codes(done: Completed, *, is_new: bool) -> list[str]:
    faults = []
    if done.code == 0 and not is_new:
        faults.append("0, and nothing was done")
    if done.code == 4 and is_new and "the output was not written" not in done.err:
        faults.append("4, and it was written")
    if done.code and "ecsauth: error: " not in done.err:
        faults.append("nothing was said")
    is_known = (
        done.code in (0, 3, 4)
        or (done.code == 2 and "the settings file" in done.err)
        or (done.code == 1 and "could not be loaded" in done.err)
    )
    return faults if is_known else [*faults, "an odd code"]


def _helper(done: Completed) -> list[str]:
    """It answers with a token, kept or not, or with why there is none."""
    is_right = (TOKEN in done.out) == (done.code == 0)
    return [] if is_right and done.code in (0, 1) else ["no answer"]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_any_system_call_fails_once(ground: Ground, scenario: Scenario) -> None:
    home, points = ground.points(scenario)
    tidy = names(home)

    def fail(given: tuple[Point, str]) -> tuple[tuple[Point, str], Completed, list[str]]:
        (name, number), error = given
        home = ground.lay(scenario)
        inject = ["-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={number}"]
        done = ground.run(scenario, home, inject)
        faults = faults_of(scenario, done, ground.target(scenario, home))
        faults += ground.faults_afterwards(scenario, home, tidy)
        ground.clear(home)
        return given, done, faults

    results = ground.forks.each(fail, chosen(points))
    wrong = [(given, done, faults) for given, done, faults in results if faults]
    assert wrong == []
    assert any("(INJECTED)" in done.trace for _, done, _ in results)
    assert {done.code for _, done, _ in results} > {0}
