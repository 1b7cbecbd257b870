"""The environment that the next container of the agent gets. Pure.

ecs-init makes each container anew from its own defaults, /var/lib/ecs/ecs.config and
/etc/ecs/ecs.config, later values overriding earlier ones, empty ones too (aws/amazon-ecs-agent
``ecs-init/docker/docker.go``, ``getContainerConfig`` and ``LoadEnvVars``). What the running
container has says nothing about an edit that waits in those files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ecsauth.engine_auth.codec import AUTH_DATA_KEY, AUTH_TYPE_KEY

DATADIR, CHECKPOINT = "ECS_DATADIR", "ECS_CHECKPOINT"

_SETTINGS = frozenset({AUTH_TYPE_KEY, AUTH_DATA_KEY})
_DEFAULTS = {DATADIR: "/data"}
"""ecs-init's defaults that matter for a restart; files override them."""

_OWN_NAMES = frozenset(
    {
        "ECS_AGENT_CONFIG_FILE_PATH",
        "ECS_AGENT_LABELS",
        "ECS_AVAILABLE_LOGGING_DRIVERS",
        "ECS_DATADIR",
        "ECS_DETAILED_OS_FAMILY",
        "ECS_DOMAIN_JOINED_LINUX_INSTANCE",
        "ECS_EBSTA_SUPPORTED",
        "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE",
        "ECS_ENABLE_TASK_ENI",
        "ECS_ENABLE_TASK_IAM_ROLE",
        "ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST",
        "ECS_LOGFILE",
        "ECS_UPDATES_ENABLED",
        "ECS_UPDATE_DOWNLOAD_DIR",
        "ECS_VOLUME_PLUGIN_CAPABILITIES",
    }
)
"""Variables that ecs-init sets itself: in a container they say nothing about the files."""

_MAY_DIFFER = frozenset({"ECS_EBSTA_SUPPORTED", "ECS_ENABLE_GPU_SUPPORT", "ECS_ENABLE_TASK_ENI"})
"""Variables that ecs-init may change or drop even if a file sets them."""


@dataclass(frozen=True)
class NextEnvironment:
    """The environment and verdict for the next container.

    Attributes:
        variables: name → value, as far as the files and the running container tell.
        changed: names whose values differ from those of the running container, sorted; the two
            credential settings are left out.

    """

    variables: Mapping[str, str] = field(repr=False)
    changed: tuple[str, ...] = ()


def next_environment(
    running: Mapping[str, str], files: Mapping[str, str], *, is_ecs_init: bool
) -> NextEnvironment:
    """Compute the environment of the next container.

    Args:
        running: environment of the running container.
        files: variables in the files, later files merged over earlier ones.
        is_ecs_init: whether ecs-init makes the container; else a unit of the user's own does, with
            ``--env-file`` and options that are only known by what the running container has.

    """
    variables = {**(_DEFAULTS if is_ecs_init else running), **files}
    changed = {
        name
        for name, value in files.items()
        if name not in _SETTINGS | _MAY_DIFFER and running.get(name) != value
    }
    if is_ecs_init:
        changed |= {
            name
            for name in running
            if name.startswith("ECS_") and name not in {*files, *_SETTINGS, *_OWN_NAMES}
        }
        if running.get(DATADIR) != variables[DATADIR]:
            changed.add(DATADIR)
    return NextEnvironment(variables, tuple(sorted(changed)))
