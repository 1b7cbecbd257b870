"""Options of the commands that work on this host: targets, what is remembered, the restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, TypeVar

import click

from ecsauth.agent import DEFAULT_URL, MANAGERS
from ecsauth.cli.options import Seconds, option
from ecsauth.restart import MIN_INTERVAL, POLICIES
from ecsauth.state import DEFAULT_STATE_DIR
from ecsauth.targets import DEFAULT_TARGET

_F = TypeVar("_F", bound=Callable[..., Any])


def targets(
    text: str = "A path (one that ends in .json is the agent's JSON file) or s3://BUCKET/KEY. May"
    " be repeated.",
) -> Callable[[_F], _F]:
    """Give a command --to; `text` says what it may be."""
    return option(
        "--to",
        "targets",
        metavar="TARGET",
        envvar="ECSAUTH_TARGETS",
        multiple=True,
        default=[DEFAULT_TARGET],
        show_default=DEFAULT_TARGET,
        help=text,
    )


state_dir = option(
    "--state-dir",
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    default=DEFAULT_STATE_DIR,
    show_default=True,
    help="Where ecsauth remembers its runs (no secrets).",
)
introspection_url = option(
    "--introspection-url",
    metavar="URL",
    default=DEFAULT_URL,
    show_default=True,
    help="Where the agent answers.",
)
service_manager = option(
    "--service-manager",
    type=click.Choice(MANAGERS),
    help="What starts the agent; by default found out by looking.",
)
_RESTARTING = (
    service_manager,
    option(
        "--timeout",
        type=Seconds(1, 3600),
        metavar="SECONDS",
        default=60.0,
        show_default=True,
        help="How long the agent may take to come back from a restart.",
    ),
    option(
        "--min-restart-interval",
        type=Seconds(0, 604_800),
        metavar="SECONDS",
        default=MIN_INTERVAL,
        show_default=True,
        help="Never restart the agent more often; doubled by each restart that fails.",
    ),
    option(
        "--drain",
        is_flag=True,
        help="Before a restart set the instance to DRAINING, until the tasks of services have"
        " left; ACTIVE afterwards.",
    ),
    option(
        "--drain-timeout",
        type=Seconds(1, 86_400),
        metavar="SECONDS",
        default=900.0,
        show_default=True,
        help="How long draining may take.",
    ),
    introspection_url,
)


def restarting(default: str, *force: str) -> Callable[[_F], _F]:
    """Give a command the options for restarting the agent.

    Args:
        default: the policy.
        force: names of the option that restarts it whatever it costs.

    """
    policy = option(
        "--restart",
        "policy",
        type=click.Choice(POLICIES),
        default=default,
        show_default=True,
        help="auto: restart the agent if TARGET is a usual file of its, what it would read has"
        " changed, and nothing is lost; always: for any TARGET, and unless on a timer even if"
        " nothing has changed; never: say what to run.",
    )
    forced = option(
        *(*force, "--force-restart", "force_restart"),
        envvar="ECSAUTH_FORCE_RESTART",
        is_flag=True,
        help="Restart the agent even if its tasks are orphaned by that, and at any time.",
    )

    def give(command: _F) -> _F:
        for one in reversed((policy, *_RESTARTING, forced)):
            command = one(command)
        return command

    return give
