"""Commands over a network that is dead, slow or lying: what they say, leave, and how soon."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ecsauth.aws.session import TOTAL_SECONDS
from ecsauth.token_cache.ask import ASK_SECONDS, HURRIED_SECONDS
from tests.builders import HOST, b64
from tests.conftest import need, need_root
from tests.lab.aws_stub import PRIVATE, PUBLIC, AwsStub, aws_stub, error_answer, token_answer
from tests.lab.conftest import Certificates
from tests.lab.faults import broken as servers
from tests.lab.faults.broken import Broken, Fault, broken
from tests.lab.faults.scenarios import LOGIN, OLD, PASSWORD, TOKEN, is_crash
from tests.lab.server import free_port

KEY = "s3cret-key-of-the-faults"
PROXY_PASSWORD = "pr0xy-word-of-the-faults"
NOT_FOUND = "credentials not found in native keychain\n"
VERIFY_SECONDS = 3.0
VERIFY_DEFAULT = 10.0
START_SECONDS = 12.0
"""What a process takes besides, on a machine that is busy with other tests."""

NEVER: Fault = servers.silent
SLOW_HEAD: Fault = servers.slow_head
SLOW_BODY: Fault = servers.slow_body
FAULTS: dict[str, Fault] = {
    "reset": servers.reset,
    "cut-short": servers.cut_short,
    "html": servers.html,
    "empty": servers.empty,
    "redirects": servers.redirects,
    "500": servers.answers("500 Internal Server Error"),
    "503": servers.answers("503 Service Unavailable", f"<html>{TOKEN}</html>"),
    "403-html": servers.answers("403 Forbidden", f"<html>{TOKEN}</html>"),
    "429": servers.answers("429 Too Many Requests", TOKEN),
    "throttling": servers.answers(
        "400 Bad Request", json.dumps({"__type": "ThrottlingException", "message": TOKEN})
    ),
    "slow-down": servers.answers(
        "503 Slow Down", f"<Error><Code>SlowDown</Code><Message>{TOKEN}</Message></Error>"
    ),
}
TLS_FAULTS: dict[str, Fault] = {"no-tls": servers.html, "garbage": servers.garbage}


@dataclass(frozen=True)
class Command:
    """A command, and how it is to end when nothing can be had.

    Attributes:
        arguments: of Python; HOME in them is the home directory.
        code: its exit code.
        seconds: that it may take; the promise of the README.

    """

    arguments: tuple[str, ...]
    code: int
    seconds: float = TOTAL_SECONDS


_ECSAUTH = ("-m", "ecsauth")
_STATE = ("--state-dir", "HOME/state")
_TO = ("--to", "HOME/ecs.config", *_STATE, "--restart=never")
COMMANDS = {
    "refresh": Command((*_ECSAUTH, "refresh", "ecr:us-west-2", *_TO), 3),
    "public": Command((*_ECSAUTH, "refresh", "ecr-public:", *_TO), 3),
    "pull": Command((*_ECSAUTH, "pull", "s3://fleet/key", *_TO), 3),
    "publish": Command((*_ECSAUTH, "publish", "HOME/login.json", "s3://fleet/key", *_STATE), 4),
    "helper": Command(("-m", "ecsauth.helper", "get"), 1, ASK_SECONDS),
    "held": Command(("-m", "ecsauth.helper", "get"), 0, HURRIED_SECONDS),
    "fleet": Command((*_ECSAUTH, "fleet", "refresh", "--cluster", "lab"), 3),
}
SOME = ("refresh", "pull", "helper")
MORE = ("public", "publish")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        seconds: since the first connection to a broken server, else since its start.
        said: what it wrote, into its log too.
        is_untouched: whether the target is byte for byte as before.

    """

    code: int
    out: str
    said: str
    seconds: float
    is_untouched: bool

    @property
    def errors(self) -> list[str]:
        """The lines that are errors."""
        return [line for line in self.said.splitlines() if " error" in line.partition("[")[0]]


