"""A docker login file as a source, including its credential stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Protocol

from ecsauth.credentials.credential import TOKEN_USERNAME, Credential, Fetched, check_login
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.login_file import (
    DockerConfig,
    decode_entry,
    parse_docker_config,
    parse_document,
)
from ecsauth.credentials.registry import AuthKey, parse_auth_key, parse_ecr_host
from ecsauth.errors import SourceError


class Store(Protocol):
    """The port of a credential store; each method raises SourceError."""

    def get(self, server_url: str) -> tuple[str, str] | None:
        """Return (user name, secret) for a registry; None if there is none."""

    def list(self) -> dict[str, str]:
        """Return server URL → user name of every login."""


@dataclass(frozen=True)
class _Login:
    """One registry of the file: its key, its entry and the helper that keeps its secret."""

    text: str
    entry: Mapping[str, Any] = field(repr=False)
    helper: str = ""
    server_url: str = ""


@dataclass
class _Collected:
    """The outcome so far, by the key that the agent compares."""

    logins: dict[str, list[Credential]] = field(default_factory=dict)
    problems: dict[str, SourceError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def problem(self, error: SourceError) -> None:
        """Record an error once, even if several registries share it."""
        self.problems.setdefault(str(error), error)


class LoginFileSource:
    """A login file.

    Args:
        name: for messages.
        load: returns its bytes; raises SourceError.
        open_store: returns the credential store of a name; raises SourceError.
        selected: JMESPath for the entries; empty for the file's own shape.
        ttl: how long logins live that do not tell their end, seconds; 0 for unknown.

    """

    fingerprint = ""  # cheap to read, so it is read every time

    def __init__(
        self,
        name: str,
        load: Callable[[], bytes],
        open_store: Callable[[str], Store],
        selected: str = "",
        ttl: int = 0,
    ) -> None:
        self.name = name
        self._load = load
        self._open_store = open_store
        self._selected = selected
        self._ttl = ttl
        self._stores: dict[str, Store] = {}

    def document(self) -> Any:
        """Return the file's JSON value.

        Raises:
            SourceError: it cannot be read or is not JSON.

        """
        return parse_document(self._load(), self.name)

    def fetch(self) -> Fetched:
        """Return all logins of the file; each unusable entry becomes a problem.

        Raises:
            SourceError: the whole file is unusable.

        """
        config = parse_docker_config(self.document(), self.name, self._selected)
        found = _Collected()
        for login in self._logins(config, found):
            try:
                self._collect(found, login)
            except SourceError as error:
                found.problem(error)
        credentials = tuple(filter(None, (_settle(found, same) for same in found.logins.values())))
        if not credentials and not found.problems:
            raise _no_logins_error(self.name, config)
        problems, notes = tuple(found.problems.values()), tuple(found.notes)
        return Fetched(credentials, problems, notes, ttl=self._ttl)

    def _logins(self, config: DockerConfig, found: _Collected) -> Iterator[_Login]:
        """Yield each registry that the file names, and what keeps its secret.

        1. its own helper (``credHelpers``), 2. the store (``credsStore``), 3. its entry.
        """
        helpers = {_match(key): (key, name) for key, name in config.cred_helpers.items()}
        seen = set()
        for text, entry in config.auths.items():
            seen.add(_match(text))
            url, helper = helpers.get(_match(text), (text, config.creds_store))
            yield _Login(text, entry, helper, url)
        if self._selected:
            return
        for key, helper in config.cred_helpers.items():
            if _match(key) not in seen:
                seen.add(_match(key))
                yield _Login(key, {}, helper, key)
        for key in self._listed(config, found):
            if _match(key) not in seen:
                yield _Login(key, {}, config.creds_store, key)

    def _listed(self, config: DockerConfig, found: _Collected) -> list[str]:
        """List the store's registries; if it cannot list them, rely on the file's entries."""
        if not config.creds_store:
            return []
        try:
            return list(self._store(config.creds_store).list())
        except SourceError as error:
            if str(error) in found.problems:
                return []
            if config.auths:
                found.notes.append(
                    f"only the registries in the file were looked up: {error.message}"
                )
            else:
                found.problem(error)
            return []

    def _collect(self, found: _Collected, login: _Login) -> None:
        key = parse_auth_key(login.text)
        if key.session:
            found.notes.append(f"{login.text} is docker login's own session entry: skipped")
            return
        if key.repaired:
            found.notes.append(f"{login.text} becomes {key.text}: {key.repaired}")
        credential = self._from_helper(key, login) if login.helper else None
        if credential is None:
            credential, repaired = decode_entry(key, login.entry)
            if repaired:
                found.notes.append(f"{key.registry}: {repaired}")
            if credential is not None and login.helper:
                found.notes.append(
                    f"{key.registry}: docker-credential-{login.helper} has no login for it;"
                    " taken from the file"
                )
        if credential is None:
            raise _no_login_error(key, login)
        if credential.login == (credential.username, "", "", ""):
            raise SourceError(
                f"{key.registry}: a user name without a password",
                f"docker login {key.registry}",
                reference="login-incomplete",
            )
        found.logins.setdefault(key.match, []).append(with_known_expiry(credential))

    def _from_helper(self, key: AuthKey, login: _Login) -> Credential | None:
        answer = self._store(login.helper).get(login.server_url)
        if answer is None:
            return None
        username, secret = answer
        email = login.entry.get("email")
        is_token = username == TOKEN_USERNAME
        credential = Credential(
            auth_key=key,
            username="" if is_token else username,
            secret="" if is_token else secret,
            identity_token=secret if is_token else "",
            email=email if isinstance(email, str) else "",
        )
        check_login(credential)
        return credential

    def _store(self, name: str) -> Store:
        if name not in self._stores:
            self._stores[name] = self._open_store(name)
        return self._stores[name]


def _match(text: str) -> str:
    try:
        return parse_auth_key(text).match
    except SourceError:
        return text


def _no_logins_error(name: str, config: DockerConfig) -> SourceError:
    if config.creds_store:
        return SourceError(
            f"{name} names no registries, and docker-credential-{config.creds_store} lists none",
            "name them under credHelpers, or log in: docker login REGISTRY",
            reference="login-file-empty",
        )
    return SourceError(
        f"{name} holds no logins",
        "log in first: docker login REGISTRY",
        reference="login-file-empty",
    )


def _no_login_error(key: AuthKey, login: _Login) -> SourceError:
    if login.helper and parse_ecr_host(key.registry):
        return SourceError(
            f"{key.registry}: docker-credential-{login.helper} gave no login for it",
            "it lacks AWS credentials or a permission, see ~/.ecr/log; the agent needs no login if"
            " the instance role can pull from this registry",
            reference="helper-no-login",
        )
    if login.helper:
        return SourceError(
            f"{key.registry}: docker-credential-{login.helper} has no login for it",
            f"docker login {key.registry}",
            reference="helper-no-login",
        )
    return SourceError(
        f"{key.registry}: its entry is empty: the secret is in a credential store of the machine"
        " or user that logged in",
        f"run docker login {key.registry} here, as the user who runs this",
        reference="login-entry-empty",
    )


def _settle(found: _Collected, same: Sequence[Credential]) -> Credential | None:
    """Choose among the logins of one registry: an exact key first, then a corrected, a broadened.

    Differing logins of the same rank are a problem: the agent would pick one at random.
    """
    best = min(item.auth_key.rank for item in same)
    first, *others = [item for item in same if item.auth_key.rank == best]
    differing = [item for item in others if not item.same_login(first)]
    if differing:
        one, two = first.auth_key.spelled, differing[0].auth_key.spelled
        found.problem(
            SourceError(
                f"{first.registry}: two entries, {one} and {two}, hold different logins, and the"
                " agent would pick one at random",
                "remove one of them",
                reference="login-ambiguous",
            )
        )
        return None
    for item in same:
        if item.auth_key.rank > best and not item.same_login(first):
            found.notes.append(
                f"{item.auth_key.spelled} is skipped: {first.auth_key.spelled} takes precedence"
            )
    return first
