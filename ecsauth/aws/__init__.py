"""The only room that imports boto3: sessions per profile and role, errors mapped once."""

from ecsauth.aws.failure import Call, renamed
from ecsauth.aws.objects import BucketLook, Encryption, Found, Objects, Place
from ecsauth.aws.session import Aws, Identity

__all__ = [
    "Aws",
    "BucketLook",
    "Call",
    "Encryption",
    "Found",
    "Identity",
    "Objects",
    "Place",
    "renamed",
]
