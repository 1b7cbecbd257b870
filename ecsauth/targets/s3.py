"""A target in S3: an env file for a fleet, replaced only if unchanged since it was read."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Callable

from ecsauth import __version__
from ecsauth.aws.objects import Encryption, Objects, Place
from ecsauth.aws.place import parse_place
from ecsauth.aws.session import Aws
from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.layouts import layout_of
from ecsauth.errors import ConflictError, ObjectMissingError, SourceError, TargetError, UsageError

_OURS = "ecsauth-"
_MAX_METADATA = 2000
"""Bytes; S3 takes 2 KB of user-defined metadata (Amazon S3 User Guide)."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


@dataclass(frozen=True)
class Publishing:
    """How objects are written.

    Attributes:
        encryption: how S3 encrypts them.
        base: text that supplies the other settings; None keeps those in the object.

    """

    encryption: Encryption = field(default_factory=Encryption)
    base: bytes | None = field(default=None, repr=False)


def open_target(
    text: str,
    environment: Mapping[str, str],
    *,
    algorithm: str,
    key_id: str,
    bucket_key: bool,
    base: bytes | None,
) -> S3Target:
    """Return the target of an ``s3://`` URL; makes no request yet. The rest is as in `Publishing`.

    Raises:
        UsageError: the URL is invalid, or the encryption options conflict.

    """
    if (key_id or bucket_key) and algorithm != "aws:kms":
        raise UsageError(
            "--kms-key-id and --bucket-key need --sse aws:kms",
            "add --sse aws:kms",
            reference="encryption-options",
        )
    how = Publishing(Encryption(algorithm, key_id, bucket_key), base)
    return S3Target(Aws(environment), parse_place(text, environment), how)


class S3Target:
    """An object; `target.Target` states the contract."""

    def __init__(
        self,
        aws: Aws,
        place: Place,
        how: Publishing,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = self.key = place.name
        self._plain = layout_of(place.key)
        self.layout = self._plain
        if how.base is not None:
            self.layout = replace(self._plain, is_untidy=self._is_untidy)
        self._objects = Objects(aws, place)
        self._how = how
        self._sleep = sleep
        self._etag = ""
        self._text = b""
        self._conflicts = 0
        self._is_checked = False
        self._notes: tuple[str, ...] = ()
        self._metadata: dict[str, str] = {}
        self.memory = ""
        self._next_memory = ""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Do nothing: S3 has no locks; `write` detects a concurrent write."""
        yield

    def read(self) -> bytes:
        """Return the object's text or, with a base, the base with the object's settings in it."""
        if self._conflicts:
            longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self._conflicts)
            self._sleep(longest * random.random())  # noqa: S311 - jitter, not a secret
        try:
            found = self._objects.get()
        except ObjectMissingError:
            found = None
        except SourceError as error:
            raise error.as_kind(TargetError) from error
        self._etag = found.etag if found else ""
        self._text = found.data if found else b""
        self.memory = found.metadata.get(f"{_OURS}leases", "") if found else ""
        self._metadata = {
            name: value
            for name, value in (found.metadata if found else {}).items()
            if not name.startswith(_OURS)
        }
        return self._text if self._how.base is None else self._on_base(self._how.base)

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:
        """Replace the object that `read` returned; raise ConflictError if it has changed since."""
        metadata = {
            **self._metadata,
            f"{_OURS}version": __version__,
            f"{_OURS}issued": _moment(time.time()),
        }
        if expires_at is not None:
            metadata[f"{_OURS}expires"] = _moment(expires_at)
        if self._next_memory and _size(metadata) + len(self._next_memory) < _MAX_METADATA:
            metadata[f"{_OURS}leases"] = self._next_memory
        try:
            self._check_public()
            etag = self._objects.put(text, self._etag, metadata, self._how.encryption)
        except SourceError as error:
            raise error.as_kind(TargetError) from error
        if not etag:
            self._conflicts += 1
            raise ConflictError(
                f"gave up after {self._conflicts} conflicting writes",
                "run it again in a moment",
                subject=self.name,
            )
        self._conflicts = 0
        notes, self._notes = self._notes, ()
        return notes

    def remember(self, text: str) -> None:
        """Take the text that the next `write` keeps beside the logins, as `memory`."""
        self._next_memory = text

    def _on_base(self, base: bytes) -> bytes:
        """Return the base with the object's settings in it.

        Raises:
            TargetError: its settings cannot be carried over unchanged.

        """
        layout = self._plain
        settings = layout.read(self._text)
        if not settings.is_set:
            return base
        if decode(settings).fault or layout.lenient(self._text) != settings.auth_data:
            raise TargetError(
                "its present settings are malformed, and --base would lose them",
                "publish once without --base, which repairs them",
                subject=self.name,
                reference="object-settings-malformed",
            )
        return layout.write(base, settings)

    def _check_public(self) -> None:
        """Refuse an object that the public could read; check once, before the first write.

        Raises:
            SourceError: S3 failed, so it cannot be checked.
            TargetError: the public could read it.

        """
        if self._is_checked:
            return
        found = self._objects.inspect_access()
        if found.public:
            raise TargetError(
                f"{self.name} was not written: {found.public}",
                "turn on Block Public Access for the bucket: it will hold secrets",
                reference="object-public",
            )
        self._is_checked = True
        unseen = ", ".join(found.unseen)
        notes = [f"{self.name}: could not check its access settings ({unseen})"] if unseen else []
        self._notes = (*found.warnings, *notes)

    def _is_untidy(self, text: bytes) -> bool:
        """Return whether the object must be written even if its settings stay the same."""
        return text != self._text or self._plain.is_untidy(text)


def _size(metadata: Mapping[str, str]) -> int:
    return sum(len(name) + len(value.encode()) for name, value in metadata.items())


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
