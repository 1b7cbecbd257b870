"""The text formats that hold the two settings: functions from text to settings and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from ecsauth.engine_auth import agent_json
from ecsauth.engine_auth import env_file as ecs_config
from ecsauth.engine_auth.codec import AUTH_DATA_KEY, AUTH_TYPE_KEY, EngineAuth


@dataclass(frozen=True)
class Layout:
    """How a text holds the settings.

    Attributes:
        read: text → the settings as the agent gets them.
        write: (text, settings) → the text with these settings, everything else kept.
        lenient: text → ECS_ENGINE_AUTH_DATA as its author meant it.
        warning: settings → what another reader of the text cannot handle, or empty.
        is_untidy: text → whether a setting occurs more than once, so old secrets may remain.
        names: what the text calls the two settings.
        has_type: False if the text cannot hold ECS_ENGINE_AUTH_TYPE.
        is_for_agent: False if the text is for a program other than the ECS agent.

    """

    read: Callable[[bytes], EngineAuth]
    write: Callable[[bytes, EngineAuth], bytes]
    lenient: Callable[[bytes], str]
    warning: Callable[[EngineAuth], str]
    is_untidy: Callable[[bytes], bool]
    has_type: bool = True
    is_for_agent: bool = True
    names: tuple[str, str] = (AUTH_TYPE_KEY, AUTH_DATA_KEY)


def _no_warning(_: EngineAuth) -> str:
    return ""


def _read_data(text: bytes) -> EngineAuth:
    return EngineAuth("", text.decode("utf-8").rstrip("\n"))


def _write_data(_: bytes, engine_auth: EngineAuth) -> bytes:
    return f"{engine_auth.auth_data}\n".encode()


ENV_FILE = Layout(
    read=ecs_config.read_engine_auth,
    write=ecs_config.write_engine_auth,
    lenient=ecs_config.full_value,
    warning=ecs_config.size_warning,
    is_untidy=ecs_config.is_untidy,
)
"""``ecs.config``, or the two lines for it."""

AGENT_JSON = Layout(
    read=agent_json.read_engine_auth,
    write=agent_json.write_engine_auth,
    lenient=lambda text: agent_json.read_engine_auth(text).auth_data,
    warning=_no_warning,
    is_untidy=agent_json.is_untidy,
    names=(agent_json.TYPE_NAME, agent_json.DATA_NAME),
)
"""``ecs.config.json``, or the members for it."""


def layout_of(name: str) -> Layout:
    """Return the layout of a file or object, by its name."""
    return AGENT_JSON if name.endswith(".json") else ENV_FILE


DATA = Layout(
    read=_read_data,
    write=_write_data,
    lenient=lambda text: _read_data(text).auth_data,
    warning=ecs_config.data_warning,
    is_untidy=lambda _: False,
    has_type=False,
)
"""The bare value of ECS_ENGINE_AUTH_DATA."""
