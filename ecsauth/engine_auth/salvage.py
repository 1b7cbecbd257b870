"""Reading of present settings, including logins that the agent cannot read.

The usual mistakes, none of them in the agent's log: quotes around the value, an outer ``auths``
left in, a member that is not a registry (``credsStore``), JSON spread over several lines, entries
of one format under the name of the other, base64 without padding.
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
    """The credentials already in a target.

    Attributes:
        credentials: at most one per key that the agent can tell apart. A key that the agent
            matches is left alone, because longer keys win over shorter; others are normalised.
        warnings: what was recovered although the agent could not read it, and what is dropped.
        dropped: True if an entry that may hold a login is not among the credentials.
        lost: why nothing can be recovered from settings that may hold a login; else empty.

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
        self.warnings.append(f"{shown_key(text)}: dropping its present entry: {why}")


def read_present(current: EngineAuth, lenient_data: str = "") -> Present:
    """Read a target's settings as the agent does, and recover what it cannot read.

    Args:
        current: the settings as the agent gets them.
        lenient_data: the data as their author meant them (see `env_file.full_value`).

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
        found.warnings.append(f"repaired logins that the agent could not read{why}: {names}")
    lost = view.fault if view.fault and not found.logins and _holds_something(current) else ""
    return Present(
        tuple(found.logins.values()), tuple(found.warnings), lost=lost, dropped=found.dropped
    )


def lenient_document(data: str) -> dict[str, Any]:
    """Return the JSON object that an ECS_ENGINE_AUTH_DATA value was meant to be, or {}."""
    document = loads_lenient(data)
    return document if isinstance(document, dict) else {}


def lenient_entries(data: str) -> dict[str, dict[str, Any]]:
    """Return registry → entry as meant, field names in lower case; other members are left out."""
    document = lenient_document(data)
    if isinstance(document.get("auths"), dict):
        document = document["auths"]
    return {
        key: {name.casefold(): value for name, value in entry.items()}
        for key, entry in document.items()
        if isinstance(entry, dict)
    }


def canonical_match(item: Credential) -> str:
    """Return the `match` of the key once normalised."""
    try:
        return parse_auth_key(item.auth_key.text).match
    except RegistryNameError:
        return item.match


def _holds_something(current: EngineAuth) -> bool:
    """Return whether settings that cannot be parsed may hold a login."""
    named = go_trim(current.auth_type).strip("'\"").lower()
    return bool(go_trim(current.auth_data).strip("'\"{}[] ")) or (
        named not in ("", DOCKERCFG, DOCKER) and not named.isalpha()
    )


def _salvage(found: _Found, text: str, entry: Mapping[str, Any]) -> None:
    """Add an entry's login unless the agent reads one there already."""
    try:
        key = _present_key(text)
        known = found.logins.get(key.match)
        if known is not None and text not in found.read and known.auth_key.spelled != text:
            other, _ = decode_entry(key, entry)
            if other is not None and not other.same_login(known):
                found.drop(text, f"{known.auth_key.spelled} is the same registry")
            return
        has_lost_token = bool(entry.get("identitytoken")) and not (known and known.identity_token)
        if key.session or (known and any(known.login) and not has_lost_token):
            return
        credential, _ = decode_entry(key, entry)
    except SourceError as error:
        found.drop(text, error.what)
        return
    if credential is not None:
        found.logins[key.match] = with_known_expiry(credential)
    elif known is None:
        found.drop(text, "it has no login")


def _add(found: _Found, item: Credential) -> None:
    """Add a login that the agent reads; of two for one registry, the exact key wins."""
    text = item.auth_key.text
    found.read.add(text)
    try:
        key = _present_key(text)
    except RegistryNameError as error:
        found.drop(text, error.message)
        return
    if key.session:
        found.warnings.append(f"{shown_key(text)}: dropping docker login's session entry")
        return
    if not any(item.login) and not key.is_matchable:
        return  # an outer `auths`: its entries are recovered
    if any("\ufffd" in part for part in item.login):
        return  # the agent alters it; what was meant is recovered or reported later
    before = found.logins.get(key.match)
    if before is not None and before.auth_key.rank <= key.rank:
        found.drop(text, f"{before.auth_key.spelled} is the same registry")
        return
    if before is not None:
        found.drop(before.auth_key.spelled, f"{text} is the same registry")
    elif key.repaired:
        found.warnings.append(f"{shown_key(text)} becomes {key.text}: {key.repaired}")
    found.logins[key.match] = with_known_expiry(replace(item, auth_key=key))


def _present_key(text: str) -> AuthKey:
    """Parse a present key; one that the agent matches is left alone, path included."""
    key = parse_auth_key(text)
    raw = strip_scheme(text)
    if key.rank == 1 and not key.is_docker_hub and raw.startswith(f"{key.registry}/"):
        return AuthKey(text, raw, spelled=text)
    return key
