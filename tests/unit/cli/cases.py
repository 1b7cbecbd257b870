"""A login file, and the settings that it becomes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.builders import HUB, b64
from tests.conftest import Result

RunProgram = Callable[..., Result]
LoginFile = Callable[..., Path]
AUTHS = {HUB: {"auth": b64("my_name:my_password"), "email": "e@x"}, "quay.io": {"auth": b64("u:p")}}
ENV = (
    "ECS_ENGINE_AUTH_TYPE=dockercfg\n"
    f'ECS_ENGINE_AUTH_DATA={{"{HUB}":{{"auth":"bXlfbmFtZTpteV9wYXNzd29yZA==","email":"e@x"}},'
    '"quay.io":{"auth":"dTpw"}}\n'
)
