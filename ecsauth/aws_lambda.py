"""The publisher as a Lambda function: handler ``ecsauth.aws_lambda.handler``.

Settings are the function's environment variables: ECSAUTH_SOURCES, ECSAUTH_TARGETS (objects in S3)
and any other. Each invocation does what ``ecsauth refresh`` does; what is remembered between them
is in ``/tmp`` and lasts as long as the function's environment. Notes and errors go to its log.
"""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

from ecsauth.cli import run

_OPTIONS = ("--json", "--env-file=", "--log-format=json")
_STATE = "--state-dir=/tmp/ecsauth"  # the only place where a function may write


class RefreshFailedError(Exception):
    """Something was not done: the invocation fails, so that Lambda's retries and alarms see it."""


def handler(event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Publish what is due.

    Args:
        event: ignored, but for ``{"force": true}``: fetch everything.
        context: ignored.

    Returns:
        What ``ecsauth refresh --json`` prints; never a secret.

    Raises:
        RefreshFailedError: with the exit code; what failed is in the log.

    """
    force = ["--force"] if isinstance(event, dict) and event.get("force") is True else []
    output = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(output):
        code = run(["refresh", *_OPTIONS, _STATE, *force])
    if code:
        raise RefreshFailedError(f"ecsauth refresh ended with exit code {code}: see the log")
    output.seek(0)
    document = json.loads(output.read())
    return {**document, "code": code}
