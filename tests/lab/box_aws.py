"""A stub of ECR inside a booted machine: ``python -m tests.lab.box_aws``.

Its address goes to /srv/aws-url, each call to /srv/aws-calls. The password of the token and its
life in seconds are what /srv/password and /srv/life say at the time.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.builders import HOST
from tests.lab.aws_stub import PRIVATE, aws_stub, token_answer

SRV = Path("/srv")


def main() -> None:
    with aws_stub() as stub:

        def answer(region: str, body: dict[str, Any]) -> tuple[int, Any]:
            with (SRV / "aws-calls").open("a") as calls:
                calls.write(f"{region}\n")
            password = (SRV / "password").read_text().strip()
            life = float((SRV / "life").read_text())
            return token_answer(HOST, password=password, life=life)(region, body)

        stub.answers[PRIVATE] = answer
        (SRV / "aws-url").write_text(stub.url)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
