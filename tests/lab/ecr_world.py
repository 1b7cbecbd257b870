"""A small world in a namespace of its own: an ECR registry by its real name, its API, dockerd."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from tests.builders import HOST
from tests.conftest import missing, need, need_root
from tests.lab.aws_stub import PRIVATE, PUBLIC, AwsStub, aws_stub, error_answer, token_answer
from tests.lab.server import start, stop, wait_for

PUBLIC_HOST = "public.ecr.aws"
OTHER_HOST = "registry.lab.example"
REPOSITORY = "lab/app:1"
IMAGE = f"{HOST}/{REPOSITORY}"
PUBLIC_IMAGE = f"{PUBLIC_HOST}/{REPOSITORY}"
OTHER_IMAGE = f"{OTHER_HOST}/{REPOSITORY}"
LOCAL_IMAGE = "lab/busybox"
TOKEN = "short-t0ken-of-the-lab"
KEY_ID = "LABKEY"
SECRET_KEY = "secret-key-of-the-lab"
ONE_CALL = [f"{PRIVATE} in us-west-2 by {KEY_ID}"]
CLIS = [path for path in ("/usr/local/bin/docker", "/usr/bin/docker") if Path(path).exists()]

_HELPER = "docker-credential-ecr-login"
_REGISTRY, _API, _ANONYMOUS = "10.99.0.1", "10.99.0.2", "10.99.0.3"
_NAMES = {
    _REGISTRY: [HOST],
    _API: [
        "api.ecr.us-west-2.amazonaws.com",
        "api.ecr.us-west-2.api.aws",
        "ecr.us-west-2.api.aws",
        "api.ecr-fips.us-west-2.amazonaws.com",
        "ecr-fips.us-west-2.amazonaws.com",
        "api.ecr-public.us-east-1.amazonaws.com",
        "ecr-public.us-east-1.api.aws",
        "sts.us-west-2.amazonaws.com",
    ],
    _ANONYMOUS: [PUBLIC_HOST, OTHER_HOST],
}
_NAMESPACE = """
set -e
ip link set lo up
for address in $2; do ip addr add "$address/32" dev lo; done
mount --bind "$1" /etc/hosts
mount -t tmpfs none /run
mount -t tmpfs none /dev/shm
echo ready
exec sleep infinity
"""
_LISTEN = """
import socket, sys
listener = socket.create_server((sys.argv[1], 443))
with socket.socket(fileno=int(sys.argv[2])) as channel:
    socket.send_fds(channel, [b"x"], [listener.fileno()])
