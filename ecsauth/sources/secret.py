"""Secrets Manager and Parameter Store as sources, and the supported shapes of secrets.

The first shape is that of ECS's own ``repositoryCredentials`` (Amazon ECS Developer Guide,
"Using non-AWS container images"): a JSON object with ``username`` and ``password``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ecsauth.aws.failure import Call
from ecsauth.aws.session import Aws, Identity
from ecsauth.credentials.credential import Credential, Fetched, check_login
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.json_text import JSONTextError, dumps_ascii, loads
from ecsauth.credentials.login_file import select
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.errors import SourceError, UsageError
from ecsauth.sources.login_file import LoginFileSource


@dataclass(frozen=True)
class Wanted:
    """What to take from a secret.

    Attributes:
        registry: host[:port] that the login is for; empty if the secret names it.
        query: JMESPath to the login in it; empty for the whole secret.
        username: for a secret that is only a password.

    """

    registry: str = ""
    query: str = ""
    username: str = ""


@dataclass(frozen=True)
class Place:
    """Where a secret is.

    Attributes:
        service: ``secretsmanager`` or ``ssm``.
        identifier: its name or ARN.
        region: empty for the default.
        account: from the ARN; empty for the caller's.
        version_stage: of a secret; empty for AWSCURRENT.

    """

    service: str
    identifier: str
    region: str = ""
    account: str = ""
    version_stage: str = ""


class SecretSource:
    """One secret or parameter."""

    def __init__(self, place: Place, wanted: Wanted, aws: Aws, identity: Identity) -> None:
        self.name = f"{place.service}:{place.identifier}"
        self.fingerprint = f"{place} {wanted} {identity}\n{aws.deciding_settings()}"
        self._place = place
        self._wanted = wanted
        self._aws = aws
        self._identity = aws.identity_for(place.account, identity) if place.account else identity

    def fetch(self) -> Fetched:
        """Return the credentials in it.

        Raises:
            SourceError: it is missing or has no supported shape; says why and what to do.

        """
        requested_at = int(time.time())
        region = self._place.region or self._aws.region(self._identity, self.name)
        client = self._aws.client(self._place.service, region, self._identity, self.name)
        ask = self._secret if self._place.service == "secretsmanager" else self._parameter
        text, version = ask(client, region)
        found = read_secret(text, self._wanted, self.name, requested_at)
        return Fetched(found.credentials, found.problems, found.notes, found.warnings, version)

    def _secret(self, client: Any, region: str) -> tuple[str, str]:
        call = Call(self.name, "secretsmanager:GetSecretValue", region)
        stage = self._place.version_stage
        answer = self._aws.call(
            call,
            self._identity,
            client.get_secret_value,
            SecretId=self._place.identifier,
            **({"VersionStage": stage} if stage else {}),
        )
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise SourceError(
                "the secret is binary",
                "store it as text",
                subject=self.name,
                reference="secret-shape",
            )
        return text, str(answer.get("VersionId", ""))

    def _parameter(self, client: Any, region: str) -> tuple[str, str]:
        call = Call(self.name, "ssm:GetParameter", region, "AmazonSSMReadOnlyAccess")
        name = self._place.identifier
        answer = self._aws.call(
            call, self._identity, client.get_parameter, Name=name, WithDecryption=True
        )
        parameter = answer.get("Parameter")
        text = parameter.get("Value") if isinstance(parameter, Mapping) else None
        if not isinstance(text, str):
            raise SourceError(
                "AWS answered without a value",
                subject=self.name,
                reference="aws-unexpected-answer",
            )
        return text, str(answer["Parameter"].get("Version", ""))


def read_secret(text: str, wanted: Wanted, name: str, requested_at: int) -> Fetched:
    """Parse a secret.

    1. ``{"username": …, "password": …}``; 2. a docker login file; 3. any text, if the user name
    is given; each of them also as the result of a JMESPath query.

    Raises:
        SourceError: it has none of these shapes; names what is missing, never a value.

    """
    document = _document(text, wanted, name)
    if wanted.query:
        try:
            document = select(document, wanted.query)
        except UsageError as error:
            raise error.as_kind(SourceError, hint="check ?query=", prefix=f"{name}: ") from None
        if document is None:
            raise SourceError(
                "the query finds nothing in the secret",
                "check ?query=",
                subject=name,
                reference="secret-query",
            )
    if isinstance(document, str) and wanted.username:
        return Fetched((_login(wanted.username, document, wanted, name, requested_at),))
    if isinstance(document, dict):
        username, password = document.get("username"), document.get("password")
        if isinstance(username, str) and isinstance(password, str):
            return Fetched((_login(username, password, wanted, name, requested_at),))
        if any(isinstance(value, dict) for value in document.values()):
            return _login_file(document, wanted, name)
    raise SourceError(
        "the secret is not a JSON object with username and password",
        "select them with ?query= (JMESPath), or name the user of a bare password with ?username=",
        subject=name,
        reference="secret-shape",
    )


def _document(text: str, wanted: Wanted, name: str) -> Any:
    try:
        return loads(text)
    except JSONTextError:
        if wanted.username and not wanted.query:
            return text.rstrip("\r\n")
        raise SourceError(
            "the secret is not JSON",
            'store {"username": …, "password": …}, or name the user with ?username=',
            subject=name,
            reference="secret-shape",
        ) from None


def _login(
    username: str, password: str, wanted: Wanted, name: str, requested_at: int
) -> Credential:
    if not wanted.registry:
        raise SourceError(
            "the secret names no registry",
            "add ?registry=HOST",
            subject=name,
            reference="secret-registry-missing",
        )
    if not password:
        raise SourceError(
            "its password is empty",
            "store the secret with a password",
            subject=name,
            reference="secret-password-empty",
        )
    key = parse_auth_key(wanted.registry)
    found = Credential(key, username, password, requested_at=requested_at)
    check_login(found)
    return with_known_expiry(found)


def _login_file(document: dict[str, Any], wanted: Wanted, name: str) -> Fetched:
    text = dumps_ascii(document).encode("ascii")
    found = LoginFileSource(name, lambda: text, lambda store: _no_store(name, store)).fetch()
    if not wanted.registry:
        return found
    match = parse_auth_key(wanted.registry).match
    only = tuple(item for item in found.credentials if item.match == match)
    if not only:
        raise SourceError(
            f"it has no login for {wanted.registry}",
            "check ?registry=",
            subject=name,
            reference="secret-login-missing",
        )
    return Fetched(only, found.problems, found.notes)


def _no_store(name: str, store: str) -> NoReturn:
    raise SourceError(
        f"it names the credential store {store} instead of holding logins",
        "store the logins themselves: log in on a machine without a credential store",
        subject=name,
        reference="secret-credential-store",
    )
