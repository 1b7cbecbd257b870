"""Values that many tests are built from."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.env_file import read_engine_auth

ROOT = Path(__file__).parents[1]
"""Of the project."""

DATA = ROOT / "tests" / "data"
HOST = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
"""A private ECR registry."""

HUB = "https://index.docker.io/v1/"
"""The key of Docker Hub in a login file."""


def b64(text: str) -> str:
    """Return what docker login writes into ``auth``."""
    return base64.b64encode(text.encode()).decode()


def credential(key: str, username: str = "u", secret: str = "p", **fields: Any) -> Credential:
    """Return a credential for a registry."""
    return Credential(parse_auth_key(key), username, secret, **fields)


def ecr_password(expiration: object) -> str:
    """Return a password as ECR gives it: it holds its own expiry."""
    return b64(json.dumps({"payload": "x", "expiration": expiration}))


def engine_auth_lines(auth_type: str, data: object) -> bytes:
    """Return the two settings of an ``ecs.config``; `data` is written as JSON unless it is text."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"ECS_ENGINE_AUTH_TYPE={auth_type}\nECS_ENGINE_AUTH_DATA={text}\n".encode()


def logins_in(text: bytes) -> dict[str, tuple[str, str]]:
    """Return registry → user, password in the text of an ``ecs.config``, as the agent reads it."""
    view = decode(read_engine_auth(text))
    assert not view.fault
    return {item.match: (item.username, item.secret) for item in view.credentials}


def secrets_in(text: bytes) -> dict[str, str]:
    """Return registry → password in the text of an ``ecs.config``, as the agent reads it."""
    return {registry: secret for registry, (_, secret) in logins_in(text).items()}
