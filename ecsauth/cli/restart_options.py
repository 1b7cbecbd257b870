"""The options for restarting the agent."""

from __future__ import annotations

import click

from ecsauth.agent.restart.policy import (
    MIN_INTERVAL,
    POLICIES,
    RestartPolicy,
    scope_and_when,
)
from ecsauth.app.requests import MANAGERS
from ecsauth.cli import options
from ecsauth.cli.options import option, seconds_option

service_manager = option(
    "--service-manager",
    type=click.Choice(MANAGERS),
    help="What starts the agent; by default found out by looking.",
)


def restarting(default: str, *force: str, is_timed: bool) -> options.Decorator:
    """Give a command `restart`, a RestartPolicy, and `access`, where the agent is found.

    Args:
        default: of --restart.
        force: more names of the option that restarts it whatever it costs.
        is_timed: the command runs on a timer, so that ``always`` means: after every change.

    """

    def policy(
        restart: str,
        timeout: float,
        min_restart_interval: float,
        drain: bool,
        drain_timeout: float,
        force_restart: bool,
    ) -> RestartPolicy:
        scope, when = scope_and_when(restart, is_timed=is_timed)
        seconds = drain_timeout if drain else None
        return RestartPolicy(scope, when, force_restart, timeout, min_restart_interval, seconds)

    return options.all_of(
        options.part(
            "restart",
            policy,
            option(
                "--restart",
                type=click.Choice(POLICIES),
                default=default,
                show_default=True,
                help="auto: restart the agent if TARGET is a usual file of its, what it would read"
                " has changed, and nothing is lost; always: for any TARGET, and unless on a timer"
                " even if nothing has changed; never: say what to run.",
            ),
            seconds_option(
                "--timeout",
                *(1, 3600, 60.0),
                "How long the agent may take to come back from a restart.",
            ),
            seconds_option(
                "--min-restart-interval",
                *(0, 604_800, MIN_INTERVAL),
                "Never restart the agent more often; doubled by each restart that fails.",
            ),
            option(
                "--drain",
                is_flag=True,
                help="Before a restart set the instance to DRAINING, until the tasks of services"
                " have left; ACTIVE afterwards.",
            ),
            seconds_option("--drain-timeout", 1, 86_400, 900.0, "How long draining may take."),
            option(
                *(*force, "--force-restart", "force_restart"),
                envvar="ECSAUTH_FORCE_RESTART",
                is_flag=True,
                help="Restart the agent even if its tasks are orphaned by that, and at any time.",
            ),
        ),
        options.part("access", options.agent_access, service_manager, options.introspection_url),
    )
