"""What is remembered of a target and of the agent: small values, one owner each.

No secret is in them: logins and texts are remembered as digests, keyed by the record's salt. Times
are Unix seconds.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ecsauth.credentials.freshness import Leases

NO_FILE = "none"
"""In place of a digest: there was no file."""


@dataclass(frozen=True)
class RunHistory:
    """How the commands that worked on a target ended.

    Attributes:
        last_run: when one last worked on it; None if never.
        last_code: that command's exit code.
        last_success: when one last ended with 0.
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
        is_pending: the target was written, and the agent was not seen to run with it since.
        read: digest of the settings that the agent was last seen to run with.
        written: digest of the text that was written last.
        before: digest of the text that the agent ran with before, which is kept beside the target;
            `NO_FILE` if there was no file, empty if unknown.

    """

    is_pending: bool = False
    read: str = ""
    written: str = ""
    before: str = ""


@dataclass(frozen=True)
class TargetRecord:
    """Everything that is remembered of one target.

    Attributes:
        history: of the runs.
        leases: what each source last returned.
        delivery: what the agent has yet to read.
        copied: for a whole file pulled from S3: digest of the text and ETag of the object, with a
            blank between them.

    """

    history: RunHistory = field(default_factory=RunHistory)
    leases: Leases = field(default_factory=Leases)
    delivery: Delivery = field(default_factory=Delivery)
    copied: str = ""

    def digest(self, text: bytes) -> str:
        """Return a digest of a text that may hold secrets, keyed by the record's salt."""
        return hmac.new(self.leases.salt.encode(), text, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class AgentRestarts:
    """The restarts of the agent by ecsauth.

    Attributes:
        last_restart: when the last one was; None if never.
        failures: restarts that failed since one succeeded.
        refused: attempts that did not touch the agent since one succeeded.
        begun: the agent's incarnation before a restart that is not proved yet; else empty.
        begun_arn: its container instance then; empty if unknown.
        boot: of the host, during which that restart began.
        drained: ARN of the container instance that ecsauth has set to DRAINING; else empty.

    """

    last_restart: int | None = None
    failures: int = 0
    refused: int = 0
    begun: str = ""
    begun_arn: str = ""
    boot: str = ""
    drained: str = ""
