"""Options shared by commands; each has an environment variable named after it."""

from __future__ import annotations

import functools
import inspect
import math
from pathlib import Path
from typing import Any, Callable, TypeVar

import click
from click.core import ParameterSource

from ecsauth.app.requests import (
    DEFAULT_AGENT_URL,
    DEFAULT_STATE_DIR,
    DEFAULT_TARGET,
    FORMATS,
    AgentAccess,
    MergeOptions,
    PublishOptions,
    SourceOptions,
    VerifyPolicy,
)
from ecsauth.cli.console import set_log_format
from ecsauth.cli.environment import apply_settings
from ecsauth.host.settings_file import DEFAULT_ENV_FILE

_F = TypeVar("_F", bound=Callable[..., Any])
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_PREFIX = "ECSAUTH_"


class Seconds(click.FloatRange):
    """A number of seconds in a range; rejects nan and inf, which float accepts."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return number


def option(*names: str, envvar: str = "", **settings: Any) -> Callable[[_F], _F]:
    """Declare an option whose variable is ``ECSAUTH_`` plus its long name."""
    long = next(name for name in names if name.startswith("--"))
    variable = envvar or _PREFIX + long.split("/")[0].lstrip("-").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **settings)


def path_option(*names: str, metavar: str = "FILE", **settings: Any) -> Callable[[_F], _F]:
    """Declare an option that takes a path."""
    return option(*names, type=click.Path(path_type=Path), metavar=metavar, **settings)


def seconds_option(
    name: str, least: float, most: float, default: float, text: str, envvar: str = ""
) -> Callable[[_F], _F]:
    """Declare an option that takes a number of seconds."""
    return option(
        name,
        envvar=envvar,
        type=Seconds(least, most),
        metavar="SECONDS",
        default=default,
        show_default=True,
        help=text,
    )


def all_of(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Give a command several options, in the order of its help."""

    def give(command: _F) -> _F:
        for one in reversed(options):
            command = one(command)
        return command

    return give


def part(name: str, make: Callable[..., object], *options: Callable[..., Any]) -> Decorator:
    """Give a command several options, combined into one part of its request.

    Args:
        name: the command's parameter that takes the part.
        make: takes the options' values by name and returns the part; a command without one of
            the options gets its default.
        options: in the order of the help.

    """
    names = list(inspect.signature(make).parameters)

    def give(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*arguments: Any, **values: Any) -> Any:
            values[name] = make(**{item: values.pop(item) for item in names if item in values})
            return command(*arguments, **values)

        decorated: Callable[..., Any] = all_of(*options)(run)
        return decorated

    return give


def replacing(text: str) -> Callable[[_F], _F]:
    """Declare --replace with `text` as its help."""
    return option("--replace", is_flag=True, help=text)


def dry_run(text: str) -> Callable[[_F], _F]:
    """Declare --dry-run with `text` as its help."""
    return option("--dry-run", "-n", is_flag=True, help=text)


def targets(
    text: str = "A path (one that ends in .json is the agent's JSON file) or s3://BUCKET/KEY. May"
    " be repeated.",
) -> Callable[[_F], _F]:
    """Declare --to; `text` says what TARGET may be."""
    return option(
        "--to",
        "targets",
        metavar="TARGET",
        envvar="ECSAUTH_TARGETS",
        multiple=True,
        default=[DEFAULT_TARGET],
        show_default=DEFAULT_TARGET,
        help=text,
    )


