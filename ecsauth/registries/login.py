"""Log in through docker's registry API; the port `Http` sends the requests.

Sources: the distribution specification, "API version check" and "Token authentication"
(https://distribution.github.io/distribution/spec/auth/), and docker's ``registry/auth.go``.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.json_text import JSONTextError, loads
from ecsauth.credentials.verdict import ACCEPTED, REFUSED, UNREACHABLE, UNTRUSTED, Verdict
from ecsauth.engine_auth.codec import shown_key
from ecsauth.registries.challenge import Challenge, parse_challenges

_DOCKER_HUB_API = "registry-1.docker.io"
_CLIENT_ID = "ecsauth"


@dataclass(frozen=True)
class Response:
    """A server's answer.

    Attributes:
        status: the HTTP status.
        challenges: its ``WWW-Authenticate`` headers.
        location: where it redirects to; empty if it does not.
        body: the first part of the body; never shown, as it may hold a token.

    """

    status: int
    challenges: tuple[str, ...] = ()
    location: str = ""
    body: str = field(default="", repr=False)


class HttpError(Exception):
    """The server gave no answer.

    Attributes:
        reason: why, in a few words.
        untrusted: True if we ended TLS because we do not trust the certificate.

    """

    def __init__(self, reason: str, *, untrusted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.untrusted = untrusted


class Http(Protocol):
    """Sends one request and follows no redirect."""

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Response:
        """Return the answer; raise HttpError if there is none."""


def is_loopback(registry: str) -> bool:
    """Return whether docker treats it as insecure by default: ``localhost`` and 127.0.0.0/8."""
    host = urlsplit(f"//{registry}").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def log_in(credential: Credential, http: Http, *, insecure: bool = False) -> Verdict:
    """Log in to the credential's registry.

    Credentials are sent only after the registry asks, and only to it and the token realm that it
    names. A realm on plain HTTP is refused unless the registry itself is on plain HTTP.

    Args:
        credential: what to log in with.
        http: sends the requests.
        insecure: fall back to plain HTTP if HTTPS fails, as docker does for
            loopback addresses and ``insecure-registries``.

    """
    host = _DOCKER_HUB_API if credential.auth_key.is_docker_hub else credential.registry
    try:
        base, first = _ask(host, http, insecure)
        return _answer(credential, http, base, first)
    except HttpError as error:
        outcome = UNTRUSTED if error.untrusted else UNREACHABLE
        return _verdict(credential, outcome, error.reason)


def _ask(host: str, http: Http, insecure: bool) -> tuple[str, Response]:
    try:
        return f"https://{host}", http.request("GET", f"https://{host}/v2/", {})
    except HttpError as error:
        if not insecure or error.untrusted:
            raise
    return f"http://{host}", http.request("GET", f"http://{host}/v2/", {})


def _answer(credential: Credential, http: Http, base: str, first: Response) -> Verdict:
    if first.status == 200 and first.body.lstrip().startswith("<"):
        return _verdict(credential, UNREACHABLE, "not a registry: it serves a web page")
    if first.status == 200:
        return _verdict(credential, ACCEPTED, "the registry requires no login")
    if first.status != 401:
        return _verdict(credential, UNREACHABLE, f"not a registry's answer: {_status(first)}")
    challenges = parse_challenges(first.challenges)
    if credential.registry_token:
        return _use_token(credential, http, base, credential.registry_token)
    for challenge in challenges:
        if challenge.scheme == "bearer":
            return _bearer(credential, http, base, challenge)
        if challenge.scheme == "basic" and not credential.identity_token:
            answer = http.request("GET", f"{base}/v2/", _basic(credential))
            return _judge(credential, answer)
    if any(challenge.scheme == "basic" for challenge in challenges):
        return _verdict(
            credential,
            REFUSED,
            "the registry accepts only passwords; this login is an identity token",
        )
    return _verdict(credential, UNREACHABLE, "the registry requires an unsupported kind of login")


def _bearer(credential: Credential, http: Http, base: str, challenge: Challenge) -> Verdict:
    realm = challenge.parameters.get("realm", "").partition("#")[0]
    fault, host = _realm_fault(realm, base)
    if fault:
        return _verdict(
            credential, REFUSED, f"no credentials were sent: the token realm is {fault}"
        )
    elsewhere = host if host != urlsplit(base).netloc else ""
    service = challenge.parameters.get("service", "")
    if credential.identity_token:
        answer = http.request("POST", realm, _FORM, _refresh_form(credential, service))
    else:
        answer = http.request("GET", _token_url(realm, service, credential), _basic(credential))
    if answer.status != 200:
        return _judge(credential, answer, elsewhere)
    token = _token(answer.body)
    if not token:
        return _verdict(credential, UNREACHABLE, "the token server returned no token", elsewhere)
    return _use_token(credential, http, base, token, elsewhere)


def _realm_fault(realm: str, base: str) -> tuple[str, str]:
    """Return why credentials must not be sent to a realm (empty if they may), and its host[:port].

    Plain HTTP is allowed only for a registry on plain HTTP, and only to the same host.
    """
    try:
        parts = urlsplit(realm)
        own = urlsplit(base)
        host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "not a valid URL", ""
    if parts.username or parts.password or not parts.hostname:
        return "not an HTTPS URL", ""
    if parts.scheme == "https" or (
        parts.scheme == own.scheme == "http" and parts.hostname == own.hostname
    ):
        return "", host
    return ("on plain HTTP" if parts.scheme == "http" else "not an HTTPS URL"), host


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _refresh_form(credential: Credential, service: str) -> bytes:
    fields = {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": _CLIENT_ID,
        "refresh_token": credential.identity_token,
    }
    return urlencode(fields).encode("ascii")


def _token_url(realm: str, service: str, credential: Credential) -> str:
    query = urlencode({"service": service, "client_id": _CLIENT_ID, "account": credential.username})
    return f"{realm}{'&' if '?' in realm else '?'}{query}"


def _use_token(
    credential: Credential, http: Http, base: str, token: str, realm: str = ""
) -> Verdict:
    answer = http.request("GET", f"{base}/v2/", {"Authorization": f"Bearer {token}"})
    return _judge(credential, answer, realm)


def _judge(credential: Credential, answer: Response, realm: str = "") -> Verdict:
    if answer.status == 200:
        return _verdict(credential, ACCEPTED, "", realm)
    if answer.status in (400, 401, 403):
        return _verdict(credential, REFUSED, f"log in again ({_status(answer)})", realm)
    return _verdict(credential, UNREACHABLE, _status(answer), realm)


def _verdict(credential: Credential, outcome: str, detail: str, realm: str = "") -> Verdict:
    key = shown_key(credential.auth_key.text)
    return Verdict(credential.registry, credential.username, outcome, detail, realm, key)


def _basic(credential: Credential) -> dict[str, str]:
    pair = f"{credential.username}:{credential.secret}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}


def _token(body: str) -> str:
    try:
        document = loads(body)
    except JSONTextError:
        return ""
    if not isinstance(document, dict):
        return ""
    token = document.get("token") or document.get("access_token")
    is_plain = isinstance(token, str) and token.isascii() and token.isprintable()
    return token if isinstance(token, str) and is_plain else ""


def _host_of(location: str) -> str:
    try:
        return urlsplit(location).hostname or "the same host"
    except ValueError:
        return "an invalid URL"


def _status(answer: Response) -> str:
    if answer.location:
        return f"HTTP {answer.status}, a redirect to {_host_of(answer.location)}"
    return f"HTTP {answer.status}"
