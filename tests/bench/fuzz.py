"""``python -m tests.bench.fuzz``: each target of the fuzz tests for very many inputs.

With atheris (``pip install atheris``), which finds its way by coverage; without it, by mutations of
the samples and of the files that the agent has read. One line a target; 1 if there are findings.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.builders import ROOT
from tests.lab.security.inputs import ODD, seeds

PROJECT = ROOT
MAX_INPUT = 4096
_DONE = re.compile(r"Done (\d+) runs in (\d+) second|^#(\d+)\s", re.MULTILINE)


def main() -> int:
    """Fuzz all targets, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, metavar="N", help="at most, a target")
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="N", help="the same")
    parser.add_argument("--target", metavar="NAME", help="only this one")
    parser.add_argument("--child", type=Path, metavar="DIRECTORY", help=argparse.SUPPRESS)
    given = parser.parse_args()
    has_atheris = importlib.util.find_spec("atheris") is not None
    if given.child:
        fuzz = _with_atheris if has_atheris else _with_mutations
        fuzz(given.target, given.child, given.inputs, given.seconds)
        return 0
    print(f"by {'atheris' if has_atheris else 'mutations (atheris is not here)'}")
    names = [given.target] if given.target else _names()
    return int(sum(_run(name, given.inputs, given.seconds) for name in names) > 0)


def _names() -> list[str]:
    from tests.lab.security.targets import TARGETS

    return [target.name for target in TARGETS]


def _run(name: str, inputs: int, seconds: int) -> int:
    """Fuzz one target; print its line and its findings, and return how many there are."""
    with tempfile.TemporaryDirectory(prefix="ecsauth-fuzz-") as folder:
        started = time.monotonic()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.bench.fuzz", "--child", folder, "--target", name),
                *("--inputs", str(inputs), "--seconds", str(seconds)),
            ],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        took = time.monotonic() - started
        counts = [int(one or two) for one, _, two in _DONE.findall(done.stderr)]
        findings = [path.read_text() for path in sorted(Path(folder).glob("finding-*"))]
    if done.returncode or not counts:
        findings.append(f"it ended with {done.returncode}: {done.stderr[-2000:]}")
    print(
        f"{name:<20} {max(counts, default=0):>10,} inputs {took:>6.0f} s {len(findings)} findings"
    )
    for text in findings:
        print(text)
    sys.stdout.flush()
    return len(findings)


def _collecting(check: Callable[[bytes], object], folder: Path) -> Callable[[bytes], None]:
    """Write down each kind of finding once, and go on."""
    seen: set[str] = set()

    def one(data: bytes) -> None:
        try:
            check(data)
        except Exception as error:  # every one is a finding
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {last.filename}:{last.lineno}"
            if kind not in seen:
                seen.add(kind)
                text = f"{kind}\n  input {data!r}\n{traceback.format_exc()}"
                (folder / f"finding-{len(seen)}").write_text(text, errors="backslashreplace")

    return one


def _with_atheris(name: str, folder: Path, inputs: int, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["ecsauth"]):
        from tests.lab.security.targets import TARGETS
    (target,) = (item for item in TARGETS if item.name == name)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, text in enumerate(seeds()):
        (corpus / str(number)).write_bytes(text)
    limits = [f"-runs={inputs}", f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}"]
    atheris.Setup([name, str(corpus), *limits], _collecting(target.from_bytes(), folder))
    with contextlib.suppress(SystemExit):
        atheris.Fuzz()


def _with_mutations(name: str, folder: Path, inputs: int, seconds: int) -> None:
    from tests.lab.security.targets import TARGETS

    (target,) = (item for item in TARGETS if item.name == name)
    check = _collecting(target.from_bytes(), folder)
    chance, corpus = random.Random(name), seeds()
    started, count = time.monotonic(), 0
    while count < inputs and time.monotonic() < started + seconds:
        check(_mutated(chance, corpus) if target.kind != "values" else chance.randbytes(2048))
        count += 1
    print(f"Done {count} runs in {time.monotonic() - started:.0f} second", file=sys.stderr)


def _mutated(chance: random.Random, corpus: list[bytes]) -> bytes:
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 5)):
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.randint(0, 8))
        other = chance.choice(corpus)
        data[start:end] = chance.choice(
            [
                b"",
                bytes([chance.randrange(256)]),
                chance.choice(ODD).encode("utf-8", "surrogatepass"),
                data[start:end] * 2,
                other[chance.randint(0, len(other)) :],
            ]
        )
    return bytes(data[:MAX_INPUT])


if __name__ == "__main__":
    sys.exit(main())