auth_format = option(
    "--format",
    "auth_format",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="ECS_ENGINE_AUTH_TYPE; auto uses dockercfg, or docker if a login needs it.",
)
select = option(
    "--select",
    metavar="JMESPATH",
    default="",
    help="Path to the entries in the login file; by default its auths and credential stores.",
)
helper_timeout = seconds_option(
    "--helper-timeout", 0.1, 3600, 30.0, "How long a credential helper may take."
)
lock_timeout = seconds_option(
    "--lock-timeout",
    *(0, 3600, 30.0),
    "How long to wait for another ecsauth process writing the same target.",
)
quiet = option("--quiet", "-q", is_flag=True, help="Print no notes, only warnings and errors.")
as_json = option("--json", "as_json", is_flag=True, help="Print one JSON object.")
state_dir = path_option(
    "--state-dir",
    metavar="DIRECTORY",
    default=DEFAULT_STATE_DIR,
    show_default=True,
    help="Where ecsauth keeps its state between runs (no secrets).",
)
verify_timeout = seconds_option(
    "--verify-timeout", 0.1, 3600, 10.0, "How long each registry may take to verify a login."
)
insecure_registry = option(
    "--insecure-registry",
    metavar="HOST[:PORT]",
    multiple=True,
    help="A registry with untrusted TLS or none; loopback always counts. May be repeated.",
)
ca_file = path_option(
    "--ca-file",
    metavar="PATH",
    help="CA certificates (PEM) to trust besides those of the system and /etc/docker/certs.d.",
)
verify_first = option(
    "--verify",
    "verify_first",
    envvar="ECSAUTH_VERIFY",
    type=click.Choice(["refuse", "warn"]),
    help="Log in to each registry first; a login that it refuses is left out (refuse; also a bare"
    " --verify) or written with a warning (warn).",
)
expected_bucket_owner = option(
    "--expected-bucket-owner",
    metavar="ACCOUNT",
    default="",
    help="The AWS account that must own the bucket.",
)
base = path_option(
    "--base", help="File with all other settings; by default those in the object are kept."
)


def _source_options(select: str, helper_timeout: float) -> SourceOptions:
    return SourceOptions(helper_timeout, select)


def _verify_policy(
    verify_first: str | None,
    verify_timeout: float,
    insecure_registry: tuple[str, ...],
    ca_file: Path | None,
) -> VerifyPolicy | None:
    if not verify_first:
        return None
    return VerifyPolicy(verify_timeout, insecure_registry, ca_file, verify_first == "warn")


def _publish_options(
    sse: str | None, kms_key_id: str, bucket_key: bool, expected_bucket_owner: str
) -> PublishOptions:
    return PublishOptions(sse or "", kms_key_id, bucket_key, expected_bucket_owner)


def merging(replace_text: str, dry_run_text: str) -> Decorator:
    """Give a command `merge`: how logins are merged into a target."""
    return part(
        "merge", _merge_options, auth_format, replacing(replace_text), dry_run(dry_run_text)
    )


def _merge_options(auth_format: str, replace: bool, dry_run: bool) -> MergeOptions:
    return MergeOptions(auth_format, replace, dry_run)


source_options = part("options", _source_options, select, helper_timeout)
"""Gives a command `options`: how sources are queried."""

verifying = part("verify", _verify_policy, verify_first, verify_timeout, insecure_registry, ca_file)
"""Gives a command `verify`: whether and how logins are verified before they are written."""

publishing = part(
    "publishing",
    _publish_options,
    option(
        "--sse",
        type=click.Choice(["AES256", "aws:kms"]),
        help="How S3 encrypts the object; by default as the bucket is configured.",
    ),
    option(
        "--kms-key-id",
        metavar="KEY",
        default="",
        help="KMS key for --sse aws:kms; by default the AWS managed one.",
    ),
    option(
        "--bucket-key",
        is_flag=True,
        help="For --sse aws:kms: use an S3 Bucket Key, one data key for many objects.",
    ),
    expected_bucket_owner,
)
"""Gives a command `publishing`: how objects in S3 are written."""

introspection_url = option(
    "--introspection-url",
    metavar="URL",
    default=DEFAULT_AGENT_URL,
    show_default=True,
    help="Where the agent's introspection API answers.",
)
env_file = option(
    "--env-file",
    metavar="FILE",
    default=DEFAULT_ENV_FILE,
    show_default=True,
    is_eager=True,
    expose_value=False,
    callback=apply_settings,
    help="File of settings, ECSAUTH_NAME=value each; the environment takes precedence.",
)
log_format = option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    expose_value=False,
    callback=lambda _, __, value: set_log_format(value),
    help="Format of notes, warnings and errors on standard error.",
)
common = all_of(env_file, log_format)
"""Gives a command the options that all commands have."""


def is_from_environment(context: click.Context, name: str) -> bool:
    """Return whether a parameter's value comes from a variable."""
    return context.get_parameter_source(name) is ParameterSource.ENVIRONMENT


def agent_access(introspection_url: str, service_manager: str | None) -> AgentAccess:
    """Return how to reach the agent."""
    return AgentAccess(introspection_url, service_manager or "")
