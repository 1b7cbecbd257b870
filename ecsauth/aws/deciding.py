"""The variables that decide as whom AWS is called, and where: one list for all who ask.

Sources notice by it that they must ask again, and the token cache whose token is whose.
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
"""Whose credentials are used, and which endpoints are asked."""

REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
"""Where is asked, if nothing else names a region."""

BY_ACCOUNT = ("AWS_PROFILE_", "AWS_ROLE_ARN_")
"""How the variables of one account begin."""
