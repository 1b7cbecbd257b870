"""check and explain: what is wrong with a target, and which login the agent uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecsauth.app.reading import Reading, read_target
from ecsauth.app.requests import DEFAULT_TARGET
from ecsauth.app.update import fix_target
from ecsauth.engine_auth.check import ERROR, Finding, check_text, fix_text
from ecsauth.engine_auth.codec import decode, redact
from ecsauth.engine_auth.explain import Explanation, explain
from ecsauth.errors import CheckError, UsageError

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports


@dataclass(frozen=True)
class CheckRequest:
    """What to check.

    Attributes:
        target: as typed.
        fixes: fix what is safe to fix.
        lock_timeout: seconds to wait for another writer.

    """

    target: str = DEFAULT_TARGET
    fixes: bool = False
    lock_timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.fixes and (self.target == "-" or "://" in self.target):
            raise UsageError("--fix needs a file on this host", reference="usage-target")


@dataclass(frozen=True)
class CheckResult:
    """What is wrong.

    Attributes:
        name: of the target.
        findings: in the order of the text.
        is_fixed: something was fixed.
        auth_type: as the agent reads it; empty if it reads none.
        logins: how many the agent reads.
        is_set_elsewhere: the agent gets its settings from another file.

    """

    name: str
    findings: tuple[Finding, ...]
    is_fixed: bool
    auth_type: str
    logins: int
    is_set_elsewhere: bool

    @property
    def errors(self) -> int:
        """How many findings lose credentials."""
        return sum(1 for item in self.findings if item.severity == ERROR)

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return CheckError.exit_code if self.errors else 0


def check(request: CheckRequest, ports: Ports) -> CheckResult:
    """Check a target as its readers read it.

    Raises:
        EcsauthError: it cannot be read or fixed.

    """
    reading = read_target(request.target, ports)
    findings = _findings(reading, ports)
    is_fixed = False
    if request.fixes and any(item.fixable for item in findings):
        rewrite = any(item.code == "mode" for item in findings)
        target = ports.edges.target(request.target, request.lock_timeout)
        is_fixed, notes = fix_target(target, fix_text, rewrite=rewrite)
        for note in notes:
            ports.note(note)
        reading = read_target(request.target, ports)
        findings = _findings(reading, ports)
    is_broken = any(item.code == "json" for item in findings)
    settings = None if is_broken else reading.layout.read(reading.text)
    auth_type = redact(settings).auth_type if settings else ""
    return CheckResult(
        reading.name,
        findings,
        is_fixed,
        auth_type,
        len(decode(settings).credentials) if settings else 0,
        is_set_elsewhere=not auth_type and not findings and reading.settings.is_set,
    )


@dataclass(frozen=True)
class ExplainRequest:
    """Which images to explain; `target` is as typed."""

    images: tuple[str, ...]
    target: str = DEFAULT_TARGET

    def __post_init__(self) -> None:
        if not self.images:
            raise UsageError(
                "no IMAGE is given",
                "name one, as in the task definition",
                reference="usage-no-image",
            )


@dataclass(frozen=True)
class ExplainResult:
    """One explanation for each image; `auth_type` is that of the settings."""

    explanations: tuple[Explanation, ...]
    auth_type: str
    exit_code: int = 0


def explain_images(request: ExplainRequest, ports: Ports) -> ExplainResult:
    """Find out which login the agent uses for each image, and why.

    Raises:
        EcsauthError: the target cannot be read.

    """
    settings = read_target(request.target, ports).settings
    view = decode(settings)
    found = tuple(explain(view, image) for image in request.images)
    return ExplainResult(found, redact(settings).auth_type)


def _findings(reading: Reading, ports: Ports) -> tuple[Finding, ...]:
    return tuple(check_text(reading.layout, reading.text, ports.now(), reading.around))
