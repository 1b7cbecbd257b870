"""One object in S3: read whole or not at all, written only if nobody else has written meanwhile.

Conditional requests, checksums and what AccessDenied hides: Amazon S3 User Guide, "Add
preconditions to S3 operations", "Checking object integrity", and the GetObject and PutObject pages
of the API reference.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ecsauth.aws.failure import Call, DamagedError
from ecsauth.aws.session import Aws, Identity
from ecsauth.errors import ObjectMissingError, SourceError

MAX_BYTES = 16 * 1024 * 1024
_ATTEMPTS = 3
_LOOK = (403, 404, 405, 501)
"""What may come of a look at a bucket: forbidden, nothing set, not known to this server."""

_NOT_THERE = frozenset(
    {
        "404",
        "NoSuchKey",
        "NoSuchBucketPolicy",
        "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)
_PUBLIC_GROUPS = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)


@dataclass(frozen=True)
class Place:
    """Where an object is and as whom it is reached.

    Attributes:
        bucket: its name.
        key: of the object.
        identity: profile or role.
        region: of the bucket; empty for the default, S3 says if it is another.
        owner: account that the bucket must belong to; empty for any.

    """

    bucket: str
    key: str
    identity: Identity = field(default_factory=Identity)
    region: str = ""
    owner: str = ""

    @property
    def name(self) -> str:
        """Return it as a URL, without what nobody else needs to know."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Found:
    """An object as it was read.

    Attributes:
        data: its bytes.
        etag: for conditions.
        metadata: its own, names in lower case.

    """

    data: bytes = field(repr=False)
    etag: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Encryption:
    """How S3 shall encrypt it: empty is the bucket's default.

    Attributes:
        algorithm: ``AES256``, ``aws:kms`` or empty.
        key_id: of KMS; empty for AWS's own.
        bucket_key: whether one key serves many objects.

    """

    algorithm: str = ""
    key_id: str = ""
    bucket_key: bool = False


@dataclass(frozen=True)
class BucketAccess:
    """What is known of who may read a bucket and how safe it is.

    Attributes:
        public: why others can read it; empty if they cannot as far as is known.
        warnings: what would be better.
        unseen: what could not be looked at, as IAM actions.

    """

    public: str = ""
    warnings: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


class Objects:
    """Reads and writes one object.

    Args:
        aws: makes the calls.
        place: the object.

    """

    def __init__(self, aws: Aws, place: Place) -> None:
        self.place = place
        self._aws = aws
        self._client: Any = None

    def get(self, unless: str = "") -> Found | None:
        """Return the object; None if it still has the ETag `unless`.

        Raises:
            ObjectMissingError: there is none.
            SourceError: it cannot be had, or comes damaged.

        """
        how: dict[str, Any] = {"IfNoneMatch": unless} if unless else {}
        answer = self._call("s3:GetObject", "get_object", (304, 404), ChecksumMode="ENABLED", **how)
        status = answer.get("status")
        if status == 304:
            return None
        if status == 404:
            raise ObjectMissingError(f"{self.place.name}: there is no such object", "publish it")
        data = answer["data"]
        if len(data) > MAX_BYTES:
            raise SourceError(
                f"{self.place.name} is larger than the {MAX_BYTES:,} bytes that are read",
                "is it the right object?",
            )
        metadata = {
            str(name).lower(): str(text) for name, text in answer.get("Metadata", {}).items()
        }
        return Found(data, self._etag(answer), metadata)

    def put(
        self, data: bytes, before: str, metadata: Mapping[str, str], encryption: Encryption
    ) -> str:
        """Write the object, if it is as it was; return its new ETag, empty if it is not.

        Args:
            data: its bytes.
            before: the ETag that it must still have; empty if there must be none.
            metadata: its own.
            encryption: how it is encrypted.

        Raises:
            SourceError: it was not written.

        """
        how: dict[str, Any] = {"IfMatch": before} if before else {"IfNoneMatch": "*"}
        if encryption.algorithm:
            how["ServerSideEncryption"] = encryption.algorithm
        if encryption.key_id:
            how["SSEKMSKeyId"] = encryption.key_id
        if encryption.bucket_key:
            how["BucketKeyEnabled"] = True
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
        answer = self._call(
            *("s3:PutObject", "put_object", (404, 409, 412)),
            Body=data,
            ContentType="text/plain",
            CacheControl="no-store",
            ChecksumSHA256=digest,
            Metadata=dict(metadata),
            **how,
        )
        if "status" in answer:
            return ""
        return self._etag(answer)

    def inspect_access(self) -> BucketAccess:
        """Look who may read the bucket; what may not be looked at is no failure.

        Raises:
            SourceError: S3 fails.

        """
        unseen: list[str] = []
        block = self._seen(unseen, "s3:GetBucketPublicAccessBlock", "get_public_access_block")
        rules = (block or {}).get("PublicAccessBlockConfiguration") or {}
        acl = self._seen(unseen, "s3:GetBucketAcl", "get_bucket_acl")
        own = self._seen(unseen, "s3:GetObjectAcl", "get_object_acl", key=True)
        policy = self._seen(unseen, "s3:GetBucketPolicyStatus", "get_bucket_policy_status")
        versions = self._seen(unseen, "s3:GetBucketVersioning", "get_bucket_versioning")
        sealed = self._seen(unseen, "s3:GetEncryptionConfiguration", "get_bucket_encryption")
        public = ""
        if ((policy or {}).get("PolicyStatus") or {}).get("IsPublic") and not rules.get(
            "RestrictPublicBuckets"
        ):
            public = "the bucket's policy makes it public"
        for answer, what in ((acl, "the bucket's ACL"), (own, "the object's ACL")):
            if _is_public(answer) and not rules.get("IgnorePublicAcls"):
                public = public or f"{what} makes it public"
        warnings = []
        if versions is not None and versions.get("Status") != "Enabled":
            warnings.append(
                f"{self.place.name}: the bucket keeps no versions: nothing to go back to"
            )
        if sealed == {}:
            warnings.append(f"{self.place.name}: the bucket does not encrypt by default")
        return BucketAccess(public, tuple(warnings), tuple(unseen))

    def _seen(
        self, unseen: list[str], action: str, method: str, *, key: bool = False
    ) -> Mapping[str, Any] | None:
        """Return an answer about the bucket, {} if nothing is set, None if it may not be asked.

        Raises:
            SourceError: S3 fails; nobody knows then who could read what would be written.

        """
        answer = self._call(action, method, _LOOK, key=key)
        if answer.get("status") in (403, 405, 501):
            unseen.append(action)
            return None
        return {} if "status" in answer else answer

    def _call(
        self, action: str, method: str, expected: Sequence[int], key: bool = True, **given: Any
    ) -> Mapping[str, Any]:
        """Call S3; an answer whose status is expected, though no success, has it as ``status``."""
        place = self.place
        region = place.region
        if self._client is None:
            region = region or self._region()
            self._client = self._aws.client("s3", region, place.identity, place.name)
        operation = getattr(self._client, method)
        parameters = {"Bucket": place.bucket, **({"Key": place.key} if key else {}), **given}
        if place.owner:
            parameters["ExpectedBucketOwner"] = place.owner
        call = Call(place.name, action, region)
        return self._aws.call(
            call, place.identity, lambda: _answer(operation, parameters, expected)
        )

    def _etag(self, answer: Mapping[str, Any]) -> str:
        if not answer.get("ETag"):
            raise SourceError(
                f"{self.place.name}: what answers is no S3", "look for a proxy or a login page"
            )
        return str(answer["ETag"])

    def _region(self) -> str:
        """Return the default region; S3 can be asked anywhere, and names the right one."""
        try:
            return self._aws.region(self.place.identity, self.place.name)
        except SourceError:
            return "us-east-1"


