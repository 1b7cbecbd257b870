"""One target: read, merge, read back as the agent will, write."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable

from ecsauth.app.requests import MergeOptions
from ecsauth.credentials.credential import Credential, Fetched
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.json_text import dumps_jq
from ecsauth.credentials.registry import parse_ecr_host
from ecsauth.engine_auth.codec import (
    AUTO,
    DOCKERCFG,
    UNSET,
    EngineAuth,
    decode,
    difference,
    shown_key,
)
from ecsauth.engine_auth.layouts import Layout
from ecsauth.errors import ConflictError, EcsauthError, SourceError
from ecsauth.targets.target import Target

if TYPE_CHECKING:
    from ecsauth.engine_auth.merge import Plan

MAX_CONFLICTS = 40
"""How often a target with conflicting writes is read again before giving up."""


Dropped = Callable[[bytes], Collection[str]]


@dataclass(frozen=True)
class Outcome:
    """What was done.

    Attributes:
        plan: None if no source gave a credential.
        written: whether the target was replaced.
        current: the settings before.
        problems: sources and registries without credentials; the others were still written.
        notes: for the user, one line each.
        warnings: what may not work, one line each.

    """

    plan: Plan | None = None
    written: bool = False
    current: EngineAuth = UNSET
    problems: tuple[SourceError, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def merge_into(
    fetched: Fetched,
    target: Target,
    options: MergeOptions,
    *,
    now: float,
    dropped: Dropped = lambda _: (),
) -> Outcome:
    """Merge what was fetched into `target`, which the caller has locked unless it is a dry run.

    If another writer changes a target that cannot be locked, it is read and written again.

    Args:
        fetched: what the sources returned.
        target: is read, and written if anything changes.
        options: how.
        now: Unix seconds.
        dropped: text of the target → keys, as the agent compares them, of logins to remove.

    Raises:
        TargetError: nothing was written.

    """
    conflicts = 0
    while True:
        try:
            return _apply_once(fetched, target, options, now, dropped)
        except ConflictError:
            conflicts += 1
            if conflicts >= MAX_CONFLICTS:
                raise


def _apply_once(
    fetched: Fetched, target: Target, options: MergeOptions, now: float, dropped: Dropped
) -> Outcome:
    from ecsauth.engine_auth.merge import make_plan  # not needed if nothing is due

    text = target.read()
    layout = target.layout
    current = layout.read(text)
    plan = make_plan(
        current,
        fetched.credentials,
        lenient_data=layout.lenient(text),
        auth_format=options.auth_format,
        replace=options.replace and not fetched.problems,
        dropped=dropped(text),
        now=now,
    )
    warnings = [*fetched.warnings, *plan.warnings, layout.warning(plan.engine_auth)]
    if options.replace and fetched.problems:
        warnings.append("nothing was dropped (--replace), because not every login could be fetched")
    notes = [*fetched.notes, *_ecr_notes(fetched.credentials, now, layout.is_for_agent)]
    if layout.is_untidy(text):
        plan = replace(plan, changed=True)
    if plan.changed:
        new_text = layout.write(text, plan.engine_auth)
        _verify(layout, new_text, plan)
        if not options.dry_run:
            notes += target.write(new_text, _first_expiry(plan, now))
    return Outcome(
        plan=plan,
        written=plan.changed and not options.dry_run,
        current=current,
        problems=fetched.problems,
        notes=tuple(notes),
        warnings=tuple(item for item in warnings if item),
    )


def fix_target(
    target: Target, fix: Callable[[Layout, bytes], bytes], *, rewrite: bool
) -> tuple[bool, tuple[str, ...]]:
    """Fix what is safe to fix in a target.

    Args:
        target: is locked from the read to the end of the write.
        fix: (layout, text) → the text with what is safe to fix fixed.
        rewrite: write it even if no byte changes, to correct its mode.

    Returns:
        Whether it was written, and notes for the user.

    Raises:
        TargetError: nothing was written.

    """
    with target.locked():
        text = target.read()
        repaired = fix(target.layout, text)
        if repaired == text and not rewrite:
            return False, ()
        before, after = decode(target.layout.read(text)), decode(target.layout.read(repaired))
        if repaired != text and after.fault and not before.fault:
            raise EcsauthError(
                f"nothing was written: {after.fault}",
                "this is a bug in ecsauth: report it",
                reference="self-check-failed",
            )
        return True, target.write(repaired)


def raw_settings(
    document: Any, expression: str, auth_format: str, layout: Layout
) -> tuple[bytes, list[str]]:
    """Return what ``jq -c`` selects from a login file as the text of `layout`, nothing repaired.

    Also returned: a warning for each part that the agent would not read.

    Raises:
        SourceError: the expression finds nothing.
        UsageError: it is not a JMESPath expression.
        EncodeError: the value does not fit the layout.

    """
    # Only for --raw.
    from ecsauth.credentials.login_file import select

    selected = select(document, expression)
    if selected is None:
        raise SourceError(
            f"the login file has nothing at {expression!r}",
            "choose another path with --select",
            reference="select-empty",
        )
    chosen = DOCKERCFG if auth_format == AUTO else auth_format
    settings = EngineAuth(chosen, dumps_jq(selected))
    view = decode(settings)
    warnings = [f"the agent reads no login from this: {view.fault}"] if view.fault else []
    warnings += [
        f"{shown_key(key)}: the agent skips it: {why}" for key, why in view.skipped.items()
    ]
    text = layout.write(b"", settings)
    return text, [*warnings, *filter(None, [layout.warning(settings)])]


def _first_expiry(plan: Plan, now: float) -> int | None:
    """Return when the first of its logins will expire, except those that have expired."""
    known = [with_known_expiry(item).expires_at for item in plan.credentials]
    return min((item for item in known if item is not None and item > now), default=None)


def _verify(layout: Layout, text: bytes, plan: Plan) -> None:
    """Read the text as the agent will, before it replaces anything.

    Raises:
        EcsauthError: the agent would not get exactly these logins; a bug in ecsauth.

    """
    read = layout.read(text)
    if not layout.has_type:
        read = replace(read, auth_type=plan.engine_auth.auth_type)
    fault = difference(plan.credentials, decode(read))
    if fault:
        raise EcsauthError(
            f"nothing was written: {fault}",
            "this is a bug in ecsauth: report it",
            reference="self-check-failed",
        )


def _ecr_notes(credentials: Sequence[Credential], now: float, is_for_agent: bool) -> list[str]:
    """Note when ECR tokens expire, and that the agent rarely needs them."""
    private = [item for item in credentials if parse_ecr_host(item.registry)]
    notes = []
    for item in private:
        if item.expires_at is not None:
            hours = (item.expires_at - now) / 3600
            notes.append(f"{item.registry}: its ECR token expires in {hours:.1f} h")
    if is_for_agent and private and len(private) == len(credentials):
        notes.append(
            "these are all private ECR registries: the agent gets tokens for them by itself with"
            " the instance role; this setting helps only where that role does not reach (another"
            " partition or principal, or a proxy in front of ECR)"
        )
    return notes
