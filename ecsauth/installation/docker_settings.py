"""Add the helper to docker's ``config.json`` or remove it; all other members are kept.

Sources of the rules: docker/cli ``cli/config/configfile/file.go`` (``credHelpers`` names a helper
for one registry, ``credsStore`` one for all; member names in any case, as Go reads them) and the
troubleshooting section of the Amazon ECR credential helper (a login left in ``auths``).
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
    """The wanted state.

    Attributes:
        registries: hosts for which the helper is used.
        is_store: use it for all registries.
        logs_out: remove logins left in ``auths``.

    """

    registries: tuple[str, ...] = ()
    is_store: bool = False
    logs_out: bool = False


@dataclass
class Edited:
    """The new text, with `changes` and `warnings` as lines to print; same text if no changes."""

    text: bytes = field(repr=False)
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def put_in(data: bytes, wanted: Wanted, name: str) -> Edited:
    """Return the text with the helper added.

    Args:
        data: content of ``config.json``; empty if there is none.
        wanted: the wanted state.
        name: name of the file, for messages.

    Raises:
        TargetError: docker could not read the file, or it names another credsStore.

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
                edited.changes.append(f"credHelpers: set {host} to {HELPER}{before}")
                helpers[host] = HELPER
        members[_spelled(members, "credHelpers")] = helpers
    _clear_auths(members, wanted, edited, name)
    return _finished(members, edited)


def take_out(data: bytes, registries: Iterable[str], name: str) -> Edited:
    """Return the text with the helper removed.

    Args:
        data: content of ``config.json``.
        registries: hosts for which to remove it; empty for all, and the store.
        name: name of the file, for messages.

    Raises:
        TargetError: docker could not read the file.

    """
    members = _parse(data, name)
    edited = Edited(data)
    only = set(registries)
    helpers = _object(members, "credHelpers", name)
    for host in [host for host, helper in helpers.items() if helper == HELPER]:
        if not only or host in only:
            del helpers[host]
            edited.changes.append(f"credHelpers: remove {host}")
    if edited.changes:
        spelled = _spelled(members, "credHelpers")
        members[spelled] = helpers
        if not helpers:
            del members[spelled]
    store = _spelled(members, "credsStore")
    if not only and members.get(store) == HELPER:
        del members[store]
        edited.changes.append(f"credsStore: remove {HELPER}")
    return _finished(members, edited)


def _put_store(members: dict[str, Any], edited: Edited, name: str) -> None:
    spelled = _spelled(members, "credsStore")
    present = members.get(spelled)
    if present == HELPER:
        return
    if present:
        raise TargetError(
            f"credsStore is already set to {_shown(present)}",
            "name the registries instead of using --store; that leaves credsStore as it is",
            subject=name,
            reference="docker-store-taken",
        )
    members[spelled] = HELPER
    edited.changes.append(f"credsStore: set to {HELPER}")


def _clear_auths(members: dict[str, Any], wanted: Wanted, edited: Edited, name: str) -> None:
    """Remove logins in ``auths`` that would be used instead of the helper, or warn of them."""
    auths = _object(members, "auths", name)
    found = [key for key, entry in auths.items() if _is_ours(key, wanted) and _has_login(entry)]
    for key in found:
        if wanted.logs_out:
            del auths[key]
            edited.changes.append(f"auths: remove the login for {_host(key)}")
        else:
            edited.warnings.append(
                f"{name}: some programs use its login for {_host(key)} instead of the helper, even"
                f" after it has expired; remove it with --logout"
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
        raise _invalid(f"{name} is not UTF-8 text") from None
    except JSONTextError as error:
        raise _invalid(f"{name} is {error}") from None
    if not isinstance(document, dict):
        raise _invalid(f"{name} is not a JSON object")
    names = [member.casefold() for member, _ in pairs]
    for wanted in ("auths", "credHelpers", "credsStore"):
        if names.count(wanted.casefold()) > 1:
            raise TargetError(
                f"{name} has more than one {wanted}",
                "merge them into one first",
                reference="docker-config-duplicate",
            )
    return document


def _invalid(fault: str) -> TargetError:
    hint = "correct it first; docker cannot read it either"
    return TargetError(fault, hint, reference="docker-config-invalid")


def _object(members: dict[str, Any], wanted: str, name: str) -> dict[str, Any]:
    value = members.get(_spelled(members, wanted))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(f"{name}: {wanted} is not a JSON object")
    return dict(value)


def _spelled(members: dict[str, Any], wanted: str) -> str:
    """Return a member's name as spelled in the file; Go accepts any case."""
    found = [name for name in members if name.casefold() == wanted.casefold()]
    return found[-1] if found else wanted


def _shown(value: Any) -> str:
    is_name = isinstance(value, str) and value.isascii() and value.isprintable()
    return value if is_name and len(value) < 60 else "something else"
