"""Plan what to write from current settings and desired credentials. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ecsauth.credentials.credential import Credential
from ecsauth.engine_auth import codec
from ecsauth.engine_auth.codec import AUTO, EngineAuth
from ecsauth.engine_auth.resolve import missing_host_keys
from ecsauth.engine_auth.salvage import canonical_match, read_present
from ecsauth.errors import TargetError


@dataclass(frozen=True)
class Change:
    """What happens to one registry.

    Attributes:
        kind: ``added``, ``updated``, ``unchanged``, ``kept`` (not produced by this run) or
            ``removed``.

    """

    kind: str
    credential: Credential


@dataclass(frozen=True)
class Plan:
    """What to write.

    Attributes:
        engine_auth: the two settings to write.
        credentials: what the agent must read from them.
        changes: one per registry, in the order of the text.
        changed: False if the target is up to date and need not be written.
        warnings: for the user, one line each.

    """

    engine_auth: EngineAuth
    credentials: tuple[Credential, ...]
    changes: tuple[Change, ...]
    changed: bool
    warnings: tuple[str, ...] = field(default=())


def make_plan(
    current: EngineAuth,
    desired: Sequence[Credential],
    *,
    lenient_data: str = "",
    auth_format: str = AUTO,
    replace: bool = False,
    dropped: Collection[str] = (),
    now: float,
) -> Plan:
    """Merge `desired` into `current`.

    Args:
        current: the settings in the target; both empty if there are none.
        lenient_data: the present data as their author meant them (see `env_file.full_value`).
        desired: at most one credential per registry.
        auth_format: ``auto``, ``dockercfg`` or ``docker``.
        replace: drop the registries that `desired` does not name.
        dropped: keys, as the agent compares them, to drop unless `desired` names them.
        now: Unix seconds.

    Raises:
        EncodeError: the format cannot carry a credential.
        TargetError: the present settings cannot be parsed, and `replace` is not set.

    """
    before = read_present(current, lenient_data)
    if before.lost and not replace:
        raise TargetError(
            "cannot parse the present ECS_ENGINE_AUTH_* settings, so they are not overwritten:"
            f" {before.lost}",
            "run ecsauth check, or discard them with --replace",
            reference="auth-settings-unparsable",
        )
    present = before.credentials
    wanted = {item.match: item for item in desired}
    merged = _merge(present, wanted, replace, dropped)
    credentials = tuple(merged.values())
    view = codec.decode(current)
    kept_type = current.auth_type if current.is_set and not view.fault else ""
    chosen = codec.choose_format(credentials, kept_type) if auth_format == AUTO else auth_format
    result = codec.encode(credentials, chosen)
    changes = _changes(present, wanted, merged)
    same = chosen == current.auth_type and not codec.difference(credentials, view)
    same = same and not before.warnings
    warnings = [*before.warnings, *_advice(credentials, wanted, now)]
    return Plan(result, credentials, changes, changed=not same, warnings=tuple(warnings))


def _merge(
    present: Sequence[Credential],
    wanted: dict[str, Credential],
    replace: bool,
    dropped: Collection[str],
) -> dict[str, Credential]:
    """Replace each present login by the wanted one in place; append the others."""
    merged: dict[str, Credential] = {}
    for item in present:
        match = item.match if item.match in wanted else canonical_match(item)
        if match in wanted:
            merged[match] = wanted[match]
        elif not replace and not {match, item.match} & set(dropped):
            merged[item.match] = item
    return {**merged, **wanted}


def _changes(
    present: Sequence[Credential],
    wanted: dict[str, Credential],
    merged: dict[str, Credential],
) -> tuple[Change, ...]:
    before = {
        item.match if item.match in merged else canonical_match(item): item for item in present
    }
    changes = [
        Change(_kind(before.get(match), match in wanted, item), item)
        for match, item in merged.items()
    ]
    gone = [Change("removed", item) for match, item in before.items() if match not in merged]
    return tuple(changes + gone)


def _kind(before: Credential | None, is_wanted: bool, after: Credential) -> str:
    if before is None:
        return "added"
    if not is_wanted:
        return "kept"
    return "unchanged" if before.same_login(after) else "updated"


def _advice(
    credentials: Sequence[Credential], wanted: dict[str, Credential], now: float
) -> list[str]:
    warnings = []
    for host in missing_host_keys(credentials):
        warnings.append(
            f"{host}: only some of its namespaces have logins; the agent sends one of these for"
            " other images too (a login for the host itself prevents that)"
        )
    for item in credentials:
        if not item.auth_key.is_matchable:
            warnings.append(
                f"{item.registry}: has no dot or port, so the agent takes its images for"
                " Docker Hub images and never uses this login"
            )
        if item.match not in wanted and item.is_expired(now):
            warnings.append(f"{item.registry}: the login kept in the target has expired")
    return warnings
