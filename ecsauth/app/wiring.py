"""Builds the real edges. What is slow to load is loaded only when needed, and only here."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable

from ecsauth.app.ports import Ports, Say
from ecsauth.errors import SourceError, UsageError
from ecsauth.host.machine import host_chance
from ecsauth.host.signals import signals_held_off
from ecsauth.state.store import StateStore

if TYPE_CHECKING:
    from ecsauth.agent.restart.ports import Agent, Drainer
    from ecsauth.app.fetch import Verifier
    from ecsauth.app.requests import AgentAccess, PublishOptions, SourceOptions, VerifyPolicy
    from ecsauth.credentials.credential import Credential
    from ecsauth.credentials.verdict import Verdict
    from ecsauth.engine_auth.codec import EngineAuth
    from ecsauth.sources.source import Source
    from ecsauth.targets.target import Target

_OWNER_VARIABLE = "ECSAUTH_EXPECTED_BUCKET_OWNER"


@dataclass(frozen=True)
class SystemEdges:
    """The edges of this host; `ports.Edges` documents the methods."""

    environment: Mapping[str, str]
    stdin: BinaryIO
    stdout: Callable[[], BinaryIO]
    shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def source(self, text: str, options: SourceOptions) -> Source:
        """Return the source that a SOURCE names."""
        from ecsauth.host.accounts import owner_of
        from ecsauth.sources.schemes import Context, parse_source

        context = Context(
            _with_owner(self.environment, options.bucket_owner),
            self.stdin,
            options.helper_timeout,
            options.select,
            owner_of,
            self.shared,
        )
        return parse_source(text, context)

    def target(
        self, text: str, lock_timeout: float, publishing: PublishOptions | None = None
    ) -> Target:
        """Return the target that a TARGET names."""
        from ecsauth.targets.forms import parse_target

        def make_s3(url: str) -> Target:
            from ecsauth.targets.s3 import open_target

            how = publishing
            if how is None:
                raise UsageError("TARGET must be a file on this host", reference="usage-target")
            return open_target(
                url,
                _with_owner(self.environment, how.bucket_owner),
                algorithm=how.sse,
                key_id=how.kms_key_id,
                bucket_key=how.bucket_key,
                base=None if how.base is None else _read_base(how.base),
            )

        return parse_target(text, lock_timeout, self.stdout, make_s3 if publishing else None)

    def agent(self, access: AgentAccess, settings: EngineAuth | None) -> Agent:
        """Return the agent of this host."""
        from ecsauth.agent.host_agent import HostAgent
        from ecsauth.host.programs import run_program

        return HostAgent(
            self.environment,
            access.url,
            run_program,
            settings=settings,
            forced=access.service_manager,
        )

    def drainer(
        self, timeout: float, ports: Ports, remember: Callable[[str], None], remembered: str
    ) -> Drainer:
        """Return what drains the container instance."""
        from ecsauth.agent.drain import EcsDrainer

        return EcsDrainer(
            self.environment,
            timeout,
            monotonic=ports.monotonic,
            sleep=ports.sleep,
            note=ports.note,
            warn=ports.warn,
            remember=remember,
            remembered=remembered,
        )

    def verifier(self, policy: VerifyPolicy, ports: Ports) -> Verifier:
        """Return what logs in with credentials."""
        from ecsauth.registries.verify import verify_all

        def verify(credentials: Sequence[Credential]) -> list[Verdict]:
            with ports.progress(len(credentials)) as advance:
                return verify_all(
                    credentials,
                    timeout=policy.timeout,
                    insecure=policy.insecure,
                    ca_file=policy.ca_file,
                    on_verdict=advance,
                )

        return verify

    def state(self, directory: Path) -> StateStore:
        """Return the state kept between runs."""
        return StateStore(directory)

    def shield(self) -> AbstractContextManager[None]:
        """Hold off signals for the ``with`` block."""
        return signals_held_off()


def system_ports(say: Say, stdin: BinaryIO, stdout: Callable[[], BinaryIO], **more: Any) -> Ports:
    """Return the ports of this process.

    Args:
        say: prints a line for the user.
        stdin: standard input.
        stdout: returns standard output.
        more: other fields of `Ports`.

    """
    return Ports(
        edges=SystemEdges(os.environ, stdin, stdout),
        environment=os.environ,
        stdin=stdin,
        stdout=stdout,
        say=say,
        now=time.time,
        monotonic=time.monotonic,
        sleep=time.sleep,
        chance=_chance,
        host_chance=host_chance,
        **more,
    )


def _chance() -> float:
    """Return a number from 0 to 1; the random module takes longer to load than an idle run."""
    return int.from_bytes(os.urandom(7), "big") / 2**56


def _with_owner(environment: Mapping[str, str], owner: str) -> Mapping[str, str]:
    return {**environment, _OWNER_VARIABLE: owner} if owner else environment


def _read_base(path: Path) -> bytes:
    """Read what --base names; raise UsageError if it cannot be read."""
    from ecsauth.host.atomic_file import read_input

    try:
        return read_input(path, "check --base")
    except SourceError as error:
        raise error.as_kind(UsageError) from error
