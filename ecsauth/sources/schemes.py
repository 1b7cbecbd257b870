"""Parse a SOURCE of the command line: where credentials come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable

from ecsauth.errors import SourceError, UsageError
from ecsauth.host.accounts import Account
from ecsauth.host.atomic_file import MAX_BYTES, read_input
from ecsauth.sources.default_file import file_exists
from ecsauth.sources.source import Source

if TYPE_CHECKING:
    from ecsauth.sources.login_file import LoginFileSource, Store

_SCHEME = re.compile(r"([a-z][a-z0-9-]+):")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_LENGTH = 4096
_TTL = re.compile(r"([0-9]{1,8})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_UNEXPANDED = "remove the quotes: they keep the shell from expanding ~"
_CHECK_PATH = "check the path"


@dataclass(frozen=True)
class Context:
    """What sources need from outside.

    Attributes:
        environment: variables, for ``env:`` and for credential helpers.
        stdin: for ``-``.
        helper_timeout: seconds for each call of a credential helper.
        selected: JMESPath for a login file's entries; empty for its own shape.
        owner_of: returns the account that owns a file; None if it is ours or unknown.
        shared: what the sources of one command share, by kind.

    """

    environment: Mapping[str, str]
    stdin: BinaryIO
    helper_timeout: float = 30.0
    selected: str = ""
    owner_of: Callable[[Path], Account | None] = lambda _: None
    shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


def parse_source(text: str, context: Context) -> Source:
    """Parse a SOURCE: a path, ``-``, or a scheme of `SCHEMES` and the rest.

    Raises:
        UsageError: the text names no file, or its scheme is unknown.

    """
    scheme = _SCHEME.match(text)
    if scheme and scheme[1] in AWS_SCHEMES and len(text) <= _MAX_LENGTH:
        return SCHEMES[scheme[1]](text, context)
    if "{" in text or "\n" in text or len(text) > _MAX_LENGTH:
        raise UsageError(
            "a SOURCE is the text of a login file, not its name",
            "pipe the text in (SOURCE is -), or name its variable (env:DOCKER_AUTH_CONFIG)",
            reference="source-name-invalid",
        )
    if text == "-":
        name = "standard input"
        return _login_file(name, lambda: _read_stream(context.stdin, name), context)
    if scheme and scheme[1] in SCHEMES:
        return SCHEMES[scheme[1]](text, context)
    if scheme and not file_exists(Path(text)):
        raise UsageError(
            f"{scheme[1]}: is not a kind of source",
            f"there are PATH, - (stdin), {', '.join(f'{name}:' for name in SCHEMES)}",
            reference="source-unknown-scheme",
        )
    return _file(text, context)


def _file(text: str, context: Context) -> Source:
    path, ttl = text, 0
    if text.startswith("docker-config:"):
        path, ttl = _with_ttl(text[len("docker-config:") :])
    if not path or "\0" in path:
        raise UsageError(f"{text!r} names no login file", reference="source-name-invalid")
    return _login_file(path, lambda: _read_path(Path(path)), context, Path(path), ttl)


def _variable(text: str, context: Context) -> Source:
    variable, ttl = _with_ttl(text.partition(":")[2])
    if not _VARIABLE.fullmatch(variable):
        raise UsageError(
            "env: is not followed by the name of a variable", reference="source-name-invalid"
        )
    name = f"env:{variable}"
    return _login_file(
        name, lambda: _read_variable(variable, context.environment), context, ttl=ttl
    )


def _with_ttl(text: str) -> tuple[str, int]:
    """Split ``?ttl=`` (a number with s, m, h or d) off; return the rest and seconds.

    Raises:
        UsageError: the time is not understood.

    """
    rest, mark, value = text.rpartition("?ttl=")
    if not mark:
        return text, 0
    found = _TTL.fullmatch(value)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _UNITS["d"] * 365:
        raise UsageError(
            f"{text}: ?ttl= is how long its logins live",
            "write a number with s, m, h or d, such as ?ttl=12h",
            reference="usage-parameter",
        )
    return rest, seconds


def _login_file(
    name: str,
    load: Callable[[], bytes],
    context: Context,
    path: Path | None = None,
    ttl: int = 0,
) -> LoginFileSource:
    from ecsauth.sources.login_file import LoginFileSource

    def open_store(store: str) -> Store:
        from ecsauth.sources.credential_store import CredentialStore  # imports subprocess and more

        owner = context.owner_of(path) if path else None
        return CredentialStore(store, context.helper_timeout, context.environment, owner)

    return LoginFileSource(name, load, open_store, context.selected, ttl)


def _aws(text: str, context: Context) -> Source:
    from ecsauth.sources.aws_source import open_access, parse_aws_source

    if "aws" not in context.shared:
        context.shared["aws"] = open_access(context.environment)
    return parse_aws_source(text, context.shared["aws"])


def _read_path(path: Path) -> bytes:
    if str(path).startswith(("/dev/fd/", "/dev/stdin")) and path.is_fifo():  # <(command)
        with path.open("rb") as stream:
            return _read_stream(stream, str(path))
    unexpanded = str(path).startswith("~")
    return read_input(path, _UNEXPANDED if unexpanded else _CHECK_PATH)


def _read_variable(variable: str, environment: Mapping[str, str]) -> bytes:
    value = environment.get(variable, "")
    if not value:
        raise SourceError(
            f"the variable {variable} is unset or empty",
            "set it; under sudo, keep it with sudo -E",
            reference="variable-missing",
        )
    return value.encode("utf-8", "surrogateescape")


def _read_stream(stream: BinaryIO, name: str) -> bytes:
    try:
        data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(
            f"{name} cannot be read: {error.strerror}", reference="input-unreadable"
        ) from error
    if len(data) > MAX_BYTES:
        raise SourceError(
            f"{name} exceeds the limit of {MAX_BYTES:,} bytes", reference="input-too-large"
        )
    return data


AWS_SCHEMES = ("ecr", "ecr-public", "secretsmanager", "ssm", "s3")
SCHEMES: dict[str, Callable[[str, Context], Source]] = {
    "docker-config": _file,
    "env": _variable,
    **dict.fromkeys(AWS_SCHEMES, _aws),
}
"""Scheme → factory of a source from the whole text; it imports modules on demand."""
