"""The credential helper protocol, as a function of the arguments, standard input and a vault.

It follows docker-credential-helpers (``credentials/credentials.go``) and the ECR credential helper
(``ecr-login/ecr.go``): one argument, JSON or an error text on standard output, exit code 1 for
every error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Callable, Protocol

from ecsauth import __version__
from ecsauth.errors import SourceError
from ecsauth.token_cache.server import (
    NOT_FOUND,
    PROGRAM,
    Login,
    Server,
    dumps,
    login_reply,
    parse_server_url,
)

NOT_IMPLEMENTED = "not implemented"
NO_SERVER_URL = "no credentials server URL"
NO_USERNAME = "no credentials username"
USAGE = f"Usage: {PROGRAM} <store|get|erase|list|version>"
VERSION = f"{PROGRAM} (ecsauth) {__version__}"
HELP = f"""{USAGE}

Returns logins for Amazon ECR on demand, by docker's credential helper protocol. To use it, set
"credsStore": "ecr-login" or "credHelpers": {{"HOST": "ecr-login"}} in ~/.docker/config.json.
"ecsauth install helper" does this and installs a faster launcher on PATH.

  get      print the login for the server URL on standard input, as JSON
  list     print the registries whose tokens are cached, without calling AWS
  erase    remove the cached token for the server URL on standard input
  store    refused: there is nothing to store
  version  print the version; so does -v

Environment variables:

  AWS_PROFILE_<account>, AWS_ROLE_ARN_<account>   profile or role for the registries of an account
  AWS_ECR_CACHE_DIR             directory of the token cache and the log (default ~/.ecr)
  AWS_ECR_DISABLE_CACHE         if not empty, cache no tokens
  AWS_ECR_IGNORE_CREDS_STORAGE  true: store and erase succeed, and so do docker login and logout
  ECSAUTH_STRICT                if not empty, print AWS failures on standard output: podman, skopeo
                                and docker-py show them and stop. By default, the answer is
                                "credentials not found". docker treats both alike and goes on
                                anonymously
  ECSAUTH_DEBUG                 if not empty, print log messages on standard error too

and all variables of the AWS SDK for Python."""


@dataclass(frozen=True)
class Reply:
    """The reply to the caller: standard output without the final line break, and exit code."""

    text: str = field(repr=False)
    code: int = 0


class Vault(Protocol):
    """Returns logins and forgets them."""

    def login(self, server: Server) -> Login:
        """Return the login for a registry; raise SourceError if there is none."""

    def forget(self, server: Server) -> None:
        """Remove the cached login for a registry."""

    def hosts(self) -> Sequence[str]:
        """Return the hosts with a cached login."""


def serve(
    arguments: Sequence[str],
    read: Callable[[], bytes],
    vault: Vault,
    *,
    ignores_storage: bool = False,
    is_strict: bool = False,
) -> Reply:
    """Run one action.

    Args:
        arguments: command-line arguments, without the program's name.
        read: reads all of standard input; called only by actions that need it.
        vault: returns logins.
        ignores_storage: ``store`` and ``erase`` succeed.
        is_strict: answer an AWS failure with its reason instead of "not found".

    """
    if arguments and arguments[0] in ("-v", "--version", "-version"):
        return Reply(VERSION)
    if arguments and arguments[0] in ("-h", "--help", "-help"):
        return Reply(HELP)
    if len(arguments) != 1:
        return Reply(USAGE, 1)
    action = arguments[0]
    if action == "version":
        return Reply(VERSION)
    if action == "list":
        return Reply(dumps({f"https://{host}": "AWS" for host in vault.hosts()}))
    if action == "get":
        return _get(_server_url(read()), vault, is_strict=is_strict)
    if action == "erase":
        return _erase(_server_url(read()), vault, ignores=ignores_storage)
    if action == "store":
        return _store(read(), ignores=ignores_storage)
    return Reply(f"{PROGRAM}: unknown action: {_shown(action)}", 1)


def _get(server_url: str, vault: Vault, *, is_strict: bool) -> Reply:
    if not server_url:
        return Reply(NO_SERVER_URL, 1)
    server = parse_server_url(server_url)
    if server is None:
        return Reply(NOT_FOUND, 1)
    try:
        return Reply(login_reply(server_url, vault.login(server)))
    except SourceError as error:
        return Reply(str(error) if is_strict else NOT_FOUND, 1)


def _erase(server_url: str, vault: Vault, *, ignores: bool) -> Reply:
    if not server_url:
        return Reply(NO_SERVER_URL, 1)
    server = parse_server_url(server_url)
    if server is not None:
        vault.forget(server)
    return Reply("", 0) if ignores else Reply(NOT_IMPLEMENTED, 1)


def _store(data: bytes, *, ignores: bool) -> Reply:
    try:
        document = json.loads(data.decode("utf-8")) if data.strip() else None
    except (ValueError, RecursionError):
        return Reply("standard input is not JSON", 1)
    if data.strip() and not isinstance(document, dict):
        return Reply("standard input is not a JSON object", 1)
    members = {str(name).lower(): value for name, value in (document or {}).items()}
    if not members.get("serverurl"):
        return Reply(NO_SERVER_URL, 1)
    if not members.get("username"):
        return Reply(NO_USERNAME, 1)
    return Reply("", 0) if ignores else Reply(NOT_IMPLEMENTED, 1)


def _server_url(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()


def _shown(action: str) -> str:
    return action if action.isascii() and action.isprintable() and len(action) < 100 else "…"