def _answer(operation: Any, given: Mapping[str, Any], expected: Sequence[int]) -> dict[str, Any]:
    """Call S3; expected refusals become a ``status``, a body is read to its end.

    A body that comes damaged is asked for again: networks do that, and only then S3.
    """
    from botocore.exceptions import (
        ClientError,
        FlexibleChecksumError,
        IncompleteReadError,
        ResponseStreamingError,
    )

    for attempt in range(_ATTEMPTS):
        try:
            answer = dict(operation(**given))
            if "Body" in answer:
                with contextlib.closing(answer["Body"]) as body:
                    answer["data"] = _read(body)
                _check_body(answer)
        except ClientError as error:
            status = _status(error.response)
            if status not in expected:
                raise
            return {"status": status}
        except (FlexibleChecksumError, IncompleteReadError, ResponseStreamingError, DamagedError):
            if attempt + 1 == _ATTEMPTS:
                raise
        else:
            return answer
    return {}


def _read(body: Any) -> bytes:
    """Read to the end, where botocore compares length and checksum, or beyond `MAX_BYTES`.

    Not by ``with body``, which would give what is inside of it, without these checks.
    """
    data = b""
    while len(data) <= MAX_BYTES and (part := body.read(MAX_BYTES + 1 - len(data))):
        data += part
    return data


def _check_body(answer: Mapping[str, Any]) -> None:
    """Compare a body with its length and checksum; botocore does so only for some of them."""
    data = answer["data"]
    if len(data) > MAX_BYTES:
        return
    if len(data) != answer.get("ContentLength", len(data)):
        raise DamagedError
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
    said = str(answer.get("ChecksumSHA256") or "")
    if said and "-" not in said and said != digest:  # with a dash it is of an upload's parts
        raise DamagedError


def _status(response: Mapping[str, Any]) -> int:
    """Return the HTTP status of an error; 0 if its code says that something else is wrong."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status == 404 and code not in _NOT_THERE:
        return 0
    if status == 409 and code != "ConditionalRequestConflict":
        return 0
    if status == 403 and code not in ("AccessDenied", "403"):
        return 0
    return status


def _is_public(answer: Mapping[str, Any] | None) -> bool:
    grants = (answer or {}).get("Grants") or []
    return any((item.get("Grantee") or {}).get("URI") in _PUBLIC_GROUPS for item in grants)
