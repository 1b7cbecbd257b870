"""Which credential the agent uses for an image: a port of its lookup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.registry import DOCKER_HUB_MATCH_KEY, parse_image_registry


@dataclass(frozen=True)
class Resolution:
    """Which credential the agent uses for one image.

    Attributes:
        credential: the one it uses, or one of several if `ambiguous`; None for an anonymous pull.
        ambiguous: True if Go's random map order decides.
        candidates: all that it may use, in the order of the JSON text.

    """

    credential: Credential | None = None
    ambiguous: bool = False
    candidates: tuple[Credential, ...] = ()


def resolve(credentials: Sequence[Credential], image: str) -> Resolution:
    """Return which of `credentials` the agent uses for `image`.

    The exact host key is the fallback; a longer key that is a plain prefix of the image name
    wins. If a host has only namespaced keys, the agent falls back to whichever of them its map
    returns first, prefix or not.
    """
    by_match: dict[str, list[Credential]] = {}
    for item in credentials:
        by_match.setdefault(item.match, []).append(item)
    host = parse_image_registry(image)
    if host == "docker.io":
        outcomes = {DOCKER_HUB_MATCH_KEY}
    else:
        keys = [key for key in by_match if key.split("/", 1)[0] == host]
        starts = [host] if host in by_match else keys
        outcomes = {_longest_prefix(image, keys, start) for start in starts}
    found = tuple(item for key, items in by_match.items() if key in outcomes for item in items)
    if not found:
        return Resolution()
    differ = any(not item.same_login(found[0]) for item in found)
    return Resolution(credential=found[0], ambiguous=differ, candidates=found)


def missing_host_keys(credentials: Iterable[Credential]) -> tuple[str, ...]:
    """Return the registries that have namespaced keys but no key for the host itself.

    For an image outside these namespaces, the agent sends any one of the credentials.
    """
    namespaces: dict[str, list[str]] = {}
    for item in credentials:
        if not item.auth_key.is_docker_hub:
            namespaces.setdefault(item.registry, []).append(item.auth_key.namespace)
    return tuple(host for host, names in namespaces.items() if "" not in names)


def _longest_prefix(image: str, keys: Iterable[str], start: str) -> str:
    longer = [key for key in keys if len(key) > len(start) and image.startswith(key)]
    return max(longer, key=len, default=start)
