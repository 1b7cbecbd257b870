"""Registry names: parsing of ``auths`` keys, image names and ECR host names.

Sources of the rules: the agent's ``agent/dockerclient/dockerauth/dockerauth.go`` (which key
serves which image), docker's ``cli/config`` (how a login file spells its keys) and the ECR
endpoints in botocore's partition data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ecsauth.errors import RegistryNameError

DOCKER_HUB_AUTH_KEY = "https://index.docker.io/v1/"
"""The key for Docker Hub as ``docker login`` and ecsauth write it."""

DOCKER_HUB_MATCH_KEY = "index.docker.io/v1/"
"""The one key, scheme removed, that the agent looks up for a Docker Hub image."""

_DOCKER_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_SESSION_KEYS = frozenset({"index.docker.io/v1/access-token", "index.docker.io/v1/refresh-token"})
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NAMESPACE = re.compile(r"[A-Za-z0-9._/:+~-]*")
_MAX_LENGTH = 1024
_SECRET_MARKS = frozenset("@?=&;{}")
_API_TAILS = frozenset({"", "v1", "v1/", "v2", "v2/"})

_ECR_HOST = re.compile(
    r"(?P<id>[0-9]{12})\.dkr(?P<dash>[.-])ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<suffix>.+)"
)
_ECR_SUFFIXES = {
    ".": frozenset(
        {
            "amazonaws.com",
            "amazonaws.com.cn",
            "amazonaws.eu",
            "c2s.ic.gov",
            "sc2s.sgov.gov",
            "cloud.adc-e.uk",
            "csp.hci.ic.gov",
        }
    ),
    "-": frozenset({"on.aws", "on.amazonwebservices.com.cn"}),
}
_ECR_PUBLIC_HOSTS = frozenset({"public.ecr.aws", "ecr-public.aws.com"})


@dataclass(frozen=True)
class AuthKey:
    """A parsed key of ``auths``."""

    text: str
    """The key to write into ECS_ENGINE_AUTH_DATA."""

    match: str
    """The key as the agent compares it, without scheme; equal for keys it cannot tell apart."""

    repaired: str = ""
    """Why ``text`` differs from `spelled`, in a few words; empty if it does not."""

    session: bool = False
    """True for docker login's Docker Hub session entries, which are not registries."""

    spelled: str = field(default="", compare=False)
    """The key as it was read."""

    rank: int = field(default=0, compare=False)
    """The lowest rank wins among keys with one `match`: 0 exact, 1 normalised, 2 broadened."""

    @property
    def registry(self) -> str:
        """The host[:port] that images name; ``docker.io`` for Docker Hub.

        For display: a host that may contain a password (``user:password@host``) is hidden.
        """
        host = "docker.io" if self.is_docker_hub else self.match.split("/", 1)[0]
        return host if is_printable_key(host) else f"<a host of {len(host)} characters>"

    @property
    def namespace(self) -> str:
        """The path after the host, for a key that serves only part of a registry; else empty."""
        return "" if self.is_docker_hub else self.match.partition("/")[2]

    @property
    def is_docker_hub(self) -> bool:
        """True for the key of Docker Hub."""
        return self.match == DOCKER_HUB_MATCH_KEY

    @property
    def is_matchable(self) -> bool:
        """False for a host that the agent takes for a part of a Docker Hub image name."""
        host = self.registry
        return "." in host or ":" in host or host == "localhost"


@dataclass(frozen=True)
class EcrRegistry:
    """A private ECR registry, parsed from its host name."""

    host: str
    registry_id: str
    region: str
    fips: bool
    dual_stack: bool


def parse_auth_key(text: str) -> AuthKey:
    """Parse a key of a login file's ``auths``, normalising what the agent could never match.

    Normalised: Docker Hub's aliases, capitals in scheme or host, a ``/v1/`` or ``/v2/`` tail, a
    bare trailing slash. A key that the agent matches already is returned unchanged.

    Raises:
        RegistryNameError: not a registry name; the message is safe to print.

    """
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    host, slash, path = rest.partition("/")
    if "@" in rest:
        raise RegistryNameError(
            "a key of auths contains '@'", "remove the user name and password from the address"
        )
    if len(text) > _MAX_LENGTH or not _HOST.fullmatch(host) or not _NAMESPACE.fullmatch(path):
        shown = repr(text) if is_printable_key(text) else f"a key of {len(text):,} characters"
        raise RegistryNameError(
            f"{shown} is not a registry name", "use host[:port] or https://host[:port]"
        )
    lowered = host.lower()
    if f"{lowered}/{path}" in _SESSION_KEYS:
        return AuthKey(text, f"{lowered}/{path}", session=True, spelled=text)
    if lowered in _DOCKER_HUB_HOSTS:
        exact = strip_scheme(text) == DOCKER_HUB_MATCH_KEY
        repaired = "" if exact else "the agent knows only one key for Docker Hub"
        if path not in _API_TAILS:
            repaired = "the agent uses one login for all of Docker Hub"
        return AuthKey(
            text=text if exact else DOCKER_HUB_AUTH_KEY,
            match=DOCKER_HUB_MATCH_KEY,
            repaired=repaired,
            spelled=text,
            rank=0 if exact else 1 if path in _API_TAILS else 2,
        )
    reasons = []
    if scheme and not scheme.group().islower():
        reasons.append("the agent strips only a lower-case scheme")
    if host != lowered:
        reasons.append("image names have the host in lower case")
    if slash and path in _API_TAILS:
        reasons.append("the path is not part of an image name")
        slash = path = ""
    match = f"{lowered}{slash}{path}"
    repaired = ", ".join(reasons)
    return AuthKey(match if repaired else text, match, repaired, spelled=text, rank=bool(repaired))


def is_printable_key(text: str) -> bool:
    """Return whether a key is safe to print; a query or user information may be a secret."""
    return (
        text.isascii() and text.isprintable() and len(text) <= 200 and not set(text) & _SECRET_MARKS
    )


def strip_scheme(key: str) -> str:
    """Remove the scheme as the agent does: one leading lower-case ``http://`` or ``https://``."""
    for scheme in ("http://", "https://"):
        if key.startswith(scheme):
            return key[len(scheme) :]
    return key


def parse_image_registry(image: str) -> str:
    """Return the registry that the agent reads from an image name; ``docker.io`` for Docker Hub.

    The rule is the agent's ``splitReposName`` after ``ParseRepositoryTag``: the part before the
    first ``/`` is a host if it contains ``.`` or ``:`` or is ``localhost``.
    """
    head, colon, tail = image.rpartition(":")
    repository = head if colon and "/" not in tail else image
    host, slash, _ = repository.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        return "docker.io"
    return "docker.io" if host in _DOCKER_HUB_HOSTS else host


def parse_ecr_host(host: str) -> EcrRegistry | None:
    """Parse the host name of a private ECR registry; None for any other host.

    The whole name must match: ``….amazonaws.com.example.org`` is not an ECR registry.
    """
    lowered = host.lower()
    found = _ECR_HOST.fullmatch(lowered)
    if found is None or found["suffix"] not in _ECR_SUFFIXES[found["dash"]]:
        return None
    return EcrRegistry(
        host=lowered,
        registry_id=found["id"],
        region=found["region"],
        fips=found["fips"] is not None,
        dual_stack=found["dash"] == "-",
    )


def is_ecr_public(host: str) -> bool:
    """Return whether `host` belongs to ECR Public."""
    return host.lower() in _ECR_PUBLIC_HOSTS
