"""Small stand-ins for ECR, ECR Public, STS and the metadata service, on loopback, that count calls.

moto answers ECR with tokens of 2015 and has no ECR Public, hence these: real boto3 talks to them.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

PRIVATE = "AmazonEC2ContainerRegistry.GetAuthorizationToken"
PUBLIC = "SpencerFrontendService.GetAuthorizationToken"

Answer = Callable[[str, dict[str, Any]], tuple[int, Any]]


@dataclass
class AwsStub:
    """A server at `url` that notes each call as ``ACTION in REGION by KEY``, by its `date`."""

    url: str = ""
    calls: list[str] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    date: str = ""


def token_answer(
    host: str,
    *,
    password: str | None = None,
    life: float = 12 * 3600,
    public: bool = False,
    raw: str = "",
) -> Answer:
    """Answer GetAuthorizationToken as AWS does."""

    def answer(_: str, __: dict[str, Any]) -> tuple[int, Any]:
        said = "t0ken" if password is None else password
        data = {
            "authorizationToken": raw or base64.b64encode(f"AWS:{said}".encode()).decode(),
            "expiresAt": int(time.time() + life),
        }
        if public:
            return 200, {"authorizationData": data}
        return 200, {"authorizationData": [{**data, "proxyEndpoint": f"https://{host}"}]}

    return answer


def error_answer(status: int, code: str, message: str = "no") -> Answer:
    """Answer with an error of AWS's JSON protocol."""
    return lambda _, __: (status, {"__type": code, "message": message})


@contextlib.contextmanager
def aws_stub() -> Iterator[AwsStub]:
    """Serve until the end of the ``with`` block."""
    stub = AwsStub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            target = self.headers.get("X-Amz-Target", "").rpartition(".")
            service = target[0].rpartition("_")[0] or target[0]
            credential = self.headers.get("Authorization", "").partition("Credential=")[2]
            key, _, scope = credential.partition("/")
            action = f"{service}.{target[2]}" if target[2] else self._query_action(body)
            region = scope.split("/")[1] if scope.count("/") > 2 else ""
            stub.calls.append(f"{action} in {region} by {key}")
            given = stub.answers.get(action)
            status, answer = given(region, {}) if given else (500, {"__type": "Unexpected"})
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response_only(status)
            self.send_header("Date", stub.date or self.date_time_string())
            kind = "text/xml" if data.startswith(b"<") else "application/x-amz-json-1.1"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _query_action(self, body: bytes) -> str:
            fields = parse_qs(body.decode("utf-8", "replace"))
            return f"sts.{fields.get('Action', [''])[0]}"

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that went away."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
