"""Where credentials come from, and how a SOURCE of the command line names it."""

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


@dataclass(frozen=True)
class Context:
    """What sources need from outside.

    Attributes:
        environment: variables, for ``env:`` and for credential helpers.
        stdin: for ``-``.
        helper_timeout: seconds for each call of a credential helper.
        selected: JMESPath for a login file's entries; empty for its own shape.
        owner_of: gives another user's account for his file; None for our own or if unknown.
        shared: what the sources of one command share, by kind.

    """

    environment: Mapping[str, str]
    stdin: BinaryIO
    helper_timeout: float = 30.0
    selected: str = ""
    owner_of: Callable[[Path], Account | None] = lambda _: None
    shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


def parse_source(text: str, context: Context) -> Source:
    """Understand a SOURCE: a path, ``-``, or a scheme of `SCHEMES` and what follows it.

    Raises:
        UsageError: an empty text, or a scheme that no source has.

    """
    scheme = _SCHEME.match(text)
    if scheme and scheme[1] in AWS_SCHEMES and len(text) <= _MAX_LENGTH:
        return SCHEMES[scheme[1]](text, context)
    if "{" in text or "\n" in text or len(text) > _MAX_LENGTH:
        raise UsageError(
            "a SOURCE is the text of a login file, not its name",
            "pipe it in (SOURCE is then -), or name its variable (env:DOCKER_AUTH_CONFIG)",
        )
    if text == "-":
        name = "standard input"
        return _login_file(name, lambda: _read_stream(context.stdin, name), context)
    if scheme and scheme[1] in SCHEMES:
        return SCHEMES[scheme[1]](text, context)
    if scheme and not file_exists(Path(text)):
        raise UsageError(
            f"{scheme[1]}: is no kind of source",
            f"there are PATH, - (stdin), {', '.join(f'{name}:' for name in SCHEMES)}",
        )
    return _file(text, context)


def _file(text: str, context: Context) -> Source:
    path = text[len("docker-config:") :] if text.startswith("docker-config:") else text
    if not path or "\0" in path:
        raise UsageError(f"{text!r} names no login file")
    return _login_file(path, lambda: _read_path(Path(path)), context, Path(path))


def _variable(text: str, context: Context) -> Source:
    variable = text.partition(":")[2]
    if not _VARIABLE.fullmatch(variable):
        raise UsageError("env: is not followed by the name of a variable")
    return _login_file(text, lambda: _read_variable(variable, context.environment), context)


def _login_file(
    name: str, load: Callable[[], bytes], context: Context, path: Path | None = None
) -> LoginFileSource:
    from ecsauth.sources.login_file import LoginFileSource

    def open_store(store: str) -> Store:
        from ecsauth.sources.credential_store import CredentialStore  # with subprocess and more

        owner = context.owner_of(path) if path else None
        return CredentialStore(store, context.helper_timeout, context.environment, owner)

    return LoginFileSource(name, load, open_store, context.selected)


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
    return read_input(path, "quotes keep the shell from replacing ~" if unexpanded else "name it")


def _read_variable(variable: str, environment: Mapping[str, str]) -> bytes:
    value = environment.get(variable, "")
    if not value:
        raise SourceError(
            f"the variable {variable} is not set or empty",
            "sudo drops variables: sudo -E keeps them",
        )
    return value.encode("utf-8", "surrogateescape")


def _read_stream(stream: BinaryIO, name: str) -> bytes:
    try:
        data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise SourceError(f"{name} is more than the {MAX_BYTES:,} bytes that are read")
    return data


AWS_SCHEMES = ("ecr", "ecr-public", "secretsmanager", "ssm", "s3")
SCHEMES: dict[str, Callable[[str, Context], Source]] = {
    "docker-config": _file,
    "env": _variable,
    **dict.fromkeys(AWS_SCHEMES, _aws),
}
"""Scheme → what makes a source of the whole text; modules are loaded when one is made."""
