"""convert, refresh and run: against the bare interpreter, jq, the AWS CLI and a shell pipeline."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.table import Line
from tests.bench.timing import Program, aws_cli, environment_of, medians, new_desk
from tests.builders import HOST, b64
from tests.lab.aws_stub import PRIVATE, token_answer
from tests.lab.ecr_world import CLIS, TOKEN, Desk, World, ecr_world

ECSAUTH = str(Path(sys.executable).with_name("ecsauth"))
LOGIN = {"auths": {"registry.example.com": {"auth": b64("deploy:not-a-real-password")}}}
FOREIGN = "ECS_CLUSTER=lab\n# a comment\nECS_LOGLEVEL=warn\n"
_REFRESH = ("--restart=never", "--state-dir=state", "--to=ecs.config")
_PIPELINE = """
cd
aws ecr get-login-password | docker login -u AWS --password-stdin {host} >/dev/null 2>&1 &&
data=$(jq -c .auths .docker/config.json) &&
printf 'ECS_ENGINE_AUTH_TYPE=dockercfg\\nECS_ENGINE_AUTH_DATA=%s\\n' "$data" >piped.config &&
echo written
"""


def command_lines(rounds: int, largest: int = 100_000) -> list[Line]:
    """Measure the commands; what is timed, so many times, with so many registries at most."""
    with ecr_world() as world, tempfile.TemporaryDirectory() as folder:
        return [
            *_convert(world, Path(folder), rounds),
            *_large(world, Path(folder), largest),
            *_refresh(world, Path(folder), min(rounds, 15)),
            *_pipeline(world, Path(folder), min(rounds, 10)),
            *_idle(world, Path(folder)),
        ]


def _convert(world: World, folder: Path, rounds: int) -> Iterator[Line]:
    desk = new_desk(world, folder, "convert")
    login = desk.home / "config.json"
    login.write_text(json.dumps(LOGIN))
    environment = environment_of(desk)
    programs = {
        "ours": Program((ECSAUTH, "convert", str(login)), environment, "registry.example.com"),
        "python": Program((sys.executable, "-c", "print(1)"), environment, "1"),
        "jq": Program(("jq", "-c", ".auths", str(login)), environment, "registry.example.com"),
    }
    if aws := aws_cli():
        programs["aws"] = Program((aws, "--version"), environment, "aws-cli/")
    found = {name: each.milliseconds for name, each in medians(world, rounds, programs).items()}
    yield Line("convert", found["ours"], "ms", found["python"], "a bare python -c", 6)
    yield Line("convert", found["ours"], "ms", found["jq"], "jq -c .auths")
    if aws:
        yield Line("convert", found["ours"], "ms", found["aws"], "aws --version")


def _large(world: World, folder: Path, largest: int) -> Iterator[Line]:
    """Convert many registries; the start of the program is not taken off."""
    desk = new_desk(world, folder, "large")
    seconds = {}
    tenth = largest // 10
    for count in tenth, largest:
        path = desk.home / f"{count}.json"
        entry = {"auth": b64("user:password-of-a-usual-length")}
        path.write_text(json.dumps({"auths": {f"r{n}.example.com": entry for n in range(count)}}))
        argv = (ECSAUTH, "convert", "--output=docker-config", "--quiet", str(path))
        program = Program(argv, environment_of(desk), f"r{count - 1}.example.com")
        found = medians(world, 3, {"ours": program})
        seconds[count] = found["ours"].milliseconds / 1000
    yield Line(f"convert, {tenth:,} registries", seconds[tenth], "s", goal=1)
    peer = f"{tenth:,} registries"
    yield Line(f"convert, {largest:,} registries", seconds[largest], "s", seconds[tenth], peer, 11)


def _refresh(world: World, folder: Path, rounds: int) -> Iterator[Line]:
    """Refresh one ECR source that is due each time, with another token each time."""
    desk = new_desk(world, folder, "refresh")
    numbers = iter(range(10**9))
    world.aws.answers[PRIVATE] = lambda region, body: token_answer(
        HOST, password=f"{TOKEN}-{next(numbers)}"
    )(region, body)
    environment = environment_of(desk, AWS_DEFAULT_REGION="us-west-2")
    (desk.home / "ecs.config").write_text(FOREIGN)
    command = (ECSAUTH, "refresh", "ecr:", *_in(desk))
    programs = {
        "due": Program((*command, "--force"), environment, "written"),
        "nothing": Program(command, environment, "nothing is due"),
    }
    if aws := aws_cli():
        programs["aws"] = Program((aws, "ecr", "get-login-password"), environment, TOKEN)
    found = medians(world, rounds, programs)
    world.reset()
    if not aws:
        return
    theirs, name = found["aws"], "aws ecr get-login-password"
    yield Line("refresh, due", found["due"].milliseconds, "ms", theirs.milliseconds, name, 0.7)
    yield Line("refresh, due: peak", found["due"].megabytes, "MB", theirs.megabytes, name, 0.7)
    yield Line(
        "refresh, nothing due",
        found["nothing"].milliseconds,
        "ms",
        theirs.milliseconds,
        name,
        0.2,
    )


def _in(desk: Desk) -> list[str]:
    return [re.sub("=(state|ecs.config)$", rf"={desk.home}/\1", item) for item in _REFRESH]


def _pipeline(world: World, folder: Path, rounds: int) -> Iterator[Line]:
    """The same job as people do it today: time, calls, and lines of the file that it loses."""
    aws = aws_cli()
    if not aws:
        return
    desk = new_desk(world, folder, "pipeline")
    for name, path in ("aws", aws), ("docker", CLIS[0]):
        (desk.programs / name).symlink_to(path)
    environment = environment_of(desk, AWS_DEFAULT_REGION="us-west-2")
    files = {"ours": desk.home / "ecs.config", "shell": desk.home / "piped.config"}
    for file in files.values():
        file.write_text(FOREIGN)
    programs = {
        "ours": Program((ECSAUTH, "refresh", "ecr:", *_in(desk)), environment, "ecs.config: "),
        "shell": Program(("sh", "-c", _PIPELINE.format(host=HOST)), environment, "written"),
    }
    world.reset()
    calls, found = {}, {}
    for name, program in programs.items():
        world.aws.calls.clear()
        found[name] = medians(world, rounds, {name: program})[name]
        calls[name] = len(world.aws.calls)
    peer = "aws, docker login and jq"
    what = f"refresh on a timer, {rounds + 1} runs"
    yield Line(what, found["ours"].milliseconds, "ms", found["shell"].milliseconds, peer, 0.5)
    yield Line(f"{what}: calls", calls["ours"], "calls", calls["shell"], peer, 1 / calls["shell"])
    lost = {name: _lost(path) for name, path in files.items()}
    yield Line("lines of others that are lost", lost["ours"], "lines", lost["shell"], peer, 0)


def _lost(path: Path) -> int:
    kept = path.read_text().splitlines()
    return sum(line not in kept for line in FOREIGN.splitlines())


def _idle(world: World, folder: Path) -> Iterator[Line]:
    """Look at ``run`` between two refreshes: its memory, and how often it wakes up."""
    desk = new_desk(world, folder, "idle")
    target = desk.home / "ecs.config"
    target.write_text(FOREIGN)
    command = [ECSAUTH, "run", "--every=3600", "ecr:us-west-2", *_in(desk)]
    process = subprocess.Popen(
        world.inside(*command), env=environment_of(desk), stdout=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while "ENGINE_AUTH" not in target.read_text() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(3)  # until that refresh has ended too
        before = _status(process.pid)
        time.sleep(10)
        after = _status(process.pid)
    finally:
        process.terminate()
        process.wait()
    yield Line("run, idle", after["VmRSS"] / 1024, "MB", goal=30)
    name = "voluntary_ctxt_switches"
    yield Line("run, idle: wake-ups in 10 s", after[name] - before[name], "times", goal=0)


def _status(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/status").read_text()
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE)}
