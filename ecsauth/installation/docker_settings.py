"""The helper's place in docker's ``config.json``: put in and taken out, all else kept.

Sources of the rules: docker/cli ``cli/config/configfile/file.go`` (``credHelpers`` names a helper
for one registry, ``credsStore`` one for all; member names in any case, as Go reads them) and the
troubleshooting section of the Amazon ECR credential helper (a login left over in ``auths``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ecsauth.credentials.json_text import JSONTextError, dumps_spelled, loads_spelled, plain
from ecsauth.credentials.registry import is_ecr_public, parse_auth_key, parse_ecr_host
from ecsauth.errors import RegistryNameError, TargetError

HELPER = "ecr-login"
"""The name in ``credHelpers``; the program is ``docker-credential-ecr-login``."""

_SECRETS = frozenset({"auth", "password", "identitytoken", "registrytoken"})


@dataclass(frozen=True)
class Wanted:
    """What is to be so.

    Attributes:
        registries: hosts that the helper is for.
        is_store: it is for all registries.
        logs_out: logins left over in ``auths`` go.

    """

    registries: tuple[str, ...] = ()
    is_store: bool = False
    logs_out: bool = False


@dataclass
class Edited:
    """The new text; `changes` and `warnings` are lines for people. No changes: the same text."""

    text: bytes = field(repr=False)
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def put_in(data: bytes, wanted: Wanted, name: str) -> Edited:
    """Return the text with the helper in it.

    Args:
        data: of ``config.json``; empty if there is none.
        wanted: what is to be so.
        name: of the file, for errors.

    Raises:
        TargetError: it is no JSON object, or another store has the place.

    """
    members = _parse(data, name)
    edited = Edited(data)
    if wanted.is_store:
        _put_store(members, edited, name)
    if wanted.registries:
        helpers = _object(members, "credHelpers", name)
        for host in wanted.registries:
            if helpers.get(host) != HELPER:
                before = f" (was {_shown(helpers[host])})" if host in helpers else ""
                edited.changes.append(f"credHelpers: {host} is {HELPER}{before}")
                helpers[host] = HELPER
        members[_spelled(members, "credHelpers")] = helpers
    _treat_left_over(members, wanted, edited, name)
    return _finished(members, edited)


def take_out(data: bytes, registries: Iterable[str], name: str) -> Edited:
    """Return the text without the helper.

    Args:
        data: of ``config.json``.
        registries: where it is to go; none for everywhere.
        name: of the file, for errors.

    Raises:
        TargetError: it is no JSON object.

    """
    members = _parse(data, name)
    edited = Edited(data)
    only = set(registries)
    helpers = _object(members, "credHelpers", name)
    for host in [host for host, helper in helpers.items() if helper == HELPER]:
        if not only or host in only:
            del helpers[host]
            edited.changes.append(f"credHelpers: {host} is taken out")
    if edited.changes:
        spelled = _spelled(members, "credHelpers")
        members[spelled] = helpers
        if not helpers:
            del members[spelled]
    store = _spelled(members, "credsStore")
    if not only and members.get(store) == HELPER:
        del members[store]
        edited.changes.append("credsStore is taken out")
    return _finished(members, edited)


def _put_store(members: dict[str, Any], edited: Edited, name: str) -> None:
    spelled = _spelled(members, "credsStore")
    present = members.get(spelled)
    if present == HELPER:
        return
    if present:
        raise TargetError(
            f"{name}: credsStore is {_shown(present)} already",
            "name the registries instead of --store: credHelpers leave it alone",
        )
    members[spelled] = HELPER
    edited.changes.append(f"credsStore is {HELPER}")


def _treat_left_over(members: dict[str, Any], wanted: Wanted, edited: Edited, name: str) -> None:
    """Find logins in ``auths`` that are used in the helper's place; drop them if asked to."""
    auths = _object(members, "auths", name)
    found = [key for key, entry in auths.items() if _is_ours(key, wanted) and _has_login(entry)]
    for key in found:
        if wanted.logs_out:
            del auths[key]
            edited.changes.append(f"auths: the login for {_host(key)} is taken out")
        else:
            edited.warnings.append(
                f"{name} holds a login for {_host(key)}, which some programs use in the helper's"
                f" place even when it has expired: --logout takes it out"
            )
    if found and wanted.logs_out:
        members[_spelled(members, "auths")] = auths


def _finished(members: dict[str, Any], edited: Edited) -> Edited:
    if edited.changes:
        edited.text = f"{dumps_spelled(members, indent=chr(9))}\n".encode("ascii")
    return edited


def _is_ours(key: str, wanted: Wanted) -> bool:
    host = _host(key)
    is_ecr = parse_ecr_host(host) is not None or is_ecr_public(host)
    return host in wanted.registries or (wanted.is_store and is_ecr)


def _host(key: str) -> str:
    try:
        return parse_auth_key(key).registry
    except RegistryNameError:
        return ""


def _has_login(entry: Any) -> bool:
    return isinstance(entry, dict) and any(
        value for name, value in entry.items() if name.casefold() in _SECRETS
    )


def _parse(data: bytes, name: str) -> dict[str, Any]:
    if not data.strip():
        return {}
    try:
        pairs = loads_spelled(data.decode("utf-8"))
        document = plain(pairs)
    except UnicodeDecodeError:
        raise TargetError(f"{name} is not UTF-8 text", "docker cannot read it either") from None
    except JSONTextError as error:
        raise TargetError(f"{name} is {error}", "mend it first: docker cannot read it") from None
    if not isinstance(document, dict):
        raise TargetError(f"{name} is not a JSON object", "mend it first: docker cannot read it")
    names = [member.casefold() for member, _ in pairs]
    for wanted in ("auths", "credHelpers", "credsStore"):
        if names.count(wanted.casefold()) > 1:
            raise TargetError(f"{name} has {wanted} more than once", "make it one first")
    return document


def _object(members: dict[str, Any], wanted: str, name: str) -> dict[str, Any]:
    value = members.get(_spelled(members, wanted))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TargetError(f"{name}: {wanted} is not an object", "mend it first")
    return dict(value)


def _spelled(members: dict[str, Any], wanted: str) -> str:
    """Return the name of a member as the file spells it; Go reads it in any case."""
    found = [name for name in members if name.casefold() == wanted.casefold()]
    return found[-1] if found else wanted


def _shown(value: Any) -> str:
    is_name = isinstance(value, str) and value.isascii() and value.isprintable()
    return value if is_name and len(value) < 60 else "something else"
