"""What requests have in common: defaults and shared parts."""

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
    """How sources are queried.

    Attributes:
        helper_timeout: seconds for each call of a credential helper.
        select: JMESPath to a login file's entries; empty for the standard shape.
        bucket_owner: the AWS account that must own buckets; empty for any.

    """

    helper_timeout: float = 30.0
    select: str = ""
    bucket_owner: str = ""


@dataclass(frozen=True)
class PublishOptions:
    """How objects in S3 are written.

    Attributes:
        sse: ``AES256``, ``aws:kms``, or empty for the bucket's default.
        kms_key_id: the key for ``aws:kms``; empty for the AWS managed key.
        bucket_key: whether one data key serves many objects.
        bucket_owner: the AWS account that must own the bucket; empty for any.
        base: file with all other settings; None keeps those in the object.

    """

    sse: str = ""
    kms_key_id: str = ""
    bucket_key: bool = False
    bucket_owner: str = ""
    base: Path | None = None


@dataclass(frozen=True)
class AgentAccess:
    """How to reach the agent of this host.

    Attributes:
        url: of introspection.
        service_manager: what starts it; empty to detect it.

    """

    url: str = DEFAULT_AGENT_URL
    service_manager: str = ""


@dataclass(frozen=True)
class VerifyPolicy:
    """How logins are verified at their registries.

    Attributes:
        timeout: seconds for each registry, all its requests together.
        insecure: registries with untrusted TLS or none; loopback always counts.
        ca_file: CA certificates to trust besides the system's and docker's.
        only_warns: a refused login is written anyway, with a warning.

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
            raise UsageError(
                f"the format must be one of {', '.join(FORMATS)}", reference="usage-format"
            )


def check_targets(targets: tuple[str, ...]) -> None:
    """Refuse targets that one run cannot write.

    Raises:
        UsageError: one is standard output, is named twice, or there is none.

    """
    if not targets or len(set(targets)) != len(targets) or "-" in targets:
        raise UsageError(
            "each TARGET must be a different file or object in S3", reference="usage-target"
        )
