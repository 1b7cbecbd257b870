"""An object in S3 as a source: the two settings in it, checked as ``ecsauth check`` does."""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Mapping
from dataclasses import replace

from ecsauth.aws.objects import Found, Objects, Place
from ecsauth.aws.session import Aws
from ecsauth.credentials.credential import Credential, Fetched
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.registry import is_ecr_public, parse_ecr_host
from ecsauth.engine_auth.check import ERROR, Surroundings, check_text
from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.layouts import Layout, layout_of
from ecsauth.errors import EcsauthError, SourceError

_EXPIRES = "ecsauth-expires"


class S3Source:
    """The credentials in one object; while it is unchanged, a run costs one conditional request."""

    fingerprint = ""

    def __init__(self, aws: Aws, place: Place) -> None:
        self.name = place.name
        self._objects = Objects(aws, place)
        self._layout = layout_of(place.key)
        self.last_text = b""
        """The whole object, as it was last read."""

    def fetch(self) -> Fetched:
        """Return the credentials in it.

        Raises:
            SourceError: it cannot be read, or the agent could not use it.

        """
        return self._read(self._objects.get())

    def fetch_unless(self, version: str) -> Fetched | None:
        """Return the credentials in it; None if it is still at that version (its ETag)."""
        found = self._objects.get(version)
        return None if found is None else self._read(found)

    def _read(self, found: Found | None) -> Fetched:
        if found is None:
            raise SourceError(
                "S3 answered without the object",
                subject=self.name,
                reference="aws-unexpected-answer",
            )
        self.last_text = found.data
        return read_published(found.data, self._layout, found.metadata, self.name, found.etag)


def read_published(
    text: bytes, layout: Layout, metadata: Mapping[str, str], name: str, version: str
) -> Fetched:
    """Parse a published text.

    Args:
        text: of the object.
        layout: of the text.
        metadata: of the object; ``ecsauth-expires`` is the end of its earliest ECR token.
        name: for messages.
        version: of the object, to compare with later.

    Raises:
        SourceError: it has a fault that costs the agent credentials.

    """
    try:
        findings = check_text(layout, text, time.time(), Surroundings())
        faults = [item for item in findings if item.severity == ERROR and item.code != "expired"]
        if faults:
            place = f"line {faults[0].line}: " if faults[0].line else ""
            raise SourceError(
                f"nothing is taken from it: {place}{faults[0].what}",
                f"see ecsauth check {name}",
                subject=name,
                reference="object-invalid",
            )
        view = decode(layout.read(text))
    except EcsauthError as error:
        if isinstance(error, SourceError):
            raise
        hint = f"see ecsauth check {name}"
        raise error.as_kind(SourceError, hint=hint, prefix=f"{name}: ") from error
    if not view.credentials:
        raise SourceError(
            "it holds no logins", "publish it again", subject=name, reference="object-empty"
        )
    expires_at = _seconds(metadata.get(_EXPIRES, ""))
    return Fetched(
        tuple(_with_expiry(item, expires_at) for item in view.credentials), version=version
    )


def _with_expiry(item: Credential, expires_at: int | None) -> Credential:
    """Return it with its own expiry; else, for an ECR token, with the object's."""
    item = with_known_expiry(item)
    is_token = parse_ecr_host(item.registry) or is_ecr_public(item.registry)
    if item.expires_at is not None or not is_token:
        return item
    return replace(item, expires_at=expires_at)


def _seconds(text: str) -> int | None:
    try:
        return timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return None
