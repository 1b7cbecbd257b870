"""Where credentials come from, and how a SOURCE of the command line names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Protocol

from ecsauth.credential import Fetched
from ecsauth.errors import SourceError, UsageError
from ecsauth.files import MAX_BYTES, read_input
from ecsauth.sources.account import Account

if TYPE_CHECKING:
    from ecsauth.sources.docker_config import DockerConfigSource, Store

__all__ = [
    "Account",
    "AnySource",
    "Context",
    "LoginFile",
    "find_login_file",
    "parse_source",
]

_SCHEME = re.compile(r"([a-z][a-z0-9-]+):")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE_SCHEME = "docker-config:"
_VARIABLE_SCHEME = "env:"
_AWS_SCHEMES = ("ecr", "ecr-public", "secretsmanager", "ssm", "s3")


class AnySource(Protocol):
    """Where credentials come from."""

    name: str
    fingerprint: str

    def fetch(self) -> Fetched:
        """Return what there is; raise SourceError if there is nothing at all."""


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


@dataclass(frozen=True)
class LoginFile:
    """The login file that is taken when none is named.

    Attributes:
        path: the file.
        note: which one it is and why.

    """

    path: Path
    note: str = ""


def parse_source(text: str, context: Context) -> AnySource:
    """Understand a SOURCE: a path, ``docker-config:PATH``, ``-``, ``env:VARIABLE``, or in AWS.

    Raises:
        UsageError: an empty text, or a scheme that no source has.

    """
    if text.partition(":")[0] in _AWS_SCHEMES and ":" in text and len(text) <= 4096:
        return _aws_source(text, context)
    if "{" in text or "\n" in text or len(text) > 4096:
        raise UsageError(
            "a SOURCE is the text of a login file, not its name",
            "pipe it in (SOURCE is then -), or name its variable (env:DOCKER_AUTH_CONFIG)",
        )
    if text == "-":
        return _source(
            "standard input", lambda: _read_stream(context.stdin, "standard input"), context
        )
    if text.startswith(_VARIABLE_SCHEME):
        variable = text[len(_VARIABLE_SCHEME) :]
        if not _VARIABLE.fullmatch(variable):
            raise UsageError("env: is not followed by the name of a variable")
        return _source(text, lambda: _read_variable(variable, context.environment), context)
    path = text[len(_FILE_SCHEME) :] if text.startswith(_FILE_SCHEME) else text
    if not path or "\0" in path:
        raise UsageError(f"{text!r} names no login file")
    scheme = _SCHEME.match(path)
    if path == text and scheme and not _exists(Path(path)):
        raise UsageError(
            f"{scheme.group(1)}: is no kind of source",
            f"there are PATH, {_FILE_SCHEME}PATH, {_VARIABLE_SCHEME}VARIABLE, - (stdin), "
            + ", ".join(f"{name}:" for name in _AWS_SCHEMES),
        )
    return _source(path, lambda: _read_path(Path(path)), context, Path(path))


def find_login_file(
    environment: Mapping[str, str], account_of: Callable[[str], Account | None]
) -> LoginFile:
    """Find the login file that docker would use, and under sudo the caller's.

    1. ``$DOCKER_CONFIG/config.json``; 2. ``~/.docker/config.json``; 3. ``~/.dockercfg``;
    4. under sudo, if our own user has none: 2. and 3. of the user who called sudo.

    Args:
        environment: variables; HOME names the home directory.
        account_of: gives the account of a user name, None if there is none.

    Raises:
        SourceError: there is none; says where it looked.

    """
    directory = environment.get("DOCKER_CONFIG", "")
    if directory:
        path = Path(directory) / "config.json"
        return LoginFile(path, f"the login file is {path} ($DOCKER_CONFIG)")
    home = environment.get("HOME", "")
    caller_name = environment.get("SUDO_USER", "")
    caller = account_of(caller_name) if caller_name else None
    own = _login_files(home)
    theirs = _login_files(caller.home) if caller and caller.home != home else []
    mine = next(filter(_exists, own), None)
    his = next(filter(_exists, theirs), None)
    if mine is not None:
        unused = f"; {caller_name} has {his}, name it to use that" if his else ""
        return LoginFile(mine, f"the login file is {mine}{unused}")
    if his is not None:
        return LoginFile(his, f"the login file is {his}, of {caller_name}, who called sudo")
    looked = ", ".join(str(path) for path in [*own, *theirs]) or "no HOME is set"
    raise SourceError(f"no docker login file: {looked}", "log in first (docker login), or name one")


def _exists(path: Path) -> bool:
    """Return whether there is such a file.

    Raises:
        SourceError: a directory on the way to it may not be looked into.

    """
    try:
        return path.exists()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}", "run it with sudo") from error


def _login_files(home: str) -> list[Path]:
    return [Path(home) / ".docker" / "config.json", Path(home) / ".dockercfg"] if home else []


def _source(
    name: str, load: Callable[[], bytes], context: Context, path: Path | None = None
) -> DockerConfigSource:
    from ecsauth.sources.docker_config import DockerConfigSource

    def open_store(store: str) -> Store:
        from ecsauth.sources.credential_store import CredentialStore  # with subprocess and more

        owner = context.owner_of(path) if path else None
        return CredentialStore(store, context.helper_timeout, context.environment, owner)

    return DockerConfigSource(name, load, open_store, context.selected)


def _aws_source(text: str, context: Context) -> AnySource:
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
