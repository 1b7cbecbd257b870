"""What is in a target already, and what of it the author meant but the agent cannot read.

The usual accidents, each silent in the agent's log: quotes around the value, an outer ``auths``
left in, a member that is no registry (``credsStore``), JSON spread over several lines, the
entries of one format under the name of the other, base64 without padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.json_text import go_trim, loads_lenient
from ecsauth.credentials.login_file import decode_entry
from ecsauth.credentials.registry import AuthKey, parse_auth_key, strip_scheme
from ecsauth.engine_auth.codec import DOCKER, DOCKERCFG, EngineAuth, decode, shown_key
from ecsauth.errors import RegistryNameError, SourceError


@dataclass(frozen=True)
class Present:
    """The credentials that are in a target already.

    Attributes:
        credentials: at most one per key that the agent can tell apart. A key that the agent
            matches stands as it is, for a longer one wins over a shorter; others are mended.
        warnings: what the agent could not read and was recovered, and what is dropped.
        dropped: True if an entry that may hold a login is not among the credentials.
        lost: why nothing of a setting that is there can be read, by anybody; else empty.

    """

    credentials: tuple[Credential, ...] = ()
    warnings: tuple[str, ...] = ()
    lost: str = ""
    dropped: bool = False


@dataclass
class _Found:
    logins: dict[str, Credential] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    dropped: bool = False
    read: set[str] = field(default_factory=set)

    def drop(self, text: str, why: str) -> None:
        self.dropped = True
        self.warnings.append(f"{shown_key(text)}: its present entry is dropped: {why}")


def read_present(current: EngineAuth, lenient_data: str = "") -> Present:
    """Read a target's settings as the agent does, and recover what it cannot read.

    Args:
        current: the settings as the agent gets them.
        lenient_data: the data as the author meant them (see `ecs_config.full_value`).

    """
    view = decode(current)
    found = _Found()
    for item in view.credentials:
        _add(found, item)
    as_read = dict(found.logins)
    entries = lenient_entries(lenient_data or current.auth_data)
    for text, entry in entries.items():
        _salvage(found, text, entry)
    recovered = [item for match, item in found.logins.items() if as_read.get(match) is not item]
    why = f" ({view.fault})" if view.fault else ""
    if recovered:
        names = ", ".join(item.registry for item in recovered)
        found.warnings.append(f"unreadable for the agent until now{why}, mended: {names}")
    lost = view.fault if view.fault and not found.logins and _holds_something(current) else ""
    return Present(
        tuple(found.logins.values()), tuple(found.warnings), lost=lost, dropped=found.dropped
    )


def lenient_document(data: str) -> dict[str, Any]:
    """Return the JSON object that a value of ECS_ENGINE_AUTH_DATA was meant to be, or {}."""
    document = loads_lenient(data)
    return document if isinstance(document, dict) else {}


def lenient_entries(data: str) -> dict[str, dict[str, Any]]:
    """Return registry → entry as meant, names of fields in lower case; members that are none go."""
    document = lenient_document(data)
    if isinstance(document.get("auths"), dict):
        document = document["auths"]
    return {
        key: {name.casefold(): value for name, value in entry.items()}
        for key, entry in document.items()
        if isinstance(entry, dict)
    }


def canonical_match(item: Credential) -> str:
    """Return what the key would be compared as if it were mended."""
    try:
        return parse_auth_key(item.auth_key.text).match
    except RegistryNameError:
        return item.match


def _holds_something(current: EngineAuth) -> bool:
    """Return whether a login may be in settings that nobody can read."""
    named = go_trim(current.auth_type).strip("'\"").lower()
    return bool(go_trim(current.auth_data).strip("'\"{}[] ")) or (
        named not in ("", DOCKERCFG, DOCKER) and not named.isalpha()
    )


def _salvage(found: _Found, text: str, entry: Mapping[str, Any]) -> None:
    """Add the login of an entry unless the agent reads one there already."""
    try:
        key = _present_key(text)
        known = found.logins.get(key.match)
        if known is not None and text not in found.read and known.auth_key.spelled != text:
            other, _ = decode_entry(key, entry)
            if other is not None and not other.same_login(known):
                found.drop(text, f"{known.auth_key.spelled} is there too")
            return
        has_lost_token = bool(entry.get("identitytoken")) and not (known and known.identity_token)
        if key.session or (known and any(known.login) and not has_lost_token):
            return
        credential, _ = decode_entry(key, entry)
    except SourceError as error:
        found.drop(text, error.message)
        return
    if credential is not None:
        found.logins[key.match] = with_known_expiry(credential)
    elif known is None:
        found.drop(text, "it holds no login")


def _add(found: _Found, item: Credential) -> None:
    """Add a login that the agent reads; of two for one registry, the key as it stands wins."""
    text = item.auth_key.text
    found.read.add(text)
    try:
        key = _present_key(text)
    except RegistryNameError as error:
        found.drop(text, error.message)
        return
    if key.session:
        found.warnings.append(f"{shown_key(text)}: docker login's own session entry is dropped")
        return
    if not any(item.login) and not key.is_matchable:
        return  # an outer `auths`: what is in it is recovered
    if any("\ufffd" in part for part in item.login):
        return  # altered by the agent's reading; what was meant is recovered or named afterwards
    before = found.logins.get(key.match)
    if before is not None and before.auth_key.rank <= key.rank:
        found.drop(text, f"{before.auth_key.spelled} is there too")
        return
    if before is not None:
        found.drop(before.auth_key.spelled, f"{text} is there too")
    elif key.repaired:
        found.warnings.append(f"{shown_key(text)} becomes {key.text}: {key.repaired}")
    found.logins[key.match] = with_known_expiry(replace(item, auth_key=key))


def _present_key(text: str) -> AuthKey:
    """Understand a present key; one that the agent matches is left alone, tail and all."""
    key = parse_auth_key(text)
    raw = strip_scheme(text)
    if key.rank == 1 and not key.is_docker_hub and raw.startswith(f"{key.registry}/"):
        return AuthKey(text, raw, spelled=text)
    return key
