"""``python -m tests.bench [--json FILE]``: all measurements, one table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.bench.commands import command_lines
from tests.bench.helper import helper_lines


def main() -> int:
    """Measure, print the table, write it as JSON if asked; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table there")
    parser.add_argument("--rounds", type=int, default=50, metavar="N", help="of what is timed")
    given = parser.parse_args()
    lines = [*command_lines(given.rounds), *helper_lines(given.rounds)]
    width = max(len(line.what) for line in lines)
    for line in lines:
        print(f"{line.what:<{width}}  {line.figures:<44}  {line.verdict}")
    if given.json:
        given.json.write_text(json.dumps([line.as_json() for line in lines], indent=2) + "\n")
    return int(any(line.is_missed for line in lines))


if __name__ == "__main__":
    sys.exit(main())
