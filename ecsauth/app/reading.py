"""A target that is only read, and what else on this host affects it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.agent.paths import settings_in
from ecsauth.app.requests import DEFAULT_TARGET
from ecsauth.engine_auth.check import Surroundings
from ecsauth.engine_auth.codec import UNSET, EngineAuth
from ecsauth.engine_auth.env_file import merged
from ecsauth.engine_auth.layouts import AGENT_JSON, ENV_FILE, Layout, layout_of
from ecsauth.errors import UsageError
from ecsauth.host.atomic_file import MAX_BYTES, read_input
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports


@dataclass(frozen=True)
class Reading:
    """A target's text.

    Attributes:
        name: for messages.
        layout: of its text.
        text: its bytes.
        around: what else affects it.

    """

    name: str
    layout: Layout
    text: bytes
    around: Surroundings

    @property
    def settings(self) -> EngineAuth:
        """Return the settings that the agent gets on this host, from all its files.

        ``/etc/ecs/ecs.config`` over ``/var/lib/ecs/ecs.config``, both over ``ecs.config.json``.

        Raises:
            TargetError: the agent's JSON file is not JSON.

        """
        own = self.layout.read(self.text)
        if self.layout is AGENT_JSON:
            return merged(self.around.env_file_settings, own)
        return merged(merged(own, self.around.instance_settings), self.around.json_settings)


def read_target(text: str, ports: Ports) -> Reading:
    """Read a TARGET: a path, ``s3://BUCKET/KEY``, or ``-`` for standard input.

    Raises:
        SourceError: it cannot be read.
        UsageError: the text names no target.

    """
    if text == "-":
        data = ports.stdin.read(MAX_BYTES)
        layout = AGENT_JSON if data.lstrip().startswith(b"{") else ENV_FILE
        return Reading("standard input", layout, data, Surroundings())
    if text.startswith("s3:"):
        return _read_object(text, ports)
    target = ports.edges.target(text, 0)
    if not isinstance(target, LocalFile):
        raise UsageError(f"{text} cannot be read", reference="usage-target")
    usual = f"the default is {DEFAULT_TARGET}"
    hint = "is the ECS agent installed here?" if text == DEFAULT_TARGET else usual
    data = read_input(target.path, hint)
    return Reading(text, target.layout, data, surroundings(target))


def _read_object(text: str, ports: Ports) -> Reading:
    # These load the AWS SDK: only for an object.
    from ecsauth.aws.objects import Objects
    from ecsauth.aws.place import parse_place  # the same
    from ecsauth.aws.session import Aws  # the same

    place = parse_place(text, ports.environment)
    found = Objects(Aws(ports.environment), place).get()
    return Reading(place.name, layout_of(place.key), found.data if found else b"", Surroundings())


def surroundings(target: LocalFile) -> Surroundings:
    """Return what else on this host affects the settings in an existing file."""
    here = target.path.absolute()
    is_env_file = target.layout is not AGENT_JSON
    status = here.stat()
    instance = here.parents[2] / "var/lib/ecs/ecs.config" if _is_standard(here) else None
    beside = here.with_name(f"{here.name}.json") if is_env_file else here.with_suffix("")
    other = settings_in(beside, AGENT_JSON if is_env_file else ENV_FILE)
    return Surroundings(
        mode=stat.S_IMODE(status.st_mode),
        is_owned_by_root=status.st_uid == 0,
        instance_settings=settings_in(instance, ENV_FILE) if instance else UNSET,
        env_file_settings=UNSET if is_env_file else other,
        json_settings=other if is_env_file else UNSET,
    )


def _is_standard(path: Path) -> bool:
    return path.absolute().parts[-3:] == ("etc", "ecs", "ecs.config")
