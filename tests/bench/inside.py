"""Runs inside the namespace: measures whole processes in turn and prints medians as JSON.

``python -m tests.bench.inside ROUNDS`` with a JSON object on standard input: name → {"argv",
"stdin", "environment"}. All are run once before, so that caches are warm.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from typing import Any


def measured(
    argv: list[str], text: bytes, environment: dict[str, str]
) -> tuple[float, float, bytes]:
    """Run a program; return its milliseconds, its peak memory in MB and its standard output.

    The memory is no less than that of this process, which is why this one loads little.
    """
    read, write = os.pipe()
    os.write(write, text)
    os.close(write)
    out, theirs = os.pipe()
    begun = time.perf_counter()
    pid = os.posix_spawnp(
        argv[0],
        argv,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, read, 0),
            (os.POSIX_SPAWN_DUP2, theirs, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
    )
    os.close(theirs)
    data = b""
    while piece := os.read(out, 65536):
        data += piece
    _, _, usage = os.wait4(pid, 0)
    milliseconds = (time.perf_counter() - begun) * 1000
    os.close(read)
    os.close(out)
    return milliseconds, usage.ru_maxrss / 1024, data


def main(rounds: int, programs: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the medians of each program: milliseconds, MB."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, given in programs.items():
            spent, memory, data = measured(
                given["argv"], given["stdin"].encode(), given["environment"]
            )
            if given["expected"].encode() not in data:
                raise SystemExit(f"{name}: {data[:200]!r}")
            if number:
                found[name].append((spent, memory))
    return {
        name: (
            statistics.median(spent for spent, _ in each),
            statistics.median(memory for _, memory in each),
        )
        for name, each in found.items()
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), json.load(sys.stdin))))
