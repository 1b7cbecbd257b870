"""A command that is killed at any of its system calls leaves the old file or the new one."""

from __future__ import annotations

import pytest

from tests.conftest import missing
from tests.lab.faults.ground import Ground
from tests.lab.faults.scenarios import HELPER, PASSWORD, SCENARIOS, TOKEN, Scenario, names

Point = tuple[str, int]
NEEDED = 500
"""Of points over all scenarios: a filter that hides them all would be no test."""


@pytest.fixture(scope="module")
def seen() -> dict[str, int]:
    """Count the points of each scenario."""
    return {}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_kill_at_any_system_call(ground: Ground, scenario: Scenario, seen: dict[str, int]) -> None:
    """SIGKILL before each call: whole afterwards; the next run succeeds and tidies up."""
    home, points = ground.points(scenario)
    tidy = names(home)

    def kill(point: Point) -> tuple[Point, bool, list[str]]:
        faults = []
        home = ground.lay(scenario)
        name, number = point
        inject = ["-e", f"trace={name}", "-e", f"inject={name}:signal=SIGKILL:when={number}"]
        done = ground.run(scenario, home, inject)
        found = ground.target(scenario, home)
        is_new = scenario.is_new(found)
        if done.code not in (0, -9):  # 0: it took another way this time
            faults.append(f"code {done.code}: {done.err}")
        said = done.err if scenario is HELPER else done.out + done.err
        if PASSWORD in said or TOKEN in said:
            faults.append("a secret")
        if not (is_new or scenario.is_old(found)):
            faults.append(f"torn: {found!r}")
        faults += ground.faults_afterwards(scenario, home, tidy)
        ground.clear(home)
        return point, done.code == -9 and not is_new, faults

    results = ground.forks.each(kill, points)
    assert [(point, faults) for point, _, faults in results if faults] == []
    cut_off = [point for point, is_cut_off, _ in results if is_cut_off]
    assert {"rename", "renameat", "sendto"} & {name for name, _ in cut_off}
    assert len(cut_off) > len(points) / 3
    seen[scenario.name] = len(points)


def test_there_were_enough_points(seen: dict[str, int]) -> None:
    if set(seen) != {scenario.name for scenario in SCENARIOS}:
        missing("not all scenarios were run")
    assert sum(seen.values()) >= NEEDED
