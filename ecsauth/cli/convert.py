"""The command convert; nothing of an agent, a file that is written, or AWS is loaded for it."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator

import click

from ecsauth.cli import options
from ecsauth.cli.console import result_stream, say_all
from ecsauth.cli.context import make_context
from ecsauth.cli.report import report
from ecsauth.errors import UsageError
from ecsauth.layout import AGENT_JSON, DATA, ENV_FILE, Layout
from ecsauth.sources import parse_source
from ecsauth.sources.docker_config import DockerConfigSource
from ecsauth.targets.stdout import Stdout, write_stream
from ecsauth.update import Request, raw_settings, update

_OUTPUTS = {"env": ENV_FILE, "data": DATA, "agent-json": AGENT_JSON}
_APPLYING = {
    "docker-config": "it is a login file: ~/.docker/config.json, auth.json of podman, or for"
    " Kubernetes: kubectl create secret generic NAME --type=kubernetes.io/dockerconfigjson"
    " --from-file=.dockerconfigjson=FILE",
    "bottlerocket": "it goes into the instance's user data, or in the control container:"
    " apiclient apply < FILE; the agent is restarted by that",
    "powershell": "run it on the Windows instance as Administrator; tasks go on meanwhile",
}
"""How to apply what other programs take."""


@click.command(short_help="Print the two settings that SOURCE comes to.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, envvar="ECSAUTH_SOURCES")
@options.auth_format
@options.option(
    "--output",
    type=click.Choice([*_OUTPUTS, *_APPLYING]),
    default="env",
    show_default=True,
    help="env: two lines for ecs.config; data: the value of ECS_ENGINE_AUTH_DATA alone;"
    " agent-json: for ecs.config.json; docker-config: a login file for docker, podman, Kubernetes;"
    " bottlerocket: settings in TOML; powershell: commands for Windows.",
)
@options.select
@options.option(
    "--raw",
    is_flag=True,
    help="Print what jq -c would: nothing mended, no credential store asked.",
)
@options.helper_timeout
@options.quiet
@options.common
def convert(
    sources: tuple[str, ...],
    auth_format: str,
    output: str,
    select: str,
    raw: bool,
    helper_timeout: float,
    quiet: bool,
) -> int:
    """Print the two settings that SOURCE comes to, secrets included.

    SOURCE is a docker login file (config.json, .dockercfg, auth.json, a decoded
    .dockerconfigjson), docker-config:PATH, env:VARIABLE, or - for standard input; in AWS ecr:,
    ecr:REGION, ecr:HOST, ecr-public:, secretsmanager:ID or ssm:NAME (?registry=HOST and more may
    follow). Of two sources with a login for the same registry, the later counts.
    """
    context = make_context(helper_timeout, select)
    if sources.count("-") > 1:
        raise UsageError("- (standard input) is given twice")
    parsed = [parse_source(text, context) for text in sources]
    if raw:
        if output in _APPLYING:
            raise UsageError(f"--raw does not go with --output {output}")
        if len(parsed) > 1 or not isinstance(parsed[0], DockerConfigSource):
            raise UsageError("--raw takes one SOURCE, a login file")
        text, warnings = raw_settings(
            parsed[0].document(), select or "auths", auth_format, _OUTPUTS[output]
        )
        write_stream(result_stream(), text)
        say_all("warning", warnings)
        return 0
    target = Stdout(result_stream(), _layout(output))
    with _without_collection():
        outcome = update(parsed, target, Request(auth_format), now=time.time())
    code = report(outcome, quiet)
    if outcome.written and not quiet:
        say_all("next", [_APPLYING.get(output, "")])
    return code


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Look for no garbage: of 100,000 registries none is, and to look at all takes a seventh."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _layout(output: str) -> Layout:
    if output in _OUTPUTS:
        return _OUTPUTS[output]
    from ecsauth.printed import BOTTLEROCKET, DOCKER_CONFIG, POWERSHELL

    others = {"docker-config": DOCKER_CONFIG, "bottlerocket": BOTTLEROCKET}
    return others.get(output, POWERSHELL)
