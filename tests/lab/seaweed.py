"""SeaweedFS as a real S3, and something in front of it that meddles with what goes by."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.server import free_port, start, wait_for

IDENTITIES = {
    "identities": [
        {
            "name": "admin",
            "credentials": [{"accessKey": "ADMIN", "secretKey": "secret"}],
            "actions": ["Admin", "Read", "Write", "List"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": "READER", "secretKey": "secret"}],
            "actions": ["Read:fleet", "List:fleet"],
        },
    ]
}

Answer = tuple[int, dict[str, str], bytes]
Meddle = Callable[[str, str, Answer], "Answer | None"]


@dataclass
class Seaweed:
    """A server at `url`; buckets are made as needed."""

    url: str

    def client(self, key: str = "ADMIN") -> Any:
        """Return a client of boto3 for it."""
        import boto3

        session = boto3.Session(key, "secret", region_name="us-west-2")
        return session.client("s3", endpoint_url=self.url)


@contextlib.contextmanager
def seaweed_server() -> Iterator[Seaweed]:
    """Serve until the end of the ``with`` block."""
    weed = Path(sys.executable).with_name("weed")
    home = Path(tempfile.mkdtemp(prefix="ecsauth-weed-"))
    (home / "data").mkdir()
    (home / "s3.json").write_text(json.dumps(IDENTITIES))
    ports = {
        name: free_port()
        for kind in ("master", "volume", "filer", "s3")
        for name in (f"{kind}.port", f"{kind}.port.grpc")
    }
    ports.update({"s3.port.iceberg": free_port(), "s3.port.lance": free_port()})
    command = [
        *(str(weed), "-logtostderr", "server", "-s3", "-filer", f"-dir={home / 'data'}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={home / 's3.json'}"),
        *("-volume.max=60", "-master.volumeSizeLimitMB=64"),
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    process = start(command, home / "log")
    found = Seaweed(f"http://127.0.0.1:{ports['s3.port']}")

    def ready() -> bool:
        with contextlib.suppress(Exception):
            client = found.client()
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="x", Body=b"x")
            return True
        return False

    try:
        wait_for(ready, "SeaweedFS", process)
        yield found
    finally:
        process.kill()  # it takes its time to end by itself, and nothing in it is kept
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


@dataclass
class Meddler:
    """A server at `url` that passes everything on, but for what `meddle` makes of an answer.

    `owners` has what each call expects the bucket's owner to be. `meddle` gets method, path and
    answer; None breaks the connection.
    """

    url: str = ""
    calls: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    meddle: Meddle = lambda _, __, answer: answer
    delay: Callable[[str], None] = lambda _: None


@contextlib.contextmanager
def meddler(target: str) -> Iterator[Meddler]:
    """Stand in front of a server until the end of the ``with`` block."""
    made = Meddler()
    host = target.rpartition("/")[2]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            made.calls.append(f"{self.command} {self.path}")
            made.owners.append(self.headers.get("x-amz-expected-bucket-owner", ""))
            made.delay(self.command)
            connection = http.client.HTTPConnection(host, timeout=60)
            with contextlib.closing(connection):
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    if name.lower() != "expect":
                        connection.putheader(name, value)
                connection.endheaders(body or None)
                response = connection.getresponse()
                data = response.read()
                headers = {
                    name: value
                    for name, value in response.getheaders()
                    if name.lower() not in ("connection", "transfer-encoding")
                }
            answer = made.meddle(self.command, self.path, (response.status, headers, data))
            if answer is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            status, headers, data = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
            if int(headers.get("Content-Length", len(data))) != len(data):
                self.close_connection = True

        def do_GET(self) -> None:
            self._pass_on()

        def do_PUT(self) -> None:
            self._pass_on()

        def do_HEAD(self) -> None:
            self._pass_on()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
