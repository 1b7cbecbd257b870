"""The credential helper against Amazon's, and a miss against the AWS CLI."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.bench.table import Line
from tests.bench.timing import Program, aws_cli, environment_of, medians, new_desk
from tests.builders import HOST, ROOT
from tests.lab.ecr_world import TOKEN, Desk, World, ecr_world
from tests.lab.test_ecr import ASSUMED

GO = "/usr/bin/docker-credential-ecr-login"
PROJECT = ROOT
ROLE = (
    "[profile base]\naws_access_key_id=BASE\naws_secret_access_key=s\n"
    "[profile pull]\nrole_arn=arn:aws:iam::123456789012:role/p\nsource_profile=base\n"
    "region=us-west-2\n"
)


def helper_lines(rounds: int) -> list[Line]:
    """Measure everything about the helper; what is timed, so many times."""
    with ecr_world() as world, tempfile.TemporaryDirectory() as folder:
        return list(_lines(world, Path(folder), rounds))


def _lines(world: World, folder: Path, rounds: int) -> Iterator[Line]:
    def desk(name: str) -> Desk:
        return new_desk(world, folder, name)

    world.reset()
    one = desk("one")
    one.install(HOST)
    launcher = str(one.programs / "docker-credential-ecr-login")
    console = str(Path(sys.executable).with_name("docker-credential-ecr-login"))
    plain = environment_of(one)
    hits = _milliseconds(
        world,
        rounds,
        launcher=_get(launcher, plain),
        console=_get(console, plain),
        go=_get(GO, plain),
        python=Program((sys.executable, "-I", "-S", "-c", f"print('{TOKEN}')"), plain, TOKEN),
    )
    go = "Go helper"
    yield Line("hit, launcher", hits["launcher"], "ms", hits["go"], go, 0.35)
    yield Line("hit, console script of pip", hits["console"], "ms", hits["go"], go)
    yield Line("hit, a bare python -I -S", hits["python"], "ms", hits["go"], go)
    yield _instance_role(world, launcher, desk("role"), rounds)
    yield from _assumed(world, launcher, desk("assume"))
    yield _cold(world, launcher, desk("cold"))
    yield from _miss(world, launcher, desk("miss"), min(rounds, 15))
    yield Line("hit, address space of the launcher", _address_space(one, launcher), "MB", goal=12)


def _get(program: str, environment: dict[str, str]) -> Program:
    return Program((program, "get"), environment, TOKEN, HOST)


def _milliseconds(world: World, rounds: int, **programs: Program) -> dict[str, float]:
    return {name: each.milliseconds for name, each in medians(world, rounds, programs).items()}


_METADATA = """
import http.server, time
from tests.lab.ec2_host import Metadata
class Slow(Metadata):
    protocol_version = "HTTP/1.1"
    def send_response(self, status):
        time.sleep(0.005)
        super().send_response(status)
        self.send_header("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
http.server.ThreadingHTTPServer(("127.0.0.1", 1338), Slow).serve_forever()
"""


def _instance_role(world: World, launcher: str, desk: Desk, rounds: int) -> Line:
    """Measure a hit whose AWS credentials come from a metadata service that takes 5 ms."""
    environment = environment_of(desk)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        environment.pop(name)
    environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:1338"
    server = subprocess.Popen(
        world.inside(sys.executable, "-c", _METADATA),
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    time.sleep(1)
    try:
        found = _milliseconds(
            world, rounds, ours=_get(launcher, environment), go=_get(GO, environment)
        )
    finally:
        server.terminate()
        server.wait()
    what = "hit, instance role (metadata service: 5 ms)"
    return Line(what, found["ours"], "ms", found["go"], "Go helper", 0.2)


def _calls(world: World, desk: Desk, program: str, variables: Mapping[str, str]) -> int:
    world.aws.calls.clear()
    for _ in range(10):
        done = desk.run(program, "get", stdin=HOST, **variables)
        if TOKEN not in done.stdout:
            raise RuntimeError(f"{program}: {done}")
    return len(world.aws.calls)


def _assumed(world: World, launcher: str, desk: Desk) -> Iterator[Line]:
    """Count what ten gets with a profile that assumes a role cost."""
    world.aws.answers["sts.AssumeRole"] = lambda _, __: (200, ASSUMED)
    (desk.home / ".aws").mkdir()
    (desk.home / ".aws" / "config").write_text(ROLE)
    variables = {
        "AWS_PROFILE": "pull",
        "AWS_SDK_LOAD_CONFIG": "1",
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
    }
    ours = _calls(world, desk, launcher, variables)
    theirs = _calls(world, desk, GO, variables)
    what = "assume-role profile, 10 gets: calls of STS and ECR"
    yield Line(what, ours, "calls", theirs, "Go helper", 2 / theirs)


def _cold(world: World, launcher: str, desk: Desk) -> Line:
    """Count the calls of 50 helpers that start at once with an empty cache."""
    counts = []
    for program in (launcher, GO):
        world.aws.calls.clear()
        processes = [
            subprocess.Popen(
                world.inside(program, "get"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment_of(desk),
                text=True,
            )
            for _ in range(50)
        ]
        answers = [process.communicate(HOST)[0] for process in processes]
        if not all(TOKEN in answer for answer in answers):
            raise RuntimeError(f"{program}: not all were answered")
        counts.append(len(world.aws.calls))
    what = "50 at once on a cold cache: calls"
    return Line(what, counts[0], "calls", counts[1], "Go helper", 1 / counts[1])


def _miss(world: World, launcher: str, desk: Desk, rounds: int) -> Iterator[Line]:
    environment = environment_of(desk, AWS_ECR_DISABLE_CACHE="1", AWS_DEFAULT_REGION="us-west-2")
    programs = {"ours": _get(launcher, environment), "go": _get(GO, environment)}
    aws = aws_cli()
    if aws:
        programs["aws"] = Program((aws, "ecr", "get-login-password"), environment, TOKEN)
    found = _milliseconds(world, rounds, **programs)
    if aws:
        what = "miss"
        yield Line(what, found["ours"], "ms", found["aws"], "aws ecr get-login-password", 0.6)
    yield Line("miss", found["ours"], "ms", found["go"], "Go helper")


def _address_space(desk: Desk, launcher: str) -> float:
    """Return the smallest limit of address space, in MB, under which a hit is answered."""
    low, high = 0, 64 * 1024
    while high - low > 64:
        middle = (low + high) // 2
        done = subprocess.run(
            ["sh", "-c", f'ulimit -v {middle}; exec "$0" get', launcher],
            input=HOST,
            env=environment_of(desk),
            capture_output=True,
            text=True,
            check=False,
        )
        low, high = (low, middle) if TOKEN in done.stdout else (middle, high)
    return high / 1024
