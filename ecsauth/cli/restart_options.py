"""The options for restarting the agent."""

from __future__ import annotations

import click

from ecsauth.agent.restart.policy import (
    AT_ONCE,
    LATE,
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
    help="What starts the agent; by default detected.",
)


def restarting(default: str, *force: str, is_timed: bool) -> options.Decorator:
    """Give a command `restart`, a RestartPolicy, and `access`, how to reach the agent.

    Args:
        default: of --restart.
        force: more names for --force-restart.
        is_timed: the command runs on a timer, so ``always`` means: after every change.

    """
    always = "after a change of any TARGET" if is_timed else "for any TARGET, even if unchanged"

    def policy(
        restart: str,
        timeout: float,
        min_restart_interval: float,
        drain: bool,
        drain_timeout: float,
        force_restart: bool,
        restart_after_renewal: str = AT_ONCE,
    ) -> RestartPolicy:
        scope, when = scope_and_when(restart, is_timed=is_timed)
        return RestartPolicy(
            scope,
            when,
            force_restart,
            timeout,
            min_restart_interval,
            drain_timeout if drain else None,
            restart_after_renewal,
        )

    renewal = option(
        "--restart-after-renewal",
        type=click.Choice((LATE, AT_ONCE)),
        default=LATE,
        show_default=True,
        help="late: renewed tokens restart the agent only when a quarter to a fifth of the life of"
        " those that it runs with is left; at-once: after each renewal.",
    )
    return options.all_of(
        options.part(
            "restart",
            policy,
            option(
                "--restart",
                type=click.Choice(POLICIES),
                default=default,
                show_default=True,
                help="auto: restart the agent if a file that it reads has changed and no task would"
                f" be lost; always: {always}; never: only print what to run.",
            ),
            *([renewal] if is_timed else []),
            seconds_option(
                "--timeout",
                *(1, 3600, 60.0),
                "How long the agent may take to come back after a restart.",
            ),
            seconds_option(
                "--min-restart-interval",
                *(0, 604_800, MIN_INTERVAL),
                "Least time between two restarts of the agent; doubled by each failed one.",
            ),
            option(
                "--drain",
                is_flag=True,
                help="Set the instance to DRAINING before a restart, wait until its service tasks"
                " have left, and set it to ACTIVE afterwards.",
            ),
            seconds_option("--drain-timeout", 1, 86_400, 900.0, "How long draining may take."),
            option(
                *(*force, "--force-restart", "force_restart"),
                envvar="ECSAUTH_FORCE_RESTART",
                is_flag=True,
                help="Restart the agent even if that orphans its tasks, and at any time.",
            ),
        ),
        options.part("access", options.agent_access, service_manager, options.introspection_url),
    )
