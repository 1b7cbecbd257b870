"""What requests have in common: the defaults, and the parts that they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecsauth.engine_auth.codec import AUTO, DOCKER, DOCKERCFG
from ecsauth.errors import UsageError

DEFAULT_TARGET = "/etc/ecs/ecs.config"
DEFAULT_STATE_DIR = Path("/var/lib/ecsauth")
DEFAULT_AGENT_URL = "http://localhost:51678"
HELPER = "helper:"
"""The target that is the cache of the credential helper."""

S3_SCHEME = "s3://"
MANAGERS = ("systemd", "upstart", "docker")
"""What may start the agent."""

FORMATS = (AUTO, DOCKERCFG, DOCKER)


@dataclass(frozen=True)
class SourceOptions:
    """How sources are asked.

    Attributes:
        helper_timeout: seconds for each call of a credential helper.
        select: JMESPath for a login file's entries; empty for its own shape.
        bucket_owner: the AWS account that buckets must belong to; empty for any.

    """

    helper_timeout: float = 30.0
    select: str = ""
    bucket_owner: str = ""


@dataclass(frozen=True)
class PublishOptions:
    """How objects in S3 are written.

    Attributes:
        sse: ``AES256``, ``aws:kms``, or empty for what the bucket says.
        kms_key_id: the key for ``aws:kms``; empty for AWS's own.
        bucket_key: whether one data key serves many objects.
        bucket_owner: the AWS account that the bucket must belong to; empty for any.
        base: file with all other settings; None keeps those in the object.

    """

    sse: str = ""
    kms_key_id: str = ""
    bucket_key: bool = False
    bucket_owner: str = ""
    base: Path | None = None


@dataclass(frozen=True)
class AgentAccess:
    """Where the agent of this host is found.

    Attributes:
        url: of introspection.
        service_manager: what starts it; empty finds out.

    """

    url: str = DEFAULT_AGENT_URL
    service_manager: str = ""


@dataclass(frozen=True)
class VerifyPolicy:
    """How logins are verified at their registries.

    Attributes:
        timeout: seconds for each registry, all its requests together.
        insecure: registries without trusted TLS, or without TLS; loopback always is.
        ca_file: CA certificates to trust besides the system's and docker's own.
        only_warns: a refused login is written all the same, with a warning.

    """

    timeout: float = 10.0
    insecure: tuple[str, ...] = ()
    ca_file: Path | None = None
    only_warns: bool = False


@dataclass(frozen=True)
class MergeOptions:
    """How credentials are merged into a target.

    Attributes:
        auth_format: ``auto``, ``dockercfg`` or ``docker``.
        replace: drop the registries that the sources do not name; if a source failed, none is.
        dry_run: write nothing.

    """

    auth_format: str = AUTO
    replace: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.auth_format not in FORMATS:
            raise UsageError(f"the format is one of {', '.join(FORMATS)}")


def check_targets(targets: tuple[str, ...]) -> None:
    """Refuse targets that one run cannot write.

    Raises:
        UsageError: one is standard output, is named twice, or there is none.

    """
    if not targets or len(set(targets)) != len(targets) or "-" in targets:
        raise UsageError("each TARGET is a file or an object in S3, given once")
