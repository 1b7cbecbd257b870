"""Options that commands share; each has its environment variable, named after it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Callable, TypeVar

import click

from ecsauth.cli.console import set_log_format
from ecsauth.cli.environment import apply_settings
from ecsauth.engine_auth import AUTO, DOCKER, DOCKERCFG
from ecsauth.settings import DEFAULT_ENV_FILE

_F = TypeVar("_F", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """A number of seconds in a range; nan and inf, which float takes, are none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return number


def option(*names: str, envvar: str = "", **settings: Any) -> Callable[[_F], _F]:
    """Declare an option whose variable is ``ECSAUTH_`` and its long name."""
    long = next(name for name in names if name.startswith("--"))
    variable = envvar or "ECSAUTH_" + long.split("/")[0].lstrip("-").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **settings)


def replacing(text: str) -> Callable[[_F], _F]:
    """Give a command --replace, which does what `text` says."""
    return option("--replace", is_flag=True, help=text)


def dry_run(text: str) -> Callable[[_F], _F]:
    """Give a command --dry-run, which does what `text` says."""
    return option("--dry-run", "-n", is_flag=True, help=text)


auth_format = option(
    "--format",
    "auth_format",
    type=click.Choice([AUTO, DOCKERCFG, DOCKER]),
    default=AUTO,
    show_default=True,
    help="ECS_ENGINE_AUTH_TYPE; auto is dockercfg, or docker where a login needs it.",
)
select = option(
    "--select",
    metavar="JMESPATH",
    default="",
    help="Where the login file keeps its entries; by default its auths and credential stores.",
)
helper_timeout = option(
    "--helper-timeout",
    type=Seconds(0.1, 3600),
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="How long a credential helper may take.",
)
lock_timeout = option(
    "--lock-timeout",
    type=Seconds(0, 3600),
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="How long to wait for another ecsauth that writes the same target.",
)
quiet = option("--quiet", "-q", is_flag=True, help="Print no notes, only warnings and errors.")
as_json = option("--json", "as_json", is_flag=True, help="Print one JSON object.")
verify_timeout = option(
    "--verify-timeout",
    type=Seconds(0.1, 3600),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="How long each registry may take to verify a login.",
)
insecure_registry = option(
    "--insecure-registry",
    metavar="HOST[:PORT]",
    multiple=True,
    help="A registry without trusted TLS, or without TLS; loopback always is. May be repeated.",
)
ca_file = option(
    "--ca-file",
    type=click.Path(path_type=Path),
    help="CA certificates (PEM) to trust besides the system's and /etc/docker/certs.d.",
)
verify_first = option(
    "--verify",
    "verify_first",
    envvar="ECSAUTH_VERIFY",
    type=click.Choice(["refuse", "warn"]),
    help="Log in to each registry first and leave out what it refuses (the default of a bare"
    " --verify), or with --verify=warn write it and say so.",
)
expected_bucket_owner = option(
    "--expected-bucket-owner",
    metavar="ACCOUNT",
    help="The AWS account that a bucket must belong to.",
)
_PUBLISHING = (
    option(
        "--sse",
        type=click.Choice(["AES256", "aws:kms"]),
        help="How S3 encrypts the object; by default as the bucket says.",
    ),
    option("--kms-key-id", metavar="KEY", help="The key for --sse aws:kms; by default AWS's own."),
    option("--bucket-key", is_flag=True, help="For --sse aws:kms: one data key for many objects."),
    expected_bucket_owner,
)


def publishing(command: _F) -> _F:
    """Give a command the options for objects in S3."""
    for one in reversed(_PUBLISHING):
        command = one(command)
    return command


env_file = option(
    "--env-file",
    metavar="FILE",
    default=DEFAULT_ENV_FILE,
    show_default=True,
    is_eager=True,
    expose_value=False,
    callback=apply_settings,
    help="Settings, ECSAUTH_NAME=value each; what the environment has counts more.",
)
log_format = option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    expose_value=False,
    callback=lambda _, __, value: set_log_format(value),
    help="How notes, warnings and errors are written to standard error.",
)


def common(command: _F) -> _F:
    """Give a command the options that all have."""
    return env_file(log_format(command))