@dataclass
class Place:
    """Where one command runs: its home, and the environment that leads it to a server."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir()
        (self.home / "ecs.config").write_text(OLD)
        (self.home / "ecs.config").chmod(0o600)
        (self.home / "login.json").write_text(LOGIN)

    def start(self, command: Command, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start a command; `before` stands before Python."""
        arguments = [part.replace("HOME", str(self.home)) for part in command.arguments]
        process = subprocess.Popen(
            [*before, sys.executable, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "AWS_ACCESS_KEY_ID": "ADMIN",
                "AWS_SECRET_ACCESS_KEY": KEY,
                "AWS_REGION": "us-west-2",
                "AWS_EC2_METADATA_DISABLED": "true",
                "ECSAUTH_ENV_FILE": "",
                **self.environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        process.stdin.write(HOST)
        process.stdin.close()
        process.stdin = None
        return process

    def run(
        self, command: Command, server: Broken | None = None, before: Sequence[str] = ()
    ) -> Ended:
        """Run a command to its end."""
        begun = time.monotonic()
        process = self.start(command, before)
        try:
            out, said = process.communicate(timeout=2 * TOTAL_SECONDS)
        finally:
            process.kill()
        seconds = time.monotonic() - (begun if server is None else server.first_at or begun)
        for log in (self.home / ".ecr").glob("log/*"):
            said += log.read_text()
        is_untouched = (self.home / "ecs.config").read_text() == OLD
        return Ended(process.returncode, out, said, seconds, is_untouched)


def faults_of(command: Command, ended: Ended) -> list[str]:
    """Return what is wrong with how a command ended for which nothing was to be had."""
    found = []
    if ended.code != command.code:
        found.append(f"code {ended.code}")
    if not ended.is_untouched:
        found.append("another file")
    if command.code == 1 and ended.out != NOT_FOUND:
        found.append("another answer")
    if len(ended.errors) != (command.code > 0) or not all("; " in line for line in ended.errors):
        found.append("not one error with a next step")
    if is_crash(ended.said):
        found.append("a traceback, or nearly")
    all_said = ended.said + ("" if command.code == 0 else ended.out)
    if any(word in all_said for word in (KEY, PASSWORD, TOKEN, PROXY_PASSWORD)):
        found.append("a secret")
    if ended.seconds > command.seconds + START_SECONDS:
        found.append("late")
    return [*found, str(ended)] if found else []


@dataclass
class Lab:
    """All runs of this module, begun together; `ends` has those that are under way."""

    folder: Path
    stack: contextlib.ExitStack
    slow: ThreadPoolExecutor
    quick: ThreadPoolExecutor
    ends: dict[tuple[str, str], Future[Ended]] = field(default_factory=dict)

    def place(self, name: str, **environment: str) -> Place:
        """Make a place."""
        return Place(self.folder / f"{name}-{len(list(self.folder.iterdir()))}", environment)

    def serve(self, fault: Fault) -> Broken:
        """Start a server that serves until the end of the module."""
        return self.stack.enter_context(broken(fault))

    def begin(
        self,
        scene: str,
        names: Sequence[str],
        environment: Mapping[str, str],
        before: Sequence[str] = (),
    ) -> None:
        """Begin some commands in one scene."""
        for name in names:
            place = self.place(f"{scene}-{name}", **environment)
            self.ends[scene, name] = self.quick.submit(place.run, COMMANDS[name], None, before)

    def begin_slow(self, scene: str, name: str, fault: Fault) -> None:
        """Begin a command that will wait; it is timed from its first connection."""
        place = self.place(f"{scene}-{name}")
        server = self.serve(fault)
        place.environment["AWS_ENDPOINT_URL"] = server.url
        if name == "held":
            hold_token(place, server)
        self.ends[scene, name] = self.slow.submit(place.run, COMMANDS[name], server)

    def faults(self, scene: str, names: Sequence[str]) -> dict[str, list[str]]:
        """Wait for some commands; return what is wrong with how they ended."""
        found = {name: faults_of(COMMANDS[name], self.ends[scene, name].result()) for name in names}
        return {name: faults for name, faults in found.items() if faults}


@contextlib.contextmanager
def token_api() -> Iterator[AwsStub]:
    """Serve an API that works."""
    with aws_stub() as made:
        made.answers[PRIVATE] = token_answer(HOST, password=TOKEN)
        made.answers[PUBLIC] = token_answer("", password=TOKEN, public=True)
        yield made


def host_of(stub: AwsStub) -> str:
    """Return its host:port."""
    return stub.url.partition("//")[2]


def hold_token(place: Place, server: Broken) -> None:
    """Put a token into the helper's cache of which more than half of its life has passed."""
    place.environment["AWS_ENDPOINT_URL"] = server.url
    assert place.run(COMMANDS["held"]).code == 0
    (path,) = (place.home / ".ecr" / "ecsauth-cache").glob("*.token")
    token = json.loads(path.read_text())
    token["requested_at"] -= 7 * 3600
    token["expires_at"] -= 7 * 3600
    path.write_text(json.dumps(token))
    shutil.rmtree(path.parent / "answers")
    server.first_at = 0.0


WAITING = [
    *(("silent", name, NEVER) for name in ("refresh", "public", "pull", "publish", "helper")),
    *(("slow-head", name, SLOW_HEAD) for name in ("refresh", "pull", "helper")),
    *(("slow-body", name, SLOW_BODY) for name in ("refresh", "pull", "publish", "helper")),
]
HELD = {"silent": NEVER, "slow-body": SLOW_BODY, "reset": servers.reset}
NO_NETWORK = ("unshare", "--net", "--mount", "sh", "-c")
DEAF_DNS = """\
ip link set lo up
echo nameserver 127.0.0.1 >"$HOME/resolv.conf"
mount --bind "$HOME/resolv.conf" /etc/resolv.conf
"$1" -c 'import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53)); print(flush=True); time.sleep(100)' >"$HOME/bound" &
while ! [ -s "$HOME/bound" ]; do sleep 0.05; done
trap "kill $!" EXIT
"$@"
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Lab]:
    """Begin everything at once: what waits, waits while the rest runs, two at a time."""
    need_root()
    need("unshare", "ip")
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(ThreadPoolExecutor(len(WAITING) + len(HELD) + 1))
        quick = stack.enter_context(ThreadPoolExecutor(2))
        lab = Lab(tmp_path_factory.mktemp("network"), stack, slow, quick)
        for scene, name, fault in WAITING:
            lab.begin_slow(scene, name, fault)
        api = stack.enter_context(token_api())
        for scene, fault in HELD.items():
            lab.begin_slow(scene, "held", servers.works_once(host_of(api), fault))
        deaf = lab.place("deaf", AWS_ENDPOINT_URL="https://name.invalid")
        lab.ends["dns-deaf", "refresh"] = slow.submit(
            deaf.run, COMMANDS["refresh"], None, [*NO_NETWORK, DEAF_DNS, "sh"]
        )
        for scene, fault in FAULTS.items():
            url = lab.serve(fault).url
            names = (*SOME, *MORE) if scene in ("html", "empty", "reset") else SOME
            lab.begin(scene, names, {"AWS_ENDPOINT_URL": url})
        refused = f"http://127.0.0.1:{free_port()}"
        lab.begin("refused", (*SOME, *MORE, "fleet"), {"AWS_ENDPOINT_URL": refused})
        invalid = {"AWS_ENDPOINT_URL": "https://name.invalid"}
        lab.begin("dns", SOME, invalid)
        lab.begin("no-network", ("refresh",), invalid, [*NO_NETWORK, '"$@"', "sh"])
        for scene, fault in TLS_FAULTS.items():
            url = f"https://{lab.serve(fault).address}"
            lab.begin(scene, SOME, {"AWS_ENDPOINT_URL": url})
        unknown = servers.speaks_tls(certificates.certificate, certificates.key, "127.0.0.1:1")
        lab.begin("ca", SOME, {"AWS_ENDPOINT_URL": f"https://{lab.serve(unknown).address}"})
        asks = servers.answers("407 Proxy Authentication Required", TOKEN)
        for scene, address in (("407", lab.serve(asks).address), ("proxy-refused", refused[7:])):
            proxy = f"http://user:{PROXY_PASSWORD}@{address}"
            lab.begin(scene, SOME, {**invalid, "HTTPS_PROXY": proxy})
            plain = {"AWS_ENDPOINT_URL": "http://name.invalid", "HTTP_PROXY": proxy}
            lab.begin(f"{scene}-http", ("refresh",), plain)
        yield lab


@pytest.mark.parametrize("scene", FAULTS)
def test_bad_answer_is_one_error_and_no_change(lab: Lab, scene: str) -> None:
    names = [name for found, name in lab.ends if found == scene]
    assert set(names) >= set(SOME)
    assert lab.faults(scene, names) == {}


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ("refused", "no answer from AWS"),
        ("dns", "no answer from AWS"),
        ("no-network", "no answer from AWS"),
        ("no-tls", "the TLS handshake with AWS failed"),
        ("garbage", "the TLS handshake with AWS failed"),
        ("ca", "the certificate of AWS is not trusted"),
        ("407", "no answer from AWS in us-west-2 (ProxyConnectionError)"),
        ("proxy-refused", "no answer from AWS in us-west-2 (ProxyConnectionError)"),
        ("407-http", "failed: 407; check for a proxy"),
        ("proxy-refused-http", "no answer from AWS in us-west-2 (ProxyConnectionError)"),
    ],
)
def test_no_connection_is_one_error_and_no_change(lab: Lab, scene: str, words: str) -> None:
    names = [name for found, name in lab.ends if found == scene]
    assert lab.faults(scene, names) == {}
    for name in names:
        assert words in lab.ends[scene, name].result().errors[0]


@pytest.fixture
def stub() -> Iterator[AwsStub]:
    """An API that works."""
    with token_api() as made:
        yield made


def assert_refreshed(place: Place, name: str = "refresh") -> None:
    ended = place.run(COMMANDS[name])
    assert ended.code == 0, ended
    assert not ended.is_untouched
    assert b64(f"AWS:{TOKEN}") in (place.home / "ecs.config").read_text()


@pytest.mark.parametrize("name", ["refresh", "public"])
def test_trouble_that_passes_is_not_noticed(tmp_path: Path, stub: AwsStub, name: str) -> None:
    action = PRIVATE if name == "refresh" else PUBLIC
    good, trouble = stub.answers[action], error_answer(503, "ServiceUnavailable")
    stub.answers[action] = lambda *given: (trouble if len(stub.calls) < 3 else good)(*given)
    assert_refreshed(Place(tmp_path / "place", {"AWS_ENDPOINT_URL": stub.url}), name)
    assert len(stub.calls) == 3


def test_proxy_that_works_is_used_and_no_proxy_heeded(
    tmp_path: Path, stub: AwsStub, certificates: Certificates
) -> None:
    at_once = {"AWS_ENDPOINT_URL": "http://name.invalid", "HTTP_PROXY": stub.url}
    assert_refreshed(Place(tmp_path / "http", at_once))
    refused = f"http://127.0.0.1:{free_port()}"
    around = {"AWS_ENDPOINT_URL": stub.url, "HTTP_PROXY": refused, "NO_PROXY": "127.0.0.1"}
    assert_refreshed(Place(tmp_path / "around", around))
    front = servers.speaks_tls(certificates.certificate, certificates.key, host_of(stub))
    with broken(front) as tls, broken(servers.tunnels) as proxy:
        tunnel = {
            "AWS_ENDPOINT_URL": f"https://{tls.address}",
            "HTTPS_PROXY": f"http://user:{PROXY_PASSWORD}@{proxy.address}",
            "AWS_CA_BUNDLE": str(certificates.ca),
        }
        assert_refreshed(Place(tmp_path / "tunnel", tunnel))
        assert proxy.count == 1


def registries(lab: Lab, faults: Mapping[str, Fault]) -> dict[str, str]:
    """Serve registries that are broken; return host:port → which."""
    return {lab.serve(fault).address: name for name, fault in faults.items()}


REGISTRIES = {**FAULTS, **TLS_FAULTS, "silent": NEVER, "slow": SLOW_HEAD, "slow-body": SLOW_BODY}


def login_file(place: Place, hosts: Sequence[str]) -> None:
    entries = {host: {"auth": b64(f"u:{PASSWORD}")} for host in hosts}
    (place.home / "login.json").write_text(json.dumps({"auths": entries}))


def test_verify_names_every_registry_that_fails_within_its_timeout(lab: Lab) -> None:
    hosts = registries(lab, REGISTRIES)
    hosts[f"127.0.0.1:{free_port()}"] = "refused"
    hosts["name.invalid"] = "dns"
    good = lab.serve(servers.answers("200 OK")).address
    place = lab.place("verify", HTTPS_PROXY="", NO_PROXY="*")
    login_file(place, [*hosts, good])
    command = Command(
        (*_ECSAUTH, "verify", "HOME/login.json", f"--verify-timeout={VERIFY_SECONDS}"),
        3,
        2 * VERIFY_SECONDS,  # 16 at a time
    )
    ended = place.run(command)
    assert "Traceback" not in ended.said
    assert PASSWORD not in ended.said + ended.out
    outcomes = {line.split()[0]: line.split()[2] for line in ended.out.splitlines()}
    assert outcomes.pop(good) == "accepted"
    accepted = ["cut-short", "empty"]  # what stands in the answer to /v2/ means nothing
    assert {hosts[host]: outcome for host, outcome in outcomes.items()} == {
        **dict.fromkeys(hosts.values(), "unreachable"),
        **dict.fromkeys(accepted, "accepted"),
    }
    assert ended.code == 3
    assert ended.seconds <= command.seconds + START_SECONDS


def test_migrate_writes_what_cannot_be_verified_and_says_so_in_time(lab: Lab) -> None:
    hosts = registries(lab, {"silent": NEVER, "slow": SLOW_BODY})
    place = lab.place("migrate")
    login_file(place, [*hosts])
    arguments = (*_ECSAUTH, "migrate", "HOME/login.json", "--verify", *_TO)
    ended = place.run(Command(arguments, 0))
    assert ended.code == 0, ended
    assert re.findall(r"(\S+) is unreachable, not verified", ended.said) == [*hosts]
    assert PASSWORD not in ended.said + ended.out
    assert b64(f"u:{PASSWORD}") in (place.home / "ecs.config").read_text()
    assert VERIFY_DEFAULT - 0.5 <= ended.seconds <= VERIFY_DEFAULT + START_SECONDS


@pytest.mark.parametrize(
    ("scene", "name"),
    [
        *((scene, name) for scene, name, _ in WAITING),
        *((scene, "held") for scene in HELD),
        ("dns-deaf", "refresh"),
    ],
)
def test_what_waits_ends_in_time(lab: Lab, scene: str, name: str) -> None:
    assert lab.faults(scene, [name]) == {}


def test_silence_was_waited_for(lab: Lab) -> None:
    """The positive control of the times: these did meet what is slow."""
    for scene, name in (("slow-head", "refresh"), ("slow-body", "pull"), ("slow-body", "helper")):
        ended = lab.ends[scene, name].result()
        assert ended.seconds > 0.8 * COMMANDS[name].seconds
    assert TOKEN in lab.ends["silent", "held"].result().out
