"""Every error that ecsauth raises on purpose, and the exit code of each.

::

    EcsauthError                     1   unexpected: a fault of ecsauth or of the machine
    ├── UsageError                   2   the command line or a setting makes no sense
    ├── SourceError                  3   a source gave no credentials
    │   ├── RegistryNameError        3   a key in a login file names no registry
    │   ├── ClockError               3   the clock of this host is wrong
    │   └── ObjectMissingError       3   there is no such object in S3
    ├── TargetError                  4   the target was not written and is as it was
    │   ├── EncodeError              4   the credentials do not fit the format or its limits
    │   ├── LockTimeoutError         4   another ecsauth held the target for too long
    │   ├── ConflictError            4   others wrote the target between our reading and writing
    │   └── UnsettledError           4   the same, and what they wrote is beside it now
    ├── RestartRefusedError          5   a restart would lose something; it is pending
    ├── AgentError                   6   the agent did not come back
    │   └── NewInstanceError         6   it came back as another container instance
    └── CheckError                   7   check found an error

A message is one line: the subject, what failed. The hint, if any, is what to do next. Neither
ever holds a secret, a decoded ``auth`` or the body of a file.
"""

from __future__ import annotations

import copy
from typing import TypeVar

_E = TypeVar("_E", bound="EcsauthError")


class EcsauthError(Exception):
    """The root of the tree.

    Args:
        what: what failed, one line, no secret.
        hint: what to do next, one line, or an empty string.
        subject: on what it failed; put before it, with a colon.
        reference: stable name of this error, kebab-case; by default that of its class.
        retryable: the same command may succeed a moment later; by default as its class says.

    Attributes:
        message: subject and what failed.
        exit_code: of a command that ends with it.
        retryable: whether the same command may succeed a moment later, with nothing changed.

    """

    exit_code = 1
    reference = "unexpected"
    retryable = False

    def __init__(
        self,
        what: str,
        hint: str = "",
        *,
        subject: str = "",
        reference: str = "",
        retryable: bool = False,
    ) -> None:
        self.message = f"{subject}: {what}" if subject else what
        super().__init__(self.message)
        self.subject = subject
        self.what = what
        self.hint = hint
        self.reference = reference or type(self).reference
        self.retryable = retryable or type(self).retryable

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def as_kind(self, kind: type[_E], *, hint: str | None = None, prefix: str = "") -> _E:
        """Return the same error as one of another class, for the layer above.

        Args:
            kind: its class.
            hint: another hint; None keeps this one.
            prefix: put before the message.

        """
        return kind(
            f"{prefix}{self.message}",
            self.hint if hint is None else hint,
            reference=self.reference,
            retryable=self.retryable,
        )

    def of_subject(self: _E, subject: str) -> _E:
        """Return the same error of another subject, which shares the answer."""
        other = copy.copy(self)
        EcsauthError.__init__(
            other,
            self.what,
            self.hint,
            subject=subject,
            reference=self.reference,
            retryable=self.retryable,
        )
        return other


class UsageError(EcsauthError):
    """The command line or a setting makes no sense."""

    exit_code = 2
    reference = "usage"


class SourceError(EcsauthError):
    """A source gave no credentials, or a registry in it did not."""

    exit_code = 3
    reference = "source-failed"


class RegistryNameError(SourceError):
    """A key names no registry that the agent could ever match."""

    reference = "registry-name"


class ClockError(SourceError):
    """Our clock is wrong, as AWS's answer shows: then nothing can be said to have expired.

    Args:
        what, hint, subject, reference, retryable: as for every error.
        true_time: what AWS says the time is (Unix seconds); None if it does not.

    """

    reference = "clock-wrong"

    def __init__(
        self,
        what: str,
        hint: str = "",
        true_time: float | None = None,
        *,
        subject: str = "",
        reference: str = "",
        retryable: bool = False,
    ) -> None:
        super().__init__(what, hint, subject=subject, reference=reference, retryable=retryable)
        self.true_time = true_time


class ObjectMissingError(SourceError):
    """There is no such object in S3."""

    reference = "object-missing"


class TargetError(EcsauthError):
    """The target was not written; it is as it was."""

    exit_code = 4
    reference = "target-not-written"


class EncodeError(TargetError):
    """The credentials cannot be carried by the format asked for, or exceed a limit."""

    reference = "cannot-encode"


class LockTimeoutError(TargetError):
    """Another process held the target's lock for longer than we were told to wait."""

    reference = "lock-timeout"
    retryable = True


class ConflictError(TargetError):
    """Somebody else wrote the target after we read it; reading and writing again may help."""

    reference = "target-conflict"
    retryable = True


class UnsettledError(TargetError):
    """What somebody else has written at the same moment is beside the target, and stays there."""

    reference = "target-unsettled"


class RestartRefusedError(EcsauthError):
    """A restart of the agent would lose something; what was written stands, and waits for one."""

    exit_code = 5
    reference = "restart-refused"


class AgentError(EcsauthError):
    """The agent did not come back, or not as it was."""

    exit_code = 6
    reference = "agent-not-back"


class NewInstanceError(AgentError):
    """The agent has registered as a new container instance: tasks of the old one are orphaned."""

    reference = "agent-new-instance"


class CheckError(EcsauthError):
    """What was checked costs the agent credentials."""

    exit_code = 7
    reference = "check-failed"


def fault_place(error: BaseException) -> str:
    """Name the type and the place of an error that is not ours; its message may hold a secret."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return type(error).__name__
    name = last.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} at {name}:{last.tb_lineno}"
