"""Leases as a short text, for a target that keeps them beside its logins. Pure; holds no secret.

A publisher without a state directory of its own (a Lambda function's cold start) learns from its
object when each source was asked last and is due again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.freshness import Lease, LoginRecord, login_digest
from ecsauth.credentials.json_text import JSONTextError, loads

MAX_BYTES = 1500
"""Of the 2 KB that S3 allows for all metadata of an object (Amazon S3 User Guide)."""


def pack(leases: Mapping[str, Lease]) -> str:
    """Return leases as ASCII text; empty if they do not fit, or if there are none.

    Args:
        leases: key of the source, which must not depend on a salt → lease.

    """
    document = {
        key: [lease.fetched_at, lease.refresh_at, _end(lease), sorted(lease.logins)]
        for key, lease in leases.items()
        if lease.refresh_at
    }
    text = json.dumps(document, separators=(",", ":")) if document else ""
    return text if len(text) <= MAX_BYTES else ""


def unpack(
    text: str, names: Mapping[str, str], present: Mapping[str, Credential], salt: str
) -> dict[str, Lease]:
    """Return the leases in a text that `pack` made; those that are malformed are left out.

    Args:
        text: beside the logins.
        names: key of the source → its name.
        present: match → login beside which the text stands.
        salt: for the digests.

    """
    try:
        document = loads(text) if text else {}
    except JSONTextError:
        document = {}
    found = {}
    for key, entry in document.items() if isinstance(document, dict) else ():
        lease = _lease(entry, names.get(key, ""), present, salt)
        if key in names and lease is not None:
            found[key] = lease
    return found


def _end(lease: Lease) -> int:
    ends = [item.expires_at for item in lease.logins.values() if item.expires_at is not None]
    return min(ends, default=0)


def _lease(entry: Any, name: str, present: Mapping[str, Credential], salt: str) -> Lease | None:
    if not isinstance(entry, list) or len(entry) != 4 or not isinstance(entry[3], list):
        return None
    times, matches = entry[:3], entry[3]
    if not all(type(item) is int and 0 <= item < 2**40 for item in times):
        return None
    if not all(isinstance(item, str) and item in present for item in matches):
        return None
    fetched_at, refresh_at, end = times
    logins = {}
    for match in matches:
        item = with_known_expiry(present[match])
        expires_at = item.expires_at if item.expires_at is not None else end or None
        issued_at = item.requested_at if item.expires_at is not None else fetched_at
        logins[match] = LoginRecord(login_digest(salt, item), expires_at, issued_at)
    return Lease(name, fetched_at, refresh_at, logins=logins)
