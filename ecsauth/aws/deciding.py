"""The variables that decide which identity calls AWS, and where: one list for all callers.

Sources fetch again when one of them changes; the token cache keeps tokens apart by them.
"""

from __future__ import annotations

PRINCIPAL = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_ECR",
    "AWS_ENDPOINT_URL_ECR_PUBLIC",
    "AWS_ENDPOINT_URL_STS",
)
"""Which credentials are used, and which endpoints are called."""

REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
"""The region, if nothing else names one."""

BY_ACCOUNT = ("AWS_PROFILE_", "AWS_ROLE_ARN_")
"""Prefixes of the variables for one account."""
