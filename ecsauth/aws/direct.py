"""One call of AWS's JSON protocol without a client, signed and sent by botocore's own parts.

A client first loads the model of its service and more, which takes longer than the call and a
third of the memory. Anything unusual (settings that only a client supports, an answer that is worth
a retry) is left to a client.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ecsauth.aws.failure import THROTTLED

_SETTINGS = (
    "use_fips_endpoint",
    "use_dualstack_endpoint",
    "defaults_mode",
    "ignore_configured_endpoint_urls",
    "auth_scheme_preference",
)
"""Settings that only a client supports (names of botocore's configuration variables)."""


def call_directly(
    core: Any,
    environment: Mapping[str, str],
    operation: str,
    target: str,
    *,
    service: str,
    region: str,
    timeout: tuple[float, float],
) -> Mapping[str, Any] | None:
    """Call an operation without parameters once; return None if a client must be used.

    Args:
        core: botocore session.
        environment: environment variables; those that name an endpoint are read.
        operation: name for errors.
        target: value of X-Amz-Target.
        service: botocore's name of the service; also its signing name.
        region: AWS region.
        timeout: seconds to connect and to read.

    Raises:
        ClientError: AWS refused the call.
        NoCredentialsError: there are no AWS credentials.

    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import NoCredentialsError

    url = _endpoint(core, environment, service, region)
    if not url:
        return None
    credentials = core.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": target,
        "User-Agent": "ecsauth",
    }
    request = AWSRequest("POST", url, data=b"{}", headers=headers)
    SigV4Auth(credentials.get_frozen_credentials(), service, region).add_auth(request)
    answer, data = _send(core, environment, request.prepare(), timeout)
    if not isinstance(data, dict) or answer.status_code >= 500:
        return None
    if answer.status_code == 200:
        return data
    code = str(data.get("__type", "")).rpartition("#")[2]
    if code in THROTTLED or answer.status_code == 429:
        return None
    raise _refusal(code, data, answer, operation)


def _send(
    core: Any, environment: Mapping[str, str], request: Any, timeout: tuple[float, float]
) -> tuple[Any, Any]:
    """Return the response and its JSON; None and None if either is missing."""
    from botocore.exceptions import BotoCoreError
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies

    named = core.get_config_variable("ca_bundle") or environment.get("REQUESTS_CA_BUNDLE")
    http = URLLib3Session(
        verify=named or True,
        proxies=get_environ_proxies(request.url),
        timeout=timeout,
    )
    try:
        answer = http.send(request)
        return answer, json.loads(answer.content)
    except (BotoCoreError, ValueError):  # a client will retry and raise the proper error
        return None, None


def _refusal(code: str, data: Mapping[str, Any], answer: Any, operation: str) -> Exception:
    """Return the error that a client would raise."""
    from botocore.exceptions import ClientError

    said = str(data.get("message") or data.get("Message") or "")
    headers = {str(name).lower(): value for name, value in answer.headers.items()}
    metadata = {"HTTPStatusCode": answer.status_code, "HTTPHeaders": headers}
    error: Exception = ClientError(
        {"Error": {"Code": code, "Message": said}, "ResponseMetadata": metadata}, operation
    )
    return error


def _endpoint(core: Any, environment: Mapping[str, str], service: str, region: str) -> str:
    """Return the endpoint by botocore's own rules; empty if only a client can determine it."""
    from botocore.endpoint_provider import EndpointProvider
    from botocore.exceptions import BotoCoreError

    if any(core.get_config_variable(name) not in (None, False, "legacy") for name in _SETTINGS):
        return ""
    for name in (f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}", "AWS_ENDPOINT_URL"):
        if named := environment.get(name):
            return named
    scoped = core.get_scoped_config()
    if scoped.get("endpoint_url") or scoped.get("services"):
        return ""
    loader = core.get_component("data_loader")
    try:
        rules = loader.load_service_model(service, "endpoint-rule-set-1")
        provider = EndpointProvider(rules, loader.load_data("partitions"))
        found = provider.resolve_endpoint(Region=region, UseFIPS=False, UseDualStack=False)
    except BotoCoreError:
        return ""
    return str(found.url)
