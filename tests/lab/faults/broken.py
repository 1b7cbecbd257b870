"""Servers on loopback that break in one way each, as networks and what stands in them do."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.faults.scenarios import TOKEN

_BODY = json.dumps({"canary": TOKEN * 40}).encode()
_DRIP_SECONDS = 1.0
_CLIENT_HELLO = b"\x16"


@dataclass
class Connection:
    """One connection to a broken server.

    Attributes:
        socket: to the client.
        number: how many there were before it.
        address: host:port of the server.
        ended: set when the server is to end.

    """

    socket: socket.socket
    number: int
    address: str
    ended: threading.Event

    def request(self) -> bytes:
        """Read a request: its head and body, or what of it came, if TLS, or the client went."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.socket.recv(65536)
            data += part
            if not part or data.startswith(_CLIENT_HELLO):
                return data
        head, _, body = data.partition(b"\r\n\r\n")
        if b"100-continue" in head.lower():
            self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                while len(body) < int(line.partition(b":")[2]):
                    body += self.socket.recv(65536)
        return head + body

    def answer(self, status: str, body: bytes = b"", *headers: str, length: int = -1) -> None:
        """Send an answer; with `length`, another Content-Length than that of the body."""
        lines = [f"HTTP/1.1 {status}", *headers, "Connection: close"]
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def drip(self, data: bytes) -> None:
        """Send one byte a second."""
        for byte in data:
            self.socket.sendall(bytes([byte]))
            if self.ended.wait(_DRIP_SECONDS):
                return


Fault = Callable[[Connection], None]


@dataclass
class Broken:
    """A broken server.

    Attributes:
        address: host:port.
        count: how many connections it has had.
        first_at: when the first came, by the monotonic clock; 0 if none has.

    """

    address: str
    count: int = 0
    first_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Return it for clients that speak plain HTTP."""
        return f"http://{self.address}"

    def next(self) -> int:
        """Count a connection."""
        with self._lock:
            self.first_at = self.first_at or time.monotonic()
            self.count += 1
            return self.count - 1


@contextlib.contextmanager
def broken(fault: Fault) -> Iterator[Broken]:
    """Serve until the end of the ``with`` block, each connection in a thread."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        made = Broken(f"127.0.0.1:{listening.getsockname()[1]}")

        def serve(client: socket.socket) -> None:
            connection = Connection(client, made.next(), made.address, ended)
            with contextlib.suppress(OSError), client:
                fault(connection)

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = listening.accept()[0]
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        try:
            yield made
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)


def silent(connection: Connection) -> None:
    """Accept, and never answer."""
    connection.ended.wait()


def slow_head(connection: Connection) -> None:
    """Send the head of an answer by the byte."""
    connection.request()
    connection.drip(b"HTTP/1.1 200 OK\r\nX-Canary: " + _BODY)


def slow_body(connection: Connection) -> None:
    """Send the body of an answer by the byte."""
    connection.request()
    connection.answer("200 OK", length=len(_BODY))
    connection.drip(_BODY)


def reset(connection: Connection) -> None:
    """Reset the connection in the middle of the body."""
    connection.request()
    connection.answer("200 OK", _BODY[:100], length=len(_BODY))
    linger = struct.pack("ii", 1, 0)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def cut_short(connection: Connection) -> None:
    """Send less than was announced."""
    connection.request()
    connection.answer("200 OK", _BODY[:100], length=len(_BODY))


def html(connection: Connection) -> None:
    """Answer as the login page of a network does."""
    connection.request()
    page = f"<html><body>Welcome, {TOKEN}!</body></html>".encode()
    connection.answer("200 OK", page, "Content-Type: text/html")


def empty(connection: Connection) -> None:
    """Answer nothing, successfully."""
    connection.request()
    connection.answer("200 OK")


def redirects(connection: Connection) -> None:
    """Send the client back to where it comes from."""
    connection.request()
    place = f"Location: http://{connection.address}/"
    connection.answer("307 Temporary Redirect", b"", place)


def answers(status: str, body: str = "", *headers: str, times: int = 1_000_000) -> Fault:
    """Return a fault: an answer that is an error; after so many `times`, an empty one."""

    def fault(connection: Connection) -> None:
        connection.request()
        if connection.number < times:
            connection.answer(status, body.encode(), *headers)
        else:
            connection.answer("200 OK")

    return fault


def garbage(connection: Connection) -> None:
    """Answer a ClientHello with what is no TLS."""
    connection.socket.recv(65536)
    connection.socket.sendall(bytes(range(256)))


def works_once(host: str, then: Fault) -> Fault:
    """Return a fault: the first connection is passed on to host:port, the others are not."""

    def fault(connection: Connection) -> None:
        if connection.number == 0:
            _join(connection.socket, host)
        else:
            then(connection)

    return fault


def speaks_tls(certificate: Path, key: Path, host: str) -> Fault:
    """Return a fault only for those who do not know its CA: TLS in front of host:port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def fault(connection: Connection) -> None:
        with context.wrap_socket(connection.socket, server_side=True) as inside:
            _join(inside, host)

    return fault


def tunnels(connection: Connection) -> None:
    """Be a proxy that works: CONNECT, to anywhere on loopback."""
    head = connection.request().decode("latin-1")
    connection.socket.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    _join(connection.socket, head.split()[1])


def _join(client: socket.socket, host: str) -> None:
    """Pass on one request of HTTP and its answer, or whatever else goes to and fro."""
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port))) as server:

        def back() -> None:
            with contextlib.suppress(OSError):
                _copy(server, client)
                client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=back, daemon=True)
        thread.start()
        _copy(client, server)
        thread.join(10)


def _copy(one: socket.socket, other: socket.socket) -> None:
    while data := one.recv(65536):
        other.sendall(data)
