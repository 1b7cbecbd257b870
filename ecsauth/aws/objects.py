"""One object in S3: read completely or not at all, written only if it has not changed since.

Conditional requests, checksums and what AccessDenied can hide: Amazon S3 User Guide, "Add
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
_NOT_SHOWN = (403, 404, 405, 501)
"""Statuses of an inspection that are not failures: forbidden, not set, not supported."""

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
    """The address of an object, and the identity to reach it with.

    Attributes:
        bucket: bucket name.
        key: object key.
        identity: profile or role.
        region: region of the bucket; empty for the default (S3 redirects if it is another).
        owner: account that must own the bucket; empty for any.

    """

    bucket: str
    key: str
    identity: Identity = field(default_factory=Identity)
    region: str = ""
    owner: str = ""

    @property
    def name(self) -> str:
        """Return the URL without parameters."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Found:
    """An object that was read.

    Attributes:
        data: its bytes.
        etag: its ETag, for conditional requests.
        metadata: its user-defined metadata, names in lower case.

    """

    data: bytes = field(repr=False)
    etag: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Encryption:
    """How S3 encrypts an object; empty means the bucket's default.

    Attributes:
        algorithm: ``AES256``, ``aws:kms`` or empty.
        key_id: KMS key; empty for the AWS managed one.
        bucket_key: whether to use an S3 Bucket Key.

    """

    algorithm: str = ""
    key_id: str = ""
    bucket_key: bool = False


@dataclass(frozen=True)
class BucketAccess:
    """Who can read a bucket, and how safe it is, as far as known.

    Attributes:
        public: why the public can read it; empty if it cannot, as far as known.
        warnings: recommended settings that are missing, one line each.
        unseen: IAM actions of the checks that were denied or are not supported.

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
            ObjectMissingError: it does not exist.
            SourceError: it cannot be read, or arrives damaged.

        """
        how: dict[str, Any] = {"IfNoneMatch": unless} if unless else {}
        answer = self._call("s3:GetObject", "get_object", (304, 404), ChecksumMode="ENABLED", **how)
        status = answer.get("status")
        if status == 304:
            return None
        if status == 404:
            raise ObjectMissingError(
                "there is no such object", "publish it", subject=self.place.name
            )
        data = answer["data"]
        if len(data) > MAX_BYTES:
            raise SourceError(
                f"{self.place.name} is larger than the {MAX_BYTES:,} bytes allowed",
                "check that it is the right object",
                reference="object-too-large",
            )
        metadata = {
            str(name).lower(): str(text) for name, text in answer.get("Metadata", {}).items()
        }
        return Found(data, self._etag(answer), metadata)

    def put(
        self, data: bytes, before: str, metadata: Mapping[str, str], encryption: Encryption
    ) -> str:
        """Write the object if it has not changed; return its new ETag, empty if it has changed.

        Args:
            data: its new bytes.
            before: the ETag that it must still have; empty if it must not exist.
            metadata: its user-defined metadata.
            encryption: how S3 encrypts it.

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
        """Check who can read the bucket; a check that is denied is not a failure.

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
                f"{self.place.name}: the bucket keeps no versions, so nothing can be restored"
            )
        if sealed == {}:
            warnings.append(f"{self.place.name}: the bucket does not encrypt by default")
        return BucketAccess(public, tuple(warnings), tuple(unseen))

    def _seen(
        self, unseen: list[str], action: str, method: str, *, key: bool = False
    ) -> Mapping[str, Any] | None:
        """Return a setting of the bucket, {} if it is not set, None if it cannot be checked.

        Raises:
            SourceError: S3 fails, so it is unknown who could read the object.

        """
        answer = self._call(action, method, _NOT_SHOWN, key=key)
        if answer.get("status") in (403, 405, 501):
            unseen.append(action)
            return None
        return {} if "status" in answer else answer

    def _call(
        self, action: str, method: str, expected: Sequence[int], key: bool = True, **given: Any
    ) -> Mapping[str, Any]:
        """Call S3; an error with an expected status is returned as ``status``, not raised."""
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
                "the answer did not come from S3: it has no ETag",
                "check for a proxy or a login page",
                subject=self.place.name,
                reference="aws-unexpected-answer",
            )
        return str(answer["ETag"])

    def _region(self) -> str:
        """Return the default region, else us-east-1: S3 names the right one from anywhere."""
        try:
            return self._aws.region(self.place.identity, self.place.name)
        except SourceError:
            return "us-east-1"


def _answer(
    operation: Any, arguments: Mapping[str, Any], expected: Sequence[int]
) -> dict[str, Any]:
    """Call S3; expected errors become a ``status``, a body is read to its end.

    A damaged body is requested again, because the network is the likeliest cause.
    """
    from botocore.exceptions import (
        ClientError,
        FlexibleChecksumError,
        IncompleteReadError,
        ResponseStreamingError,
    )

    for attempt in range(_ATTEMPTS):
        try:
            answer = dict(operation(**arguments))
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
    """Read to the end, where botocore checks length and checksum, or beyond `MAX_BYTES`.

    ``with body`` would return the inner stream, which skips these checks.
    """
    data = b""
    while len(data) <= MAX_BYTES and (part := body.read(MAX_BYTES + 1 - len(data))):
        data += part
    return data


def _check_body(answer: Mapping[str, Any]) -> None:
    """Check a body's length and checksum; botocore does so only for some bodies."""
    data = answer["data"]
    if len(data) > MAX_BYTES:
        return
    if len(data) != answer.get("ContentLength", len(data)):
        raise DamagedError
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
    said = str(answer.get("ChecksumSHA256") or "")
    if said and "-" not in said and said != digest:  # a dash marks a multipart checksum
        raise DamagedError


def _status(response: Mapping[str, Any]) -> int:
    """Return the HTTP status of an error; 0 if its code means something else."""
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
