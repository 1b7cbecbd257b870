"""Detects the EC2 instance metadata service with one request of less than a second.

Outside EC2 nothing answers at its link-local address, and the AWS SDKs wait for it twice: for the
credentials and for the region. One short request decides for both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

CONNECT_SECONDS = 0.4
"""Time to connect, and again time to answer: 0.8 s in all."""

_ENDPOINT = "http://169.254.169.254"
_ENDPOINT_IPV6 = "http://[fd00:ec2::254]"
_TOKEN = "X-aws-ec2-metadata-token"  # noqa: S105 - the name of a header
_MAX_BYTES = 4096
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")


class Metadata:
    """The metadata service, if there is one.

    Args:
        environment: environment variables; AWS_EC2_METADATA_DISABLED is read.

    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._tokens: dict[str, str | None] = {}

    def is_present(self, core: Any) -> bool:
        """Return whether it answers; `core` is the botocore session that names its address.

        Any HTTP status for the session token request (IMDSv2) counts as an answer. A container
        beyond the hop limit gets no answer, and could not use the service either.
        """
        return self._token(_endpoint(core)) is not None

    def region(self, core: Any) -> str:
        """Return the region of the instance; empty where there is no metadata service."""
        endpoint = _endpoint(core)
        token = self._token(endpoint)
        if token is None:
            return ""
        headers = {_TOKEN: token} if token else {}
        status, text = _request(endpoint, "GET", "/latest/meta-data/placement/region", headers)
        return text if status == 200 and _REGION.fullmatch(text) else ""

    def _token(self, endpoint: str) -> str | None:
        """Return a session token, empty if none is issued; None if the service does not answer."""
        if self._environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return None
        if endpoint not in self._tokens:
            headers = {f"{_TOKEN}-ttl-seconds": "21600"}
            status, text = _request(endpoint, "PUT", "/latest/api/token", headers)
            self._tokens[endpoint] = None if status is None else text if status == 200 else ""
        return self._tokens[endpoint]


class OnlyOnEc2:
    """A botocore credential provider that is used only if the metadata service answers."""

    def __init__(self, provider: Any, metadata: Metadata, core: Any) -> None:
        self.METHOD = provider.METHOD
        self.CANONICAL_NAME = provider.CANONICAL_NAME
        self._provider = provider
        self._metadata = metadata
        self._core = core

    def load(self) -> Any:
        """Return the instance role's credentials; None if there are none."""
        return self._provider.load() if self._metadata.is_present(self._core) else None


def _endpoint(core: Any) -> str:
    mode = str(core.get_config_variable("ec2_metadata_service_endpoint_mode") or "")
    default = _ENDPOINT_IPV6 if mode.lower() == "ipv6" else _ENDPOINT
    return str(core.get_config_variable("ec2_metadata_service_endpoint") or default)


def _request(
    endpoint: str, method: str, path: str, headers: Mapping[str, str]
) -> tuple[int | None, str]:
    """Return the status and the text of the answer; the status is None if there is no answer."""
    import http.client  # rarely needed

    try:
        parts = urlsplit(endpoint)
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port or 80, timeout=CONNECT_SECONDS
        )
        try:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            text = answer.read(_MAX_BYTES).decode("ascii", "replace").strip()
            return answer.status, text if text.isprintable() else ""
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return None, ""
