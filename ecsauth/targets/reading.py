"""A target that is only looked at, and what else on this host bears on it."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ecsauth.check import Surroundings
from ecsauth.ecs_config import merged
from ecsauth.engine_auth import UNSET, EngineAuth
from ecsauth.errors import UsageError
from ecsauth.files import MAX_BYTES, read_input
from ecsauth.layout import AGENT_JSON, ENV_FILE, Layout, layout_of
from ecsauth.targets import DEFAULT_TARGET, parse_target
from ecsauth.targets.local_file import LocalFile, settings_in


@dataclass(frozen=True)
class Reading:
    """A target's text.

    Attributes:
        name: for messages.
        layout: of its text.
        text: its bytes.
        around: what else bears on it.

    """

    name: str
    layout: Layout
    text: bytes
    around: Surroundings

    @property
    def settings(self) -> EngineAuth:
        """Return the settings that the agent gets on this host, from whichever file.

        ``/etc/ecs/ecs.config`` over ``/var/lib/ecs/ecs.config``, both over ``ecs.config.json``.

        Raises:
            TargetError: the agent's JSON file is not JSON.

        """
        own = self.layout.read(self.text)
        if self.layout is AGENT_JSON:
            return merged(self.around.env_file_settings, own)
        return merged(merged(own, self.around.instance_settings), self.around.json_settings)


def read_target(text: str, stdin: BinaryIO, environment: Mapping[str, str]) -> Reading:
    """Read a TARGET that is not written: a path, ``s3://BUCKET/KEY``, ``-`` for standard input.

    Args:
        text: as typed.
        stdin: standard input.
        environment: for the AWS SDK.

    Raises:
        SourceError: it cannot be read.
        UsageError: as `parse_target`.

    """
    if text == "-":
        data = stdin.read(MAX_BYTES)
        layout = AGENT_JSON if data.lstrip().startswith(b"{") else ENV_FILE
        return Reading("standard input", layout, data, Surroundings())
    if text.startswith("s3:"):
        return _read_object(text, environment)
    target = parse_target(text, 0, stdin)
    if not isinstance(target, LocalFile):
        raise UsageError(f"{text} cannot be read")
    usual = f"the usual one is {DEFAULT_TARGET}"
    hint = "is the ECS agent installed here?" if text == DEFAULT_TARGET else usual
    data = read_input(target.path, hint)
    return Reading(text, target.layout, data, surroundings(target))


def _read_object(text: str, environment: Mapping[str, str]) -> Reading:
    from ecsauth.aws import Aws
    from ecsauth.aws.objects import Objects
    from ecsauth.aws.place import parse_place

    place = parse_place(text, environment)
    found = Objects(Aws(environment), place).get()
    return Reading(place.name, layout_of(place.key), found.data if found else b"", Surroundings())


def surroundings(target: LocalFile) -> Surroundings:
    """Return what else on this host bears on the settings in a file that is there."""
    here = target.path.absolute()
    is_env_file = target.layout is not AGENT_JSON
    status = here.stat()
    instance = here.parents[2] / "var/lib/ecs/ecs.config" if _is_standard(here) else None
    beside = here.with_name(f"{here.name}.json") if is_env_file else here.with_suffix("")
    other = settings_in(beside, AGENT_JSON if is_env_file else ENV_FILE)
    return Surroundings(
        mode=stat.S_IMODE(status.st_mode),
        is_root_s=status.st_uid == 0,
        instance_settings=settings_in(instance, ENV_FILE) if instance else UNSET,
        env_file_settings=UNSET if is_env_file else other,
        json_settings=other if is_env_file else UNSET,
    )


def _is_standard(path: Path) -> bool:
    return path.absolute().parts[-3:] == ("etc", "ecs", "ecs.config")
