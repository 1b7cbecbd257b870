"""The state of targets and of the agent, as small values with one owner each.

They contain no secret: logins and texts are kept as digests, keyed by the record's salt. Times are
Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ecsauth.credentials.freshness import Leases, RunningLogin

_DAY = 24 * 3600
NO_FILE = "none"
"""Stands for the digest of a file that did not exist."""


@dataclass(frozen=True)
class RunHistory:
    """The results of the commands that processed a target.

    Attributes:
        last_run: when a command last processed it; None if never.
        last_code: exit code of that command.
        last_success: when a command last ended with exit code 0.
        last_write: when the target was last written.
        sources: key as the agent compares it → the source that supplied its login.

    """

    last_run: int | None = None
    last_code: int | None = None
    last_success: int | None = None
    last_write: int | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    def after_run(self, code: int | None, now: int, *, written: bool) -> RunHistory:
        """Return the history with one more run; `code` is None while the run has not ended."""
        return replace(
            self,
            last_run=now,
            last_code=self.last_code if code is None else code,
            last_success=now if code == 0 else self.last_success,
            last_write=now if written else self.last_write,
        )


@dataclass(frozen=True)
class Delivery:
    """What the agent has yet to read of a target.

    Attributes:
        is_pending: the target was written, and the agent has not been seen running with it yet.
        read: digest of the settings that the agent was last seen running with.
        written: digest of the text that was written last.
        before: digest of the text that the agent ran with before (its backup is beside the
            target); `NO_FILE` if there was no file, empty if unknown.
        running: match → login that the agent was last seen running with.
        restart_at: when to restart the agent for a renewal that it has not read yet; None if it has
            read everything.

    """

    is_pending: bool = False
    read: str = ""
    written: str = ""
    before: str = ""
    running: Mapping[str, RunningLogin] = field(default_factory=dict)
    restart_at: int | None = None


@dataclass(frozen=True)
class TargetRecord:
    """The state of one target.

    Attributes:
        history: results of the runs.
        leases: what each source last returned.
        delivery: what the agent has yet to read.
        copied: for a whole file pulled from S3: digest of the text and ETag of the object,
            separated by a space.

    """

    history: RunHistory = field(default_factory=RunHistory)
    leases: Leases = field(default_factory=Leases)
    delivery: Delivery = field(default_factory=Delivery)
    copied: str = ""

    def digest(self, text: bytes) -> str:
        """Return a digest of a text that may hold secrets, keyed by the record's salt."""
        import hashlib  # with OpenSSL 10 ms, and convert remembers nothing
        import hmac

        return hmac.new(self.leases.salt.encode(), text, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class AgentRestarts:
    """The restarts of the agent by ecsauth.

    Attributes:
        last_restart: when the agent was last restarted; None if never.
        failures: failed restarts since the last success.
        refused: refused restarts, which did not touch the agent, since the last success.
        begun: the agent's incarnation before a restart that is not confirmed yet; else empty.
        begun_arn: its container instance at that time; empty if unknown.
        drained: ARN of the container instance that ecsauth has set to DRAINING; else empty.
        confirm: the last restart succeeded, and the next run checks that the agent still runs.
        times: when the agent was restarted in the last 24 hours.

    """

    last_restart: int | None = None
    failures: int = 0
    refused: int = 0
    begun: str = ""
    begun_arn: str = ""
    drained: str = ""
    confirm: bool = False
    times: tuple[int, ...] = ()

    def restarted_at(self, now: float) -> AgentRestarts:
        """Return the record with one more restart, without those older than a day."""
        return replace(self, times=(*self.times_since(now), int(now)))

    def times_since(self, now: float) -> tuple[int, ...]:
        """Return the restarts of the 24 hours before `now` (Unix seconds)."""
        return tuple(item for item in self.times if now - _DAY < item <= now)
