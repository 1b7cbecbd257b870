"""Run one command as on an EC2 instance, or as far from one, in a network namespace of its own.

``python -m tests.lab.ec2_host KIND COMMAND…`` where KIND is

- ``ec2``: the metadata service answers (IMDSv2 only) with an instance role and a region;
- ``hop``: something listens at its address and never answers (a container one hop too far away);
- ``off``: packets to its address vanish;
- ``none``: there is no route to it.

Prints a JSON object: the command's code, output, seconds, and the calls that AWS got.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time

from tests.builders import HOST
from tests.lab.aws_stub import PRIVATE, aws_stub, token_answer

ADDRESS = "169.254.169.254"
ROLE = {
    "Code": "Success",
    "AccessKeyId": "FROMROLE",
    "SecretAccessKey": "s",
    "Token": "t",
    "Expiration": "2999-01-01T00:00:00Z",
}
PATHS = {
    "/latest/meta-data/placement/region": "us-west-2",
    "/latest/meta-data/iam/security-credentials/": "ecsInstanceRole",
    "/latest/meta-data/iam/security-credentials/ecsInstanceRole": json.dumps(ROLE),
}


class Metadata(http.server.BaseHTTPRequestHandler):
    """IMDSv2: a token first, and nothing without it."""

    def log_message(self, *_: object) -> None:
        pass

    def do_PUT(self) -> None:
        self._answer(200 if "X-aws-ec2-metadata-token-ttl-seconds" in self.headers else 400, "t0k")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "t0k":
            self._answer(401, "")
        else:
            self._answer(200 if self.path in PATHS else 404, PATHS.get(self.path, ""))

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def main(kind: str, command: list[str]) -> None:
    """Set the namespace up, run the command, print what came of it."""
    if kind != "none":
        subprocess.run(["ip", "addr", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    with contextlib.ExitStack() as held:
        if kind == "ec2":
            server = http.server.ThreadingHTTPServer((ADDRESS, 80), Metadata)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        if kind == "hop":
            held.enter_context(socket.create_server((ADDRESS, 80)))
        if kind == "off":  # once a listener's queue is full, the kernel drops what comes
            held.enter_context(socket.create_server((ADDRESS, 80), backlog=0))
            held.enter_context(socket.create_connection((ADDRESS, 80)))
            with contextlib.suppress(socket.timeout):
                held.enter_context(socket.create_connection((ADDRESS, 80), 0.2))
                raise RuntimeError("the queue is not full")
        stub = held.enter_context(aws_stub())
        stub.answers[PRIVATE] = token_answer(HOST)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        environment["AWS_ENDPOINT_URL"] = stub.url
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        seconds = time.monotonic() - begun
        print(json.dumps([done.returncode, done.stdout, done.stderr, seconds, stub.calls]))


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    main(sys.argv[1], sys.argv[2:])
