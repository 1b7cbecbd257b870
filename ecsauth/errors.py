"""Every error that ecsauth raises on purpose, and the exit code of each.

::

    EcsauthError                     1   unexpected: a fault of ecsauth or of the machine
    ├── UsageError                   2   the command line or a setting makes no sense
    ├── SourceError                  3   a source gave no credentials
    │   ├── RegistryNameError        3   a key in a login file does not name a registry
    │   ├── ClockError               3   the clock of this host is wrong
    │   └── ObjectMissingError       3   the object does not exist in S3
    ├── TargetError                  4   the target was not written and is unchanged
    │   ├── EncodeError              4   the credentials do not fit the format or its limits
    │   ├── LockTimeoutError         4   another process held the lock for too long
    │   ├── ConflictError            4   another process changed the target after it was read
    │   └── UnsettledError           4   the same; the other version was saved beside the target
    ├── RestartRefusedError          5   a restart of the agent was refused; it stays pending
    ├── AgentError                   6   the agent did not come back
    │   └── NewInstanceError         6   it came back as another container instance
    └── CheckError                   7   check found an error

A message is one line: the subject and what failed. The hint, if any, is the next step. Neither
ever contains a secret, a decoded ``auth`` or the body of a file.
"""

from __future__ import annotations

import copy
from typing import TypeVar

_E = TypeVar("_E", bound="EcsauthError")


class EcsauthError(Exception):
    """The root of the tree.

    Args:
        what: what failed, one line, no secret.
        hint: the next step, one line; empty if there is none.
        subject: the source, target or file that failed; it starts the message, before a colon.
        reference: stable name of this error, in kebab-case; by default that of its class.
        retryable: the same command may succeed a moment later; the class may set it too.

    Attributes:
        message: subject and what failed.
        exit_code: exit code of a command that fails with this error.
        retryable: whether the same command may succeed a moment later with nothing changed.

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
        """Return the same error as another class, for the layer above.

        Args:
            kind: the new class.
            hint: the new hint; None keeps this one.
            prefix: text to put before the message.

        """
        return kind(
            f"{prefix}{self.message}" if prefix else self.what,
            self.hint if hint is None else hint,
            subject="" if prefix else self.subject,
            reference=self.reference,
            retryable=self.retryable,
        )

    def of_subject(self: _E, subject: str) -> _E:
        """Return a copy for another subject that got the same answer."""
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
    """A key does not name a registry that the agent could match."""

    reference = "registry-name"


class ClockError(SourceError):
    """AWS's answer shows that this host's clock is wrong, so it cannot tell what has expired.

    Args:
        what, hint, subject, reference, retryable: as for every error.
        true_time: the time according to AWS (Unix seconds); None if the answer has no date.

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
    """The object does not exist in S3."""

    reference = "object-missing"


class TargetError(EcsauthError):
    """The target was not written and is unchanged."""

    exit_code = 4
    reference = "target-not-written"


class EncodeError(TargetError):
    """The requested format cannot represent the credentials, or they exceed its limits."""

    reference = "cannot-encode"


class LockTimeoutError(TargetError):
    """Another process held the target's lock for longer than the lock timeout."""

    reference = "lock-timeout"
    retryable = True


class ConflictError(TargetError):
    """Another process changed the target after it was read; reading and writing again may help."""

    reference = "target-conflict"
    retryable = True


class UnsettledError(TargetError):
    """Another process wrote the target at the same moment; its version is kept beside it."""

    reference = "target-unsettled"


class RestartRefusedError(EcsauthError):
    """The agent's restart was refused; the written target stays, and the restart is pending."""

    exit_code = 5
    reference = "restart-refused"


class AgentError(EcsauthError):
    """The agent did not come back, or came back different."""

    exit_code = 6
    reference = "agent-not-back"


class NewInstanceError(AgentError):
    """The agent registered as a new container instance, so the old one's tasks are orphaned."""

    reference = "agent-new-instance"


class CheckError(EcsauthError):
    """The check found an error: the agent does not get all its credentials."""

    exit_code = 7
    reference = "check-failed"


def fault_place(error: BaseException) -> str:
    """Return an unexpected error's type and place, not its message, which may hold a secret."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return type(error).__name__
    name = last.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{type(error).__name__} at {name}:{last.tb_lineno}"
