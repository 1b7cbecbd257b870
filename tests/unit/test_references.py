"""README lists the reference of every error."""

from __future__ import annotations

import re

from tests.builders import ROOT
from tests.references import references


def test_readme_lists_every_reference_and_no_other() -> None:
    section = (
        (ROOT / "README.md").read_text().partition("### References\n")[2].partition("\n## ")[0]
    )
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| \S", section, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(references()) - set(listed) == set()
    assert set(listed) - set(references()) == {"unit-masked", "unit-not-found"}  # put together


def test_references_are_kebab_case_and_found_where_they_are() -> None:
    found = references()
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", item) for item in found)
    for known in (
        "aws-throttled",
        "restart-unsafe",
        "lock-timeout",
        "usage",
    ):  # each way to give one
        assert known in found
