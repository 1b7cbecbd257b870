"""Real counterparts: dockerd, the docker CLIs that are here, a registry that asks for a login."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.builders import HOST
from tests.conftest import missing, need, need_root
from tests.lab.aws_stub import PRIVATE, PUBLIC, AwsStub, aws_stub, token_answer
from tests.lab.ecr_world import Desk, World, ecr_world
from tests.lab.moto import Moto, moto_server
from tests.lab.seaweed import Meddler, Seaweed, meddler, seaweed_server
from tests.lab.server import free_port, start, stop, wait_for

IMAGE = "lab/busybox"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if "/lab/" in str(item.path):
            item.add_marker("lab")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


@dataclass
class Docker:
    """A dockerd of our own, reached by its API and by every docker CLI on this machine."""

    host: str
    clis: list[str] = field(default_factory=list)

    def run(
        self, *arguments: str, cli: str = "", env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a docker command; does not raise."""
        return subprocess.run(
            [cli or self.clis[0], *arguments],
            env={**os.environ, **(env or {}), "DOCKER_HOST": self.host},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the Engine API and return (status, JSON)."""
        connection = _UnixConnection(self.host[len("unix://") :])
        data = None if body is None else json.dumps(body)
        with contextlib.closing(connection):
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        return response.status, json.loads(text) if text else None

    def environment(self, container: str) -> dict[str, str]:
        """Return the variables that a container has."""
        _, inspected = self.api("GET", f"/containers/{container}/json")
        return dict(item.partition("=")[::2] for item in inspected["Config"]["Env"])

    def remove(self, container: str) -> None:
        """Remove a container."""
        self.api("DELETE", f"/containers/{container}?force=1")


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """Start dockerd, with an image `IMAGE` in it."""
    need_root()
    need("dockerd", "busybox")
    clis = [path for path in ("/usr/local/bin/docker", "/usr/bin/docker") if Path(path).exists()]
    if not clis:
        missing("needs a docker CLI")
    home = Path(tempfile.mkdtemp(prefix="ecsauth-lab-"))
    host = f"unix://{home}/d.sock"
    dockerd = shutil.which("dockerd") or ""
    flags = "--iptables=false --ip6tables=false --bridge=none --ip-forward=false --ip-masq=false"
    process = start(
        [
            dockerd,
            *flags.split(),
            f"--data-root={home}/data",
            f"--exec-root={home}/exec",
            f"--pidfile={home}/pid",
            f"--host={host}",
            "--group=root",
        ],
        home / "log",
    )
    found = Docker(host, clis)

    def answers() -> bool:
        try:
            return found.api("GET", "/_ping")[0] == 200
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return (home / "d.sock").exists() and "API listen" in (home / "log").read_text()

    try:
        wait_for(answers, "dockerd", process)
        _import_image(found, home)
        yield found
    finally:
        stop(process)
        subprocess.run(["umount", "-q", f"{home}/exec/netns/default"], check=False)
        shutil.rmtree(home, ignore_errors=True)


def _import_image(docker: Docker, home: Path) -> None:
    busybox = shutil.which("busybox") or ""
    archive = home / "rootfs.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
        for name in "sh", "sleep", "env":
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    done = docker.run("import", str(archive), IMAGE)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Registry:
    """A docker-registry that asks for a login."""

    host: str
    username: str
    password: str


@contextlib.contextmanager
def running_registry(username: str, password: str, tls: str, auth: str) -> Iterator[str]:
    """Start a docker-registry on a free port of 127.0.0.1; give its host:port.

    `tls` and `auth` are YAML for its configuration; in `auth`, HOME is its folder with htpasswd.
    """
    need("docker-registry", "htpasswd")
    home = Path(tempfile.mkdtemp(prefix="ecsauth-registry-"))
    port = free_port()
    entry = subprocess.run(
        ["htpasswd", "-Bbn", username, password], capture_output=True, text=True, check=True
    )
    (home / "htpasswd").write_text(entry.stdout)
    (home / "config.yml").write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {home}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'{tls}}}\n"
        f"auth: {auth.replace('HOME', str(home))}\n"
    )
    program = shutil.which("docker-registry") or ""
    process = start([program, "serve", str(home / "config.yml")], home / "log")

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(answers, "docker-registry", process)
        yield f"127.0.0.1:{port}"
    finally:
        stop(process)
        shutil.rmtree(home, ignore_errors=True)


HTPASSWD = "{htpasswd: {realm: lab, path: HOME/htpasswd}}"


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """Start a registry on plain HTTP, which docker and skopeo accept on 127.0.0.1."""
    username, password = "ci-bot", "pa:ss=w$rd"
    with running_registry(username, password, "", HTPASSWD) as host:
        yield Registry(host, username, password)


@dataclass(frozen=True)
class Certificates:
    """A private CA and a server certificate for 127.0.0.1 and localhost."""

    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make them, good for two days."""
    need("openssl")
    home = tmp_path_factory.mktemp("tls")
    (home / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    new_key = ["-newkey", "rsa:2048", "-nodes"]
    for command in (
        [
            "req",
            "-x509",
            *new_key,
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=lab CA",
            "-days",
            "2",
            "-addext",
            "keyUsage=critical,keyCertSign",
        ],
        ["req", *new_key, "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=lab"],
        [
            "x509",
            "-req",
            "-in",
            "csr.pem",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            "cert.pem",
            "-days",
            "2",
            "-extfile",
            "ext",
        ],
    ):
        subprocess.run(["openssl", *command], cwd=home, check=True, capture_output=True)
    return Certificates(home / "ca.pem", home / "cert.pem", home / "key.pem")


def set_aws(monkeypatch: pytest.MonkeyPatch, url: str, home: Path) -> None:
    """Point every AWS SDK of this process and its children at a server of ours."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "BASE",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-west-2",
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_CONFIG_FILE": str(home / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "aws-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AwsStub]:
    """Serve ECR and ECR Public tokens, every call counted."""
    with aws_stub() as stub:
        set_aws(monkeypatch, stub.url, tmp_path)
        stub.answers[PRIVATE] = token_answer(HOST)
        stub.answers[PUBLIC] = token_answer("", public=True)
        yield stub


@pytest.fixture(scope="session")
def _moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def moto(_moto: Moto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Moto:
    """Give an empty moto, its permissions not enforced, and point the environment at it."""
    _moto.reset()
    set_aws(monkeypatch, _moto.url, tmp_path)
    return _moto


@pytest.fixture(scope="session")
def _seaweed() -> Iterator[Seaweed]:
    with seaweed_server() as server:
        yield server


@pytest.fixture
def s3(_seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3]:
    """Give a real S3 with an empty bucket `fleet`, and a meddler in front of it."""
    client = _seaweed.client()
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket="fleet")
    for item in client.list_objects_v2(Bucket="fleet").get("Contents", []):
        client.delete_object(Bucket="fleet", Key=item["Key"])
    with meddler(_seaweed.url) as between:
        set_aws(monkeypatch, between.url, tmp_path)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ADMIN")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield S3(client, between)


@dataclass
class S3:
    """A bucket `fleet` in a real S3.

    Attributes:
        client: of boto3, straight to it.
        between: what stands between it and the commands.

    """

    client: Any
    between: Meddler

    def text(self, key: str = "ecs.config") -> str:
        """Return an object's text."""
        return str(self.client.get_object(Bucket="fleet", Key=key)["Body"].read().decode())

    def put(self, text: str | bytes, key: str = "ecs.config", **more: Any) -> None:
        """Write an object as somebody else would."""
        data = text.encode() if isinstance(text, str) else text
        self.client.put_object(Bucket="fleet", Key=key, Body=data, **more)


@pytest.fixture(scope="session")
def _world() -> Iterator[World]:
    with ecr_world() as world:
        yield world


@pytest.fixture
def desk(_world: World, tmp_path: Path) -> Desk:
    """A new user, to whom the API of the world answers."""
    _world.reset()
    made = Desk(_world, tmp_path / "user", tmp_path / "programs")
    for path in (made.home / "run", made.programs):
        path.mkdir(parents=True)
    return made
