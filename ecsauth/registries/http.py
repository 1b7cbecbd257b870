"""Implement `login.Http` with urllib3: docker's TLS trust, proxies, limits."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from ecsauth.errors import UsageError
from ecsauth.registries.login import HttpError, Response, is_loopback

_MAX_BODY = 1024 * 1024
_CERTIFICATES = Path("/etc/docker/certs.d")
"""Where the docker daemon looks for the CA of a registry: ``HOST:PORT/*.crt``."""


class UrllibHttp:
    """Sends the requests of one verification.

    Args:
        timeout: seconds to connect, and for each read.
        ca_file: CA certificates to trust besides the system's; None for no others.
        unverified: hosts whose certificate is not verified (``--insecure-registry``).

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
        """Send one request without following redirects or retrying."""
        manager: urllib3.PoolManager | None = None
        try:
            manager = self._manager(url)
            answer = manager.request(
                method,
                url,
                headers={"User-Agent": "ecsauth", **headers},
                body=body or None,
                redirect=False,
                retries=False,
                preload_content=False,
            )
            text = answer.read(_MAX_BODY, decode_content=False).decode("utf-8", "replace")
        except (HTTPError, OSError, ValueError) as error:
            raise _http_error(error) from None  # the cause may hold the URL with a token
        finally:
            if manager is not None:
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
        settings: dict[str, Any] = {
            "timeout": self._timeout,
            "ssl_context": context,
            "retries": False,
        }
        proxy = _proxy_for(parts.scheme, parts.netloc)
        if not proxy:
            return urllib3.PoolManager(**settings)
        user = urlsplit(proxy)
        if user.username:
            pair = f"{unquote(user.username)}:{unquote(user.password or '')}"
            settings["proxy_headers"] = urllib3.util.make_headers(proxy_basic_auth=pair)
        return urllib3.ProxyManager(proxy, **settings)

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
        raise UsageError(
            f"{path} cannot be used as CA certificates: {reason}",
            "check --ca-file",
            reference="ca-file-unusable",
        ) from error


def _proxy_for(scheme: str, host: str) -> str:
    """Return the proxy that the environment sets for a host; empty if none.

    Loopback and plain HTTP never use one: only the registry may see a login in plain text.
    """
    if scheme != "https" or is_loopback(host) or urllib.request.proxy_bypass(host):
        return ""
    proxy = urllib.request.getproxies().get(scheme, "")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _http_error(error: Exception) -> HttpError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return HttpError(
                f"its certificate is not trusted: {cause.verify_message}", untrusted=True
            )
        cause = cause.__cause__ or cause.__context__ or _reason(cause)
    if isinstance(error, NewConnectionError):  # a ConnectTimeoutError in urllib3 2
        return HttpError(_connection_reason(error))
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError, TimeoutError)):
        return HttpError("no answer in time")
    if isinstance(error, ProxyError):
        return HttpError("the proxy does not answer")
    if isinstance(error, SSLError):
        return HttpError("TLS handshake failed")
    return HttpError(f"connection failed ({type(error).__name__})")


def _reason(error: BaseException) -> BaseException | None:
    found = getattr(error, "reason", None)
    if isinstance(found, BaseException):
        return found
    first = error.args[0] if error.args else None
    return first if isinstance(first, BaseException) else None


def _connection_reason(error: NewConnectionError) -> str:
    text = str(error).lower()
    if "refused" in text:
        return "connection refused"
    if "name or service" in text or "resolve" in text or "getaddrinfo" in text:
        return "its host name cannot be resolved"
    return "cannot connect to it"
