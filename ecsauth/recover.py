"""What the author of a setting meant that the agent cannot read.

The usual accidents, each silent in the agent's log: quotes around the value, an outer ``auths``
left in, a member that is no registry (``credsStore``), JSON spread over several lines, the
entries of one format under the name of the other, base64 without padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ecsauth.credential import Credential, with_known_expiry
from ecsauth.docker_config import decode_entry
from ecsauth.engine_auth import EngineAuth, decode, shown_key
from ecsauth.errors import RegistryNameError, SourceError
from ecsauth.jsontext import JSONTextError, go_trim, loads
from ecsauth.registry import AuthKey, parse_auth_key


@dataclass(frozen=True)
class Present:
    """The credentials that are in a target already.

    Attributes:
        credentials: at most one per key that the agent can tell apart, keys mended.
        warnings: what the agent could not read and was recovered, and what was dropped.

    """

    credentials: tuple[Credential, ...] = ()
    warnings: tuple[str, ...] = ()


def read_present(current: EngineAuth, meant_data: str = "") -> Present:
    """Read a target's settings as the agent does, and recover what it cannot read.

    Args:
        current: the settings as the agent gets them.
        meant_data: the data as the author meant them (see `ecs_config.full_value`).

    """
    view = decode(current)
    found: dict[str, Credential] = {}
    warnings: list[str] = []
    for item in view.credentials:
        if any(item.login):
            _add(found, warnings, item.auth_key.text, item)
    if not current.auth_data:
        return Present()
    as_read = dict(found)
    for text, entry in _meant_entries(meant_data or current.auth_data).items():
        _recover(found, warnings, text, entry)
    recovered = [item.registry for key, item in found.items() if as_read.get(key) is not item]
    if recovered:
        why = f" ({view.fault})" if view.fault else ""
        warnings.append(f"unreadable for the agent until now{why}, mended: {', '.join(recovered)}")
    elif view.fault and not found:
        warnings.append(f"the present setting is of no use to the agent ({view.fault}): replaced")
    return Present(tuple(found.values()), tuple(warnings))


def _meant_entries(data: str) -> Mapping[str, Any]:
    text = go_trim(data)
    for quote in "'", '"':
        if len(text) > 1 and text.startswith(quote) and text.endswith(quote):
            text = text[1:-1]
    try:
        document = loads(text)
    except JSONTextError:
        return {}
    if isinstance(document, dict) and isinstance(document.get("auths"), dict):
        document = document["auths"]
    if not isinstance(document, dict):
        return {}
    return {key: entry for key, entry in document.items() if isinstance(entry, dict)}


def _recover(
    found: dict[str, Credential], warnings: list[str], text: str, entry: Mapping[str, Any]
) -> None:
    try:
        key = parse_auth_key(text)
        has_lost_token = bool(entry.get("identitytoken")) and key.match in found
        if key.session or (key.match in found and not has_lost_token):
            return
        credential, _ = decode_entry(key, entry)
    except SourceError as error:
        warnings.append(f"{shown_key(text)}: its present entry is dropped: {error.message}")
        return
    if credential is None:
        warnings.append(f"{shown_key(text)}: its present entry holds no login: dropped")
    elif key.match not in found or not found[key.match].identity_token:
        found.pop(key.match, None)  # it comes back at the end, among what was recovered
        found[key.match] = with_known_expiry(credential)


def _add(found: dict[str, Credential], warnings: list[str], text: str, item: Credential) -> None:
    try:
        key = parse_auth_key(text)
    except RegistryNameError as error:
        warnings.append(f"{shown_key(text)}: its present entry is dropped: {error.message}")
        return
    if key.session:
        warnings.append(f"{shown_key(text)} is docker login's own session entry: dropped")
        return
    if any("\ufffd" in part for part in item.login):
        return  # altered by the agent's reading; what was meant is recovered or named afterwards
    before = found.get(key.match)
    if before is not None and not _wins(key, before.auth_key):
        warnings.append(f"{shown_key(text)}: a second present entry for {key.registry} is dropped")
        return
    if key.mended:
        warnings.append(f"{shown_key(text)} becomes {key.text}: {key.mended}")
    found[key.match] = with_known_expiry(replace(item, auth_key=key))


def _wins(key: AuthKey, other: AuthKey) -> bool:
    """Return whether `key` is one that the agent matches as it stands and `other` is not."""
    return bool(other.mended) and not key.mended
