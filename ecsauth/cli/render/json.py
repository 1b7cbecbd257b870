"""Results as JSON documents: stable keys, no secret."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ecsauth.app.requests import HELPER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecsauth.agent.restart.ports import AgentOutcome
    from ecsauth.app.agent import AgentRestartResult, AgentStatusResult
    from ecsauth.app.inspect import CheckResult, ExplainResult
    from ecsauth.app.pull import CopyResult
    from ecsauth.app.refresh import RefreshResult
    from ecsauth.app.status import StatusResult
    from ecsauth.app.verify import VerifyResult
    from ecsauth.app.warm_cache import Warmed
    from ecsauth.errors import EcsauthError

Document = dict[str, Any]


def refreshed_document(result: RefreshResult) -> Document:
    """Return the result of refresh, pull and the Lambda function."""
    done = result.brought
    return {
        "asked": [
            {
                "source": item.source,
                "why": item.why,
                "version": item.answer.version,
                "problems": [str(problem) for problem in item.answer.problems],
                "references": [problem.reference for problem in item.answer.problems],
            }
            for item in done.asked
        ],
        "targets": [
            {
                "target": item.target.name,
                "written": item.outcome.written,
                "registries": {
                    change.credential.registry: change.kind
                    for change in (item.outcome.plan.changes if item.outcome.plan else ())
                },
                "code": code,
                **_error(item.error),
            }
            for item, code in zip(done.results, result.codes)
        ]
        + ([_warmed(result.warmed)] if result.warmed else []),
        "next_at": done.next_at,
        "agent": outcome_document(result.agent),
    }


def copied_document(result: CopyResult) -> Document:
    """Return the result of pull --whole-file."""
    document: Document = {"written": result.is_changed, "agent": outcome_document(result.agent)}
    if result.is_dry:
        would = "would be written (whole file)" if result.is_changed else "up to date"
        document = {"written": False, "would": would, "agent": None}
    return document


def outcome_document(outcome: AgentOutcome | None) -> Document | None:
    """Return the outcome for the agent; None if there was nothing to do."""
    if outcome is None:
        return None
    return {
        "restarted": outcome.is_done,
        "pending": outcome.is_pending,
        "said": outcome.said,
        **_error(outcome.error),
    }


def restarted_document(result: AgentRestartResult) -> Document:
    """Return the result of agent restart."""
    return {**(outcome_document(result.outcome) or {}), "code": result.exit_code}


def agent_document(result: AgentStatusResult) -> Document:
    """Return the agent's state."""
    return {
        **asdict(result.agent),
        "service_manager": result.manager,
        "would_be_refused": result.is_refused,
    }


def status_document(result: StatusResult) -> Document:
    """Return the screen of status."""
    agent = asdict(result.agent) if result.agent else None
    return {"target": asdict(result.target), "agent": agent}


def checked_document(result: CheckResult) -> Document:
    """Return what check found."""
    return {
        "target": result.name,
        "ok": result.errors == 0,
        "errors": result.errors,
        "warnings": len(result.findings) - result.errors,
        "fixed": result.is_fixed,
        "type": result.auth_type,
        "registries": result.logins,
        "findings": [asdict(item) for item in result.findings],
    }


def explained_document(result: ExplainResult) -> Document:
    """Return which login the agent uses for each image."""
    names = ("key", "registry", "username", "auth", "ambiguous", "expires_at", "reason")
    return {
        "images": {
            item.image: {name: getattr(item, name) for name in names}
            for item in result.explanations
        }
    }


def verified_document(result: VerifyResult) -> Document:
    """Return what the registries answered."""
    return {"verdicts": [asdict(verdict) for verdict in result.verdicts]}


def fleet_document(
    region: str, rows: Sequence[tuple[str, str, str, str]], counts: dict[str, int]
) -> Document:
    """Return each instance's outcome; a row is (instance, status, said, command)."""
    names = ("instance", "status", "said", "command")
    return {
        "region": region,
        "instances": [dict(zip(names, row)) for row in rows],
        "counts": counts,
    }


def _warmed(warmed: Warmed) -> Document:
    """Return the outcome for the helper's cache, as one of the targets of a run."""
    return {
        "target": HELPER,
        "written": bool(warmed.renewed) and not warmed.is_dry,
        "registries": {
            **dict.fromkeys(warmed.kept, "unchanged"),
            **dict.fromkeys(warmed.renewed, "updated"),
        },
        "code": warmed.exit_code,
        **_error(warmed.problems[0] if warmed.problems else None),
    }


def _error(error: EcsauthError | None) -> Document:
    if error is None:
        return {"error": None, "reference": None}
    return {"error": str(error), "reference": error.reference}
