"""moto's server as a counterpart: Secrets Manager, Parameter Store, STS, and IAM if enforced."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.server import free_port, start, stop, wait_for

REGION = "us-west-2"


@dataclass(frozen=True)
class Moto:
    """A server of moto's at `url`."""

    url: str

    def client(self, service: str, key: str = "AKIAROOT", secret: str = "s") -> Any:
        """Return a client of boto3 for it."""
        import boto3

        session = boto3.Session(key, secret, region_name=REGION)
        return session.client(service, endpoint_url=self.url)

    def set_transition(self, model: str, times: int) -> None:
        """Let a thing's state go on only after it was looked at so many times."""
        transition = {"progression": "manual", "times": times}
        document = {"model_name": model, "transition": transition}
        self.post("state-manager/set-transition", json.dumps(document), "application/json")

    def post(self, path: str, body: str = "", kind: str = "text/plain") -> None:
        """Call moto's own interface."""
        request = urllib.request.Request(
            f"{self.url}/moto-api/{path}",
            data=body.encode(),
            headers={"Content-Type": kind},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=10).read()

    def reset(self) -> None:
        """Forget everything, and enforce no permission."""
        self.post("reset-auth", "1000000000")
        self.post("reset")

    def user(self, name: str, *actions: str) -> dict[str, str]:
        """Make a user who may do these actions; return his variables. Then enforce permissions."""
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        return self.user_with(name, {"Version": "2012-10-17", "Statement": [statement]})

    def user_with(self, name: str, policy: dict[str, Any]) -> dict[str, str]:
        """Make a user with a policy; return his variables. Then enforce permissions."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if policy["Statement"][0]["Action"]:
            document = json.dumps(policy)
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.post("reset-auth", "0")
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }


@contextlib.contextmanager
def moto_server(directory: Path) -> Iterator[Moto]:
    """Serve until the end of the ``with`` block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process: subprocess.Popen[bytes] = start(command, directory / "moto.log")

    def ready() -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=5).read()
            return True
        return False

    try:
        wait_for(ready, "moto", process)
        yield Moto(url)
    finally:
        stop(process)
