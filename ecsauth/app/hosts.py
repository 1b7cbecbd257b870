"""Registries named on the command line."""

from __future__ import annotations

from collections.abc import Iterable

from ecsauth.errors import UsageError
from ecsauth.token_cache.server import parse_server_url


def ecr_hosts(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the ECR hosts that arguments name, each once.

    Raises:
        UsageError: one is not an ECR host.

    """
    return tuple(dict.fromkeys(_ecr_host(text) for text in texts))


def _ecr_host(text: str) -> str:
    server = parse_server_url(text)
    if server is None or server.host != text.lower():
        raise UsageError(
            f"{text!r} is not the host of an ECR registry",
            "such as 123456789012.dkr.ecr.us-west-2.amazonaws.com or public.ecr.aws",
            reference="usage-registry",
        )
    return server.host
