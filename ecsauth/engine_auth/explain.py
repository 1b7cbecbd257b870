"""Which credential the agent uses for an image, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.registry import (
    DOCKER_HUB_MATCH_KEY,
    is_ecr_public,
    parse_auth_key,
    parse_ecr_host,
    parse_image_registry,
)
from ecsauth.engine_auth.codec import AgentView, shown_key
from ecsauth.engine_auth.resolve import Resolution, resolve
from ecsauth.errors import RegistryNameError

PASSWORD, IDENTITY_TOKEN, REGISTRY_TOKEN = "password", "identity_token", "registry_token"


@dataclass(frozen=True)
class Explanation:
    """The agent's choice for one image.

    Attributes:
        image: the image name.
        registry: the host that the agent reads from it; ``docker.io`` for Docker Hub.
        key: the key of ECS_ENGINE_AUTH_DATA that it uses, or one of several if `ambiguous`; None
            for an anonymous pull.
        username: the user name that it sends; may be empty.
        auth: ``password``, ``identity_token``, ``registry_token``, or None for an anonymous pull.
        ambiguous: True if Go's random map order decides.
        expires_at: Unix seconds; None if the credential does not say.
        reason: why, in one or two sentences.

    """

    image: str
    registry: str
    key: str | None
    username: str
    auth: str | None
    ambiguous: bool
    expires_at: int | None
    reason: str


def explain(view: AgentView, image: str) -> Explanation:
    """Return which credential of `view` the agent uses for `image`, and why."""
    registry = parse_image_registry(image)
    found = resolve(view.credentials, image)
    credential = with_known_expiry(found.credential) if found.credential else None
    if credential is None:
        reason = _why_none(view, registry, image)
    else:
        reason = _why(found, credential, registry, image, view.credentials)
    if note := _ecr_note(registry):
        reason = f"{reason}; {note}"
    return Explanation(
        image=image,
        registry=registry,
        key=shown_key(credential.auth_key.text) if credential else None,
        username=credential.username if credential else "",
        auth=auth_kind(credential) if credential else None,
        ambiguous=found.ambiguous,
        expires_at=credential.expires_at if credential else None,
        reason=reason,
    )


def auth_kind(credential: Credential) -> str | None:
    """Return the kind of login that the registry gets; docker prefers tokens to passwords."""
    if credential.registry_token:
        return REGISTRY_TOKEN
    if credential.identity_token:
        return IDENTITY_TOKEN
    return PASSWORD if credential.username or credential.secret else None


def _why(
    found: Resolution,
    credential: Credential,
    registry: str,
    image: str,
    credentials: Sequence[Credential],
) -> str:
    match = credential.match
    if found.ambiguous:
        keys = ", ".join(shown_key(item.auth_key.text) for item in found.candidates)
        if len({item.match for item in found.candidates}) == 1:
            return (
                f"{keys} are the same key to the agent, and random Go map order decides which login"
                " it keeps; remove all but one"
            )
        return (
            f"there is no key for {registry} itself, so random Go map order picks one of {keys} at"
            f" each pull; add a key for {registry} itself"
        )
    if auth_kind(credential) is None:
        return "its entry has no login, so the pull is anonymous"
    if match == DOCKER_HUB_MATCH_KEY:
        return "it is a Docker Hub image, and the agent looks up only this key for those"
    if match == registry:
        return f"the key is the image's registry, {registry}"
    if image.startswith(match):
        others = sum(1 for item in credentials if item.match.split("/", 1)[0] == registry)
        longest = "the longest key" if others > 1 else "a key"
        return f"it is {longest} that the image's name starts with"
    return (
        f"the image is not under {match}, but there is no key for {registry} itself, so the agent"
        " sends this login anyway"
    )


def _why_none(view: AgentView, registry: str, image: str) -> str:
    if view.fault:
        return f"the agent has no login at all: {view.fault}"
    for key, why in view.skipped.items():
        if _would_serve(key, registry):
            return f"the agent skips the entry of {shown_key(key)}: {why}"
    for item in view.credentials:
        if _would_serve(item.auth_key.text, registry):
            shown = shown_key(item.auth_key.text)
            return f"{shown} is spelled in a way that the agent never matches with {image}"
    if not view.credentials:
        return "there are no logins, so the pull is anonymous"
    return f"there is no key for {registry}, so the pull is anonymous"


def _would_serve(key: str, registry: str) -> bool:
    """Return whether a key that the agent does not use is meant for `registry`."""
    try:
        return parse_auth_key(key).registry == registry.lower()
    except RegistryNameError:
        return False


def _ecr_note(registry: str) -> str:
    if parse_ecr_host(registry):
        return (
            "for images that ECS recognises as private ECR images the agent ignores these settings:"
            " it asks ECR for a token by itself, with the instance role"
        )
    if is_ecr_public(registry):
        return "without a login the pull still works, at 1 instead of 10 pulls per second"
    return ""
