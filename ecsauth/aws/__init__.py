"""The only room that imports boto3: sessions per profile and role, errors mapped once."""

from ecsauth.aws.failure import Call, renamed
from ecsauth.aws.session import Aws, Identity

__all__ = ["Aws", "Call", "Identity", "renamed"]
