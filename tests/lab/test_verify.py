"""verify against real registries: passwords, tokens, TLS, and servers that are slow or gone."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.builders import b64
from tests.conftest import Result
from tests.lab.conftest import HTPASSWD, Certificates, Registry, running_registry
from tests.lab.server import free_port

RunProgram = Callable[..., Result]
REFRESH_TOKEN = "refresh-token-of-the-lab"


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_token(certificates: Certificates, service: str, user: str) -> str:
    """A token as docker-registry checks it: RS256, the certificate in its header."""
    pem = certificates.certificate.read_text()
    der = base64.b64encode(ssl.PEM_cert_to_DER_cert(pem)).decode()
    now = int(time.time())
    header = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
    claims = {
        "iss": "lab",
        "sub": user,
        "aud": service,
        "exp": now + 300,
        "nbf": now - 10,
        "iat": now,
        "jti": "1",
        "access": [],
    }
    text = ".".join(_b64url(json.dumps(part).encode()) for part in (header, claims))
    signature = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", str(certificates.key)],
        input=text.encode(),
        capture_output=True,
        check=True,
    ).stdout
    return f"{text}.{_b64url(signature)}"


@dataclass
class TokenServer:
    """A small OAuth2 token server that logs what it gets."""

    port: int
    log: list[str]


@contextlib.contextmanager
def token_server(certificates: Certificates, tls: bool) -> Iterator[TokenServer]:
    log: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, user: str, query: dict[str, list[str]]) -> None:
            log.append(f"{self.command} {self.path}")
            body = b"{}"
            if user:
                body = json.dumps(
                    {"token": signed_token(certificates, query["service"][0], user)}
                ).encode()
            self.send_response(200 if user else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            good = f"Basic {base64.b64encode(b'ci-bot:secret').decode()}"
            self.answer("ci-bot" if given == good else "", parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            good = form.get("refresh_token") == [REFRESH_TOKEN]
            self.answer("robot" if good else "", form)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield TokenServer(server.server_address[1], log)
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def secure_registry(certificates: Certificates, auth: str) -> Iterator[str]:
    """Start a docker-registry with TLS; give its host:port."""
    tls = f", tls: {{certificate: {certificates.certificate}, key: {certificates.key}}}"
    with running_registry("ci-bot", "secret", tls, auth) as host:
        yield host


def token_auth(certificates: Certificates, realm: str) -> str:
    bundle = f"rootcertbundle: {certificates.ca}"
    return f"{{token: {{realm: '{realm}', service: lab, issuer: lab, {bundle}}}}}"


def verdicts(result: Result) -> dict[str, tuple[str, str]]:
    found = json.loads(result.out)["verdicts"]
    return {item["registry"]: (item["outcome"], item["detail"]) for item in found}


@pytest.mark.parametrize(
    ("password", "code", "outcome"), [("pa:ss=w$rd", 0, "accepted"), ("wrong", 3, "refused")]
)
def test_password_on_plain_loopback(
    ecsauth: RunProgram,
    registry: Registry,
    login_file: Callable[..., Path],
    password: str,
    code: int,
    outcome: str,
) -> None:
    path = login_file({registry.host: {"auth": b64(f"{registry.username}:{password}")}})
    result = ecsauth("verify", path)
    assert (result.code, result.out.split()[:3]) == (
        code,
        [registry.host, registry.username, outcome],
    )
    assert password not in result.out + result.err


def test_private_ca(
    ecsauth: RunProgram,
    certificates: Certificates,
    login_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 127.0.0.1 is insecure by itself, so the registry goes by a name that is not
    monkeypatch.setattr("ecsauth.registries.verify.is_loopback", lambda _: False)
    with secure_registry(certificates, HTPASSWD) as host:
        path = login_file({host: {"auth": b64("ci-bot:secret")}})
        untrusted = ecsauth("verify", path, "--json")
        assert untrusted.code == 3
        assert verdicts(untrusted)[host][0] == "untrusted"
        assert "certificate is not trusted" in verdicts(untrusted)[host][1]
        trusted = ecsauth("verify", path, "--json", "--ca-file", certificates.ca)
        assert (trusted.code, verdicts(trusted)[host][0]) == (0, "accepted")
        insecure = ecsauth("verify", path, "--json", "--insecure-registry", host)
        assert (insecure.code, verdicts(insecure)[host][0]) == (0, "accepted")
        wrong = login_file({host: {"auth": b64("ci-bot:wrong")}}, "wrong.json")
        refused = ecsauth("verify", wrong, "--json", "--ca-file", certificates.ca)
        assert (refused.code, verdicts(refused)[host][0]) == (3, "refused")


@pytest.mark.parametrize(
    ("entry", "outcome"),
    [
        ({"auth": b64("ci-bot:secret")}, "accepted"),
        ({"auth": b64("ci-bot:wrong")}, "refused"),
        ({"identitytoken": REFRESH_TOKEN}, "accepted"),
        ({"identitytoken": "expired"}, "refused"),
    ],
)
def test_token_server(
    ecsauth: RunProgram,
    certificates: Certificates,
    login_file: Callable[..., Path],
    entry: dict[str, str],
    outcome: str,
) -> None:
    with token_server(certificates, tls=True) as tokens:
        realm = token_auth(certificates, f"https://localhost:{tokens.port}/token")
        with secure_registry(certificates, realm) as host:
            result = ecsauth(
                "verify", login_file({host: entry}), "--json", "--ca-file", certificates.ca
            )
    (verdict,) = json.loads(result.out)["verdicts"]
    assert verdict["outcome"] == outcome, verdict
    assert verdict["realm"] == f"localhost:{tokens.port}"
    assert len(tokens.log) == 1
    assert REFRESH_TOKEN not in result.out + result.err + "".join(tokens.log)


def test_nothing_is_sent_to_a_plain_http_realm(
    ecsauth: RunProgram, certificates: Certificates, login_file: Callable[..., Path]
) -> None:
    with token_server(certificates, tls=False) as tokens:
        realm = token_auth(certificates, f"http://127.0.0.1:{tokens.port}/token")
        with secure_registry(certificates, realm) as host:
            path = login_file({host: {"auth": b64("ci-bot:secret")}})
            result = ecsauth("verify", path, "--json", "--ca-file", certificates.ca)
    assert verdicts(result)[host] == (
        "refused",
        "no credentials were sent: the token realm is on plain HTTP",
    )
    assert tokens.log == []


def test_dead_port_and_unknown_name(ecsauth: RunProgram, login_file: Callable[..., Path]) -> None:
    dead = f"127.0.0.1:{free_port()}"
    result = ecsauth("verify", login_file({dead: {"auth": b64("u:p")}}), "--json")
    assert result.code == 3
    assert verdicts(result) == {dead: ("unreachable", "connection refused")}


def test_server_that_sends_a_byte_a_second_is_given_up(
    ecsauth: RunProgram, login_file: Callable[..., Path]
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        host = f"127.0.0.1:{server.getsockname()[1]}"

        def drip() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=feed, args=(connection,), daemon=True).start()

        def feed(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                for byte in b"HTTP/1.1 401 Unauthorized\r\n" * 10:
                    connection.send(bytes([byte]))
                    time.sleep(0.2)

        threading.Thread(target=drip, daemon=True).start()
        begun = time.monotonic()
        result = ecsauth(
            "verify", login_file({host: {"auth": b64("u:p")}}), "--json", "--verify-timeout=1.5"
        )
        assert time.monotonic() - begun < 5
        server.shutdown(socket.SHUT_RDWR)
    assert result.code == 3
    assert verdicts(result)[host][0] == "unreachable"


def test_verify_of_a_target(ecsauth: RunProgram, registry: Registry, tmp_path: Path) -> None:
    target = tmp_path / "ecs.config"
    auth = b64(f"{registry.username}:{registry.password}")
    data = json.dumps({registry.host: {"auth": auth}})
    target.write_text(f"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={data}\n")
    assert ecsauth("verify", "--from", target).code == 0
    both = json.dumps({registry.host: {"auth": auth}, "q.io": {"auth": "!"}})
    target.write_text(f"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={both}\n")
    skipped = ecsauth("verify", "--from", target)
    assert skipped.code == 3
    assert "q.io: the agent skips it" in skipped.err
    assert "accepted" in skipped.out
    target.write_text(f"ECS_ENGINE_AUTH_TYPE=Docker\nECS_ENGINE_AUTH_DATA={data}\n")
    broken = ecsauth("verify", "--from", target)
    assert (broken.code, broken.out) == (3, "")
    assert "there is no login" in broken.err


def test_migrate_leaves_out_what_a_registry_refuses(
    ecsauth: RunProgram, registry: Registry, login_file: Callable[..., Path], tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    dead = f"127.0.0.1:{free_port()}"
    path = login_file(
        {
            registry.host: {"auth": b64(f"{registry.username}:wrong")},
            dead: {"auth": b64("u:p")},
        }
    )
    refused = ecsauth("migrate", "--verify", path, "--to", target)
    assert refused.code == 3
    assert f"{registry.host} refuses this login; not written" in refused.err
    assert f"{dead} is unreachable, not verified" in refused.err
    assert dead in target.read_text()
    assert registry.host not in target.read_text()
    warned = ecsauth("migrate", "-q", "--verify=warn", path, "--to", target)
    assert warned.code == 0
    assert f"{registry.host} refuses this login: log in again" in warned.err
    assert registry.host in target.read_text()
    good = login_file({registry.host: {"auth": b64(f"{registry.username}:{registry.password}")}})
    assert ecsauth("migrate", "--verify", good, "--to", target).code == 0
