"""convert: print the settings for the logins of some sources."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecsauth.app.pipeline import Flow, TargetResult, bring
from ecsauth.app.requests import MergeOptions, SourceOptions
from ecsauth.app.update import raw_settings
from ecsauth.engine_auth.layouts import AGENT_JSON, DATA, ENV_FILE, Layout
from ecsauth.errors import UsageError
from ecsauth.host.streams import write_stream
from ecsauth.sources.login_file import LoginFileSource
from ecsauth.targets.stdout import Stdout

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports

SETTINGS = {"env": ENV_FILE, "data": DATA, "agent-json": AGENT_JSON}
"""Outputs that are the two settings."""

EXPORTS = ("docker-config", "bottlerocket", "powershell")
"""Outputs for programs other than the ECS agent on Linux."""


@dataclass(frozen=True)
class ConvertRequest:
    """What to print.

    Attributes:
        sources: as typed; if two have a login for the same registry, the later one wins.
        output: one of `SETTINGS` or `EXPORTS`.
        auth_format: ``auto``, ``dockercfg`` or ``docker``.
        raw: as ``jq -c`` would: nothing repaired, no credential store used.
        options: how sources are queried.

    """

    sources: tuple[str, ...]
    output: str = "env"
    auth_format: str = MergeOptions.auth_format
    raw: bool = False
    options: SourceOptions = field(default_factory=SourceOptions)

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError(
                "no SOURCE is given",
                "name a login file, or - for standard input",
                reference="usage-no-source",
            )
        if self.sources.count("-") > 1:
            raise UsageError("- (standard input) is given twice", reference="usage-stdin")
        if self.output not in (*SETTINGS, *EXPORTS):
            raise UsageError(f"unknown output {self.output!r}", reference="usage-output")
        if self.raw and self.output in EXPORTS:
            raise UsageError(
                f"--raw cannot be combined with --output {self.output}", reference="usage-raw"
            )
        if self.raw and len(self.sources) > 1:
            raise UsageError("--raw takes one SOURCE, a login file", reference="usage-raw")


@dataclass(frozen=True)
class ConvertResult:
    """What was printed; a raw conversion has only warnings."""

    target: TargetResult | None = None
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return self.target.exit_code if self.target else 0


def convert(request: ConvertRequest, ports: Ports) -> ConvertResult:
    """Print the settings to standard output.

    Raises:
        EcsauthError: nothing was printed.

    """
    sources = ports.sources(request.sources, request.options)
    if request.raw:
        if not isinstance(sources[0], LoginFileSource):
            raise UsageError("--raw takes one SOURCE, a login file", reference="usage-raw")
        document, select = sources[0].document(), request.options.select or "auths"
        text, warnings = raw_settings(
            document, select, request.auth_format, SETTINGS[request.output]
        )
        write_stream(ports.stdout(), text)
        return ConvertResult(warnings=tuple(warnings))
    target = Stdout(ports.stdout, _layout(request.output))
    with _without_collection():
        flow = Flow(MergeOptions(request.auth_format))
        done = bring(sources, [target], flow, now=ports.now())
    return ConvertResult(done.results[0])


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Disable garbage collection: 100,000 registries leave none, and it takes 1/7 of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _layout(output: str) -> Layout:
    if output in SETTINGS:
        return SETTINGS[output]
    # Not loaded for the usual outputs: convert has to start as fast as jq.
    from ecsauth.engine_auth.exports import BOTTLEROCKET, DOCKER_CONFIG, POWERSHELL

    others = {"docker-config": DOCKER_CONFIG, "bottlerocket": BOTTLEROCKET}
    return others.get(output, POWERSHELL)
