"""The publisher as a Lambda function: handler ``ecsauth.aws_lambda.handler``.

Settings are the function's environment variables: ECSAUTH_SOURCES, ECSAUTH_TARGETS (objects in S3)
and the others. Each invocation does what ``ecsauth refresh`` does. State is kept in ``/tmp`` and
lasts as long as the function's execution environment. Notes and errors go to the function's log.
"""

from __future__ import annotations

from typing import Any

from ecsauth.app.refresh import refresh
from ecsauth.cli.commands.refresh import parse_request
from ecsauth.cli.console import say_error, set_log_format
from ecsauth.cli.ports import console_ports
from ecsauth.cli.render.json import refreshed_document
from ecsauth.cli.render.text import render_refreshed
from ecsauth.errors import EcsauthError

_OPTIONS = ("--env-file=", "--log-format=json")
_STATE = "--state-dir=/tmp/ecsauth"  # the only directory that a function may write to


class RefreshFailedError(Exception):
    """The refresh failed; raised so that Lambda's retries and alarms see a failed invocation."""


def handler(event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Publish the logins that are due.

    Args:
        event: ignored, except that ``{"force": true}`` fetches everything.
        context: ignored.

    Returns:
        What ``ecsauth refresh --json`` prints; never a secret.

    Raises:
        RefreshFailedError: the refresh failed; it names the exit code, the log says why.

    """
    set_log_format("json")
    force = ["--force"] if isinstance(event, dict) and event.get("force") is True else []
    try:
        request = parse_request([*_OPTIONS, _STATE, *force])
        result = refresh(
            request,
            console_ports(),
            lambda done: render_refreshed(done, as_json=True, verbose=False, quiet=False),
        )
    except EcsauthError as error:
        say_error(error)
        raise RefreshFailedError(_failed(error.exit_code)) from None
    if result.exit_code:
        raise RefreshFailedError(_failed(result.exit_code))
    return {**refreshed_document(result), "code": 0}


def _failed(code: int) -> str:
    return f"ecsauth refresh failed with exit code {code}; see the log"
