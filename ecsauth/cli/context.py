"""What sources need from this process: its environment, stdin and users."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ecsauth.cli.console import stdin_stream
from ecsauth.errors import SourceError, UsageError
from ecsauth.files import read_input
from ecsauth.sources import Account, Context
from ecsauth.update import Request

if TYPE_CHECKING:
    from ecsauth.targets.s3 import S3Target


_OWNER_VARIABLE = "ECSAUTH_EXPECTED_BUCKET_OWNER"


def make_context(helper_timeout: float, select: str, bucket_owner: str | None = None) -> Context:
    """Return what sources need from this process.

    Args:
        helper_timeout: seconds for each call of a credential helper.
        select: JMESPath for a login file's entries; empty for its own shape.
        bucket_owner: value of --expected-bucket-owner, where there is that option.

    """
    environment = _with_owner(bucket_owner)
    return Context(environment, stdin_stream(), helper_timeout, select, _owner_of)


def _with_owner(bucket_owner: str | None) -> Mapping[str, str]:
    """Return the environment, with the owner of buckets that an option names."""
    return {**os.environ, _OWNER_VARIABLE: bucket_owner} if bucket_owner else os.environ


def make_request(given: Mapping[str, Any]) -> Request:
    """Return how to update a target, as the options of a command say."""
    verifier = None
    if given["verify_first"]:
        from ecsauth.cli.verification import make_verifier

        verifier = make_verifier(
            given["verify_timeout"], given["insecure_registry"], given["ca_file"]
        )
    return Request(
        given["auth_format"],
        given["replace"],
        given["dry_run"],
        verifier,
        given["verify_first"] == "warn",
    )


def s3_maker(given: Mapping[str, Any]) -> Callable[[str], S3Target]:
    """Return what makes a target of an ``s3://`` URL.

    Args:
        given: values of the options of `options.publishing`, and ``base``, if there are any.

    """

    def make(text: str) -> S3Target:
        from ecsauth.targets.s3 import open_target

        base = given.get("base")
        return open_target(
            text,
            _with_owner(given.get("expected_bucket_owner")),
            algorithm=given.get("sse") or "",
            key_id=given.get("kms_key_id") or "",
            bucket_key=bool(given.get("bucket_key")),
            base=None if base is None else _read_base(base),
        )

    return make


def _read_base(path: Path) -> bytes:
    """Read what --base names.

    Raises:
        UsageError: it cannot be read.

    """
    try:
        return read_input(path, "look at --base")
    except SourceError as error:
        raise UsageError(error.message, error.hint) from error


def account_of(name: str) -> Account | None:
    """Return the account of a user name; None if there is none."""
    try:
        return _account(pwd.getpwnam(name))
    except KeyError:
        return None


def _owner_of(path: Path) -> Account | None:
    """Return the owner of a file if we are root and he is not: helpers then run as he does."""
    try:
        uid = path.stat().st_uid
        return _account(pwd.getpwuid(uid)) if os.geteuid() == 0 and uid != 0 else None
    except (OSError, KeyError):
        return None


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)
