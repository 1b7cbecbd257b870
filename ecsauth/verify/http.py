"""The port `login.Http` over urllib3: TLS as docker trusts it, proxies, limits."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    LocationValueError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from ecsauth.errors import UsageError
from ecsauth.verify.login import HttpError, Response

_MAX_BODY = 1024 * 1024
_CERTIFICATES = Path("/etc/docker/certs.d")
"""Where the docker daemon looks for the CA of a registry: ``HOST:PORT/*.crt``."""


class UrllibHttp:
    """Sends requests of one verification.

    Args:
        timeout: seconds to connect, and for each read.
        ca_file: CA certificates to trust besides the system's; None for no more.
        unverified: hosts whose certificate is not looked at (``--insecure-registry``).

    """

    def __init__(
        self, timeout: float, ca_file: Path | None = None, unverified: frozenset[str] = frozenset()
    ) -> None:
        self._timeout = urllib3.Timeout(connect=timeout, read=timeout)
        self._ca_file = ca_file
        self._unverified = unverified
        if unverified:  # asked for by the user, or loopback
            urllib3.disable_warnings(InsecureRequestWarning)

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Response:
        """Send one request; no redirect is followed, nothing is tried again."""
        manager = self._manager(url)
        try:
            answer = manager.request(
                method,
                url,
                headers={"User-Agent": "ecsauth", **headers},
                body=body or None,
                redirect=False,
                retries=False,
                preload_content=False,
            )
            text = answer.read(_MAX_BODY, decode_content=True).decode("utf-8", "replace")
        except (HTTPError, LocationValueError, OSError) as error:
            raise _http_error(error) from None  # the cause may hold the URL with a token
        finally:
            manager.clear()
        return Response(
            status=answer.status,
            challenges=tuple(answer.headers.getlist("WWW-Authenticate")),
            location=answer.headers.get("Location", ""),
            body=text,
        )

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        context = self._context(parts.netloc) if parts.scheme == "https" else None
        proxy = _proxy_for(parts.scheme, parts.netloc)
        settings: dict[str, Any] = {
            "timeout": self._timeout,
            "ssl_context": context,
            "retries": False,
        }
        if proxy:
            return urllib3.ProxyManager(proxy, **settings)
        return urllib3.PoolManager(**settings)

    def _context(self, host: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if host in self._unverified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        for path in sorted(_CERTIFICATES.joinpath(host).glob("*.crt")):
            context.load_verify_locations(path)
        return context


def check_ca_file(path: Path | None) -> None:
    """Refuse a file that holds no CA certificates.

    Raises:
        UsageError: it cannot be read, or holds none.

    """
    try:
        if path is not None:
            ssl.create_default_context().load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or "no certificate in it"
        raise UsageError(f"{path} cannot be used as CA certificates: {reason}") from error


def _proxy_for(scheme: str, host: str) -> str:
    """Return the proxy that the environment names for a host; empty if none."""
    if urllib.request.proxy_bypass(host):
        return ""
    return urllib.request.getproxies().get(scheme, "")


def _http_error(error: Exception) -> HttpError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return HttpError(
                f"its certificate is not trusted: {cause.verify_message}", untrusted=True
            )
        cause = cause.__cause__ or cause.__context__ or _reason(cause)
    if isinstance(error, NewConnectionError):  # a ConnectTimeoutError in urllib3 2
        return HttpError(_connection_words(error))
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError, TimeoutError)):
        return HttpError("no answer in time")
    if isinstance(error, ProxyError):
        return HttpError("the proxy does not answer")
    if isinstance(error, SSLError):
        return HttpError("it does not speak TLS as it should")
    return HttpError(f"the connection broke ({type(error).__name__})")


def _reason(error: BaseException) -> BaseException | None:
    found = getattr(error, "reason", None)
    if isinstance(found, BaseException):
        return found
    first = error.args[0] if error.args else None
    return first if isinstance(first, BaseException) else None


def _connection_words(error: NewConnectionError) -> str:
    text = str(error).lower()
    if "refused" in text:
        return "connection refused"
    if "name or service" in text or "resolve" in text or "getaddrinfo" in text:
        return "its name is not known"
    return "no connection to it"