"""


@dataclass
class World:
    """The namespace and what runs in it.

    Attributes:
        home: a folder with the files of its servers.
        pid: of the process that holds the namespace.
        aws: the API; calls of each test, and what it answers.
        endpoints: by which names the API was called.

    """

    home: Path
    pid: int
    aws: AwsStub = field(default_factory=AwsStub)
    endpoints: list[str] = field(default_factory=list)

    @property
    def docker_host(self) -> str:
        """Where its dockerd listens."""
        return f"unix://{self.home}/d.sock"

    @property
    def ca(self) -> Path:
        """The certificate of the private CA that all servers here have theirs from."""
        return self.home / "ca.pem"

    def inside(self, *command: str) -> list[str]:
        """Return what runs a command inside, with its ``/`` as the working directory."""
        return [shutil.which("nsenter") or "nsenter", "-t", str(self.pid), "-m", "-n", *command]

    def environment(self, home: Path, path: str = "") -> dict[str, str]:
        """Return the variables of a user with a home directory: all of them."""
        return {
            "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(home / "run"),
            "DOCKER_HOST": self.docker_host,
            "SSL_CERT_FILE": str(self.ca),
            "AWS_CA_BUNDLE": str(self.ca),
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def reset(self) -> None:
        """Let the API answer, forget its calls, and the images that were pulled."""
        self.aws.calls.clear()
        self.endpoints.clear()
        self.aws.answers[PRIVATE] = token_answer(HOST, password=TOKEN)
        self.aws.answers[PUBLIC] = token_answer("", password=TOKEN, public=True)
        self.docker("image", "rm", "-f", IMAGE, PUBLIC_IMAGE, OTHER_IMAGE, check=False)

    def break_aws(self) -> None:
        """Let the API fail from now on."""
        self.aws.answers[PRIVATE] = error_answer(500, "ServerException")
        self.aws.answers[PUBLIC] = error_answer(500, "ServerException")

    def docker(self, *arguments: str, check: bool = True) -> None:
        """Run a docker command as somebody without any configuration."""
        environment = self.environment(self.home / "nobody")
        done = subprocess.run(
            self.inside(CLIS[0], *arguments), env=environment, capture_output=True, text=True
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {arguments}: {done.stderr}")


@dataclass(frozen=True)
class Desk:
    """A user of the world, with a home directory of his own.

    Attributes:
        home: his home directory.
        programs: a folder that is first on his PATH.
        variables: that he has besides those of `World.environment`.

    """

    world: World
    home: Path
    programs: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(
        self, *command: str, stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the world; does not raise."""
        environment = self.world.environment(self.home, str(self.programs))
        return subprocess.run(
            self.world.inside(*command),
            env={**environment, **self.variables, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def docker(
        self, *arguments: str, cli: str = "", stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a docker command; does not raise."""
        return self.run(cli or CLIS[0], *arguments, stdin=stdin, **variables)

    def install(self, *arguments: str) -> None:
        """Run ``ecsauth install helper``; from now on his PATH leads to its launcher."""
        command = ["-m", "ecsauth", "install", "helper", "--bin-dir", str(self.programs)]
        done = self.run(sys.executable, *command, *arguments)
        assert done.returncode == 0, done.stderr
        path = self.world.environment(self.home, str(self.programs))["PATH"]
        assert shutil.which(_HELPER, path=path) == str(self.programs / _HELPER)

    @property
    def config(self) -> Path:
        """The docker config."""
        return self.home / ".docker" / "config.json"

    @property
    def log(self) -> Path:
        """The log of the helper."""
        return self.home / ".ecr" / "log" / "ecr-login.log"

    @property
    def tokens(self) -> list[Path]:
        """The tokens in the cache of the helper."""
        return list((self.home / ".ecr" / "ecsauth-cache").glob("*.token"))

    @property
    def answers(self) -> list[Path]:
        """The ready answers in it."""
        return list((self.home / ".ecr" / "ecsauth-cache" / "answers").iterdir())

    def age(self, seconds: int) -> None:
        """Let the one token in the cache be older than it is, its ready answers gone."""
        (path,) = self.tokens
        token = json.loads(path.read_text())
        token["requested_at"] -= seconds
        token["expires_at"] -= seconds
        path.write_text(json.dumps(token))
        for answer in self.answers:
            answer.unlink()


@contextlib.contextmanager
def ecr_world() -> Iterator[World]:
    """Set the world up; it is gone at the end of the ``with`` block."""
    need_root()
    need("dockerd", "docker-registry", "htpasswd", "busybox")
    need("ip", "mount", "nsenter", "unshare", "openssl")
    if not CLIS:
        missing("needs a docker CLI")
    home = Path(tempfile.mkdtemp(prefix="ecsauth-ecr-"))
    with contextlib.ExitStack() as held:
        held.callback(shutil.rmtree, home, ignore_errors=True)
        _make_certificates(home)
        lines = [f"{address} {name}" for address, names in _NAMES.items() for name in names]
        (home / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        unshare = ["unshare", "-m", "-n", "--propagation", "private", "sh", "-c", _NAMESPACE, "sh"]
        log = home / "namespace.log"
        holder = _run(
            held,
            [*unshare, str(home / "hosts"), " ".join(_NAMES)],
            log,
            lambda: "ready" in log.read_text(),
        )
        world = World(home, holder)
        listener = _listener(world, _API)
        world.aws = held.enter_context(aws_stub())
        held.enter_context(_in_tls(listener, world))
        login = subprocess.run(
            ["htpasswd", "-Bbn", "AWS", TOKEN], capture_output=True, text=True, check=True
        )
        (home / "htpasswd").write_text(login.stdout)
        auth = f"auth: {{htpasswd: {{realm: lab, path: {home}/htpasswd}}}}\n"
        _run_registry(held, world, _REGISTRY, auth)
        _run_registry(held, world, _ANONYMOUS, "")
        _run_dockerd(held, world)
        _import_image(world)
        yield world


def _run(
    held: contextlib.ExitStack, command: list[str], log: Path, is_ready: Callable[[], bool]
) -> int:
    """Start a server, wait for it, stop it at the end; return its process id."""
    process = start(command, log)
    held.callback(stop, process)
    wait_for(is_ready, Path(command[0]).name, process)
    return process.pid


def _run_registry(held: contextlib.ExitStack, world: World, address: str, auth: str) -> None:
    """Start a docker-registry on port 443; all have the same images."""
    home = world.home
    config, log = home / f"{address}.yml", home / f"{address}.log"
    tls = f"{{certificate: {home}/cert.pem, key: {home}/key.pem}}"
    config.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {home}/images}}}}\n"
        f"http: {{addr: '{address}:443', tls: {tls}}}\n"
        f"{auth}"
    )
    program = shutil.which("docker-registry") or ""
    command = world.inside(program, "serve", str(config))
    _run(held, command, log, lambda: "listening on" in log.read_text())


def _run_dockerd(held: contextlib.ExitStack, world: World) -> None:
    home = world.home
    flags = "--iptables=false --ip6tables=false --bridge=none --ip-forward=false --ip-masq=false"
    command = [
        *("env", f"SSL_CERT_FILE={world.ca}"),
        *(shutil.which("dockerd") or "", *flags.split(), "--group=root"),
        *(f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"),
        f"--host={world.docker_host}",
    ]
    log = home / "dockerd.log"
    _run(held, world.inside(*command), log, lambda: "API listen on" in log.read_text())


def _import_image(world: World) -> None:
    """Make the image that is in dockerd, and push it to the registries."""
    archive = world.home / "rootfs.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(shutil.which("busybox") or "", "bin/busybox")
    world.docker("import", str(archive), LOCAL_IMAGE)
    world.docker("tag", LOCAL_IMAGE, PUBLIC_IMAGE)
    world.docker("push", PUBLIC_IMAGE)


def _make_certificates(home: Path) -> None:
    names = ",".join(f"DNS:{name}" for names in _NAMES.values() for name in names)
    (home / "ext").write_text(
        f"subjectAltName={names}\nbasicConstraints=critical,CA:false\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for command in (
        f"req -x509 {new_key} -keyout ca.key -out ca.pem -subj /CN=lab-CA -days 2"
        " -addext keyUsage=critical,keyCertSign",
        f"req {new_key} -keyout key.pem -out csr.pem -subj /CN=lab",
        "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2"
        " -extfile ext",
    ):
        subprocess.run(["openssl", *command.split()], cwd=home, check=True, capture_output=True)


def _listener(world: World, address: str) -> socket.socket:
    """Return a socket of this process that listens inside."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        descriptor = theirs.fileno()
        command = world.inside(sys.executable, "-c", _LISTEN, address, str(descriptor))
        subprocess.run(command, pass_fds=[descriptor], check=True)
        _, (received, *_), _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=received)


@contextlib.contextmanager
def _in_tls(listener: socket.socket, world: World) -> Iterator[None]:
    """Pass what comes by TLS on to the plain server of the API."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.home / "cert.pem", world.home / "key.pem")

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            world.endpoints.append(self.headers["Host"])
            connection = http.client.HTTPConnection(world.aws.url.rpartition("/")[2], timeout=30)
            with contextlib.closing(connection):
                connection.request("POST", self.path, body, dict(self.headers.items()))
                response = connection.getresponse()
                data = response.read()
            self.send_response_only(response.status)
            for name in ("Date", "Content-Type", "Content-Length"):
                self.send_header(name, response.headers[name])
            self.end_headers()
            self.wfile.write(data)

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that went away."""

    server = Server(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = context.wrap_socket(listener, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
