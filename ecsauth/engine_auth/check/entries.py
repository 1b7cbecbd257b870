"""Check the entries of ECS_ENGINE_AUTH_DATA: keys that never match, logins that are unreadable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.json_text import dumps_ascii, go_trim
from ecsauth.credentials.login_file import decode_entry
from ecsauth.credentials.registry import AuthKey, parse_auth_key, strip_scheme
from ecsauth.engine_auth.check.finding import Finding, error, warning
from ecsauth.engine_auth.codec import DOCKER, DOCKERCFG, EngineAuth, decode, shown_key
from ecsauth.engine_auth.resolve import missing_host_keys
from ecsauth.engine_auth.salvage import lenient_document, lenient_entries
from ecsauth.errors import SourceError

ALL_LOST = "the agent has no credentials at all: private pulls fail"
SOON_SECONDS = 3600
"""An ECR token that expires within this time is reported in advance."""

_LOG_IN = "log in and migrate again"
_DECODE = "decode it into username and password"

QUOTED = re.compile(r"(?P<quote>['\"]).*(?P=quote)", re.DOTALL)


def check_entries(
    settings: EngineAuth, lenient_data: str, line: int, now: float
) -> Iterator[Finding]:
    """Yield findings on the registries' entries, read as their author meant them.

    Args:
        settings: as the agent gets them.
        lenient_data: the data as its author meant it.
        line: where the data is.
        now: Unix seconds.

    """
    entries = lenient_entries(lenient_data)
    yield from _check_members(lenient_data, line)
    yield from _check_entries(settings, entries, line)
    yield from _check_keys(entries, line)
    yield from _check_logins(settings, line, now)


def _check_members(lenient_data: str, line: int) -> Iterator[Finding]:
    document = lenient_document(lenient_data)
    if isinstance(document.get("auths"), dict):
        yield error(
            "outer-auths",
            "the entries are still wrapped in an outer 'auths'",
            ALL_LOST,
            "unwrap them (jq .auths does)",
            line,
            fixable=True,
        )
    entries = document["auths"] if isinstance(document.get("auths"), dict) else document
    for key, entry in entries.items():
        if entry is not None and not isinstance(entry, dict):
            yield error(
                "no-registry",
                f"{shown_key(key)} is not a registry entry",
                ALL_LOST,
                "remove it",
                line,
                fixable=True,
            )


def _check_entries(
    settings: EngineAuth, entries: Mapping[str, Any], line: int
) -> Iterator[Finding]:
    auth_type = go_trim(settings.auth_type).strip("'\"").lower()
    for key, entry in entries.items():
        shown = shown_key(key)
        wrong = _wrong_types(auth_type, entry)
        if wrong:
            yield error(
                "wrong-type",
                f"{shown}: {wrong} is not a string",
                ALL_LOST,
                "remove the entry, or log in and migrate again",
                line,
                fixable=True,
            )
        elif auth_type == DOCKERCFG and not entry.get("auth"):
            yield _no_auth(shown, entry, line)
        elif auth_type == DOCKERCFG:
            yield from _check_base64(key, entry, line)
        elif auth_type == DOCKER and not _has_docker_login(entry):
            yield error(
                "wrong-format" if entry.get("auth") else "no-login",
                f"{shown}: {'auth of the dockercfg format' if entry.get('auth') else 'no login'}",
                "the docker format is username, password or tokens: the agent finds no login",
                _DECODE if entry.get("auth") else _LOG_IN,
                line,
                fixable=bool(entry.get("auth")),
            )


def _no_auth(shown: str, entry: Mapping[str, Any], line: int) -> Finding:
    is_other = any(entry.get(name) for name in ("username", "password", "identitytoken"))
    return error(
        "wrong-format" if is_other else "no-login",
        f"{shown}: no auth in its entry",
        "the dockercfg format is auth alone: the agent finds no login",
        "use ECS_ENGINE_AUTH_TYPE=docker" if is_other else _LOG_IN,
        line,
        fixable=is_other,
    )


def _check_base64(key: str, entry: Mapping[str, Any], line: int) -> Iterator[Finding]:
    shown = shown_key(key)
    if entry.get("identitytoken"):
        yield error(
            "token-ignored",
            f"{shown}: an identity token in the dockercfg format",
            "the agent ignores it and sends the user name alone",
            "use ECS_ENGINE_AUTH_TYPE=docker",
            line,
            fixable=True,
        )
    fields = {"auth": entry["auth"]}
    view = decode(EngineAuth(DOCKERCFG, dumps_ascii({key: fields})))
    altered = any("\ufffd" in part for item in view.credentials for part in item.login)
    if not view.skipped and not altered:
        return
    try:
        decode_entry(parse_auth_key(key), fields)
        fixable, why = True, "is base64 that the agent cannot read (unpadded or URL-safe)"
    except SourceError as fault:
        fixable, why = False, fault.what
    yield error(
        "bad-auth",
        f"{shown}: its auth {why.removeprefix('auth ')}",
        "the agent has no working login for it",
        _LOG_IN,
        line,
        fixable,
    )


def _check_keys(entries: Mapping[str, Any], line: int) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for text in entries:
        shown = shown_key(text)
        try:
            key = parse_auth_key(text)
        except SourceError as fault:
            effect = "the agent never matches it to an image"
            yield error("bad-key", fault.message, effect, fault.hint, line)
            continue
        yield from _check_mended_key(key, shown, line, entries)
        yield from _check_plain_key(key, shown, line)
        if key.match in seen and not key.session:
            yield error(
                "same-registry-twice",
                f"{seen[key.match]} and {shown} are the same registry",
                "the agent picks one at random",
                "remove one of them",
                line,
            )
        seen.setdefault(key.match, shown)


def _check_mended_key(
    key: AuthKey, shown: str, line: int, entries: Iterable[str]
) -> Iterator[Finding]:
    """Yield findings on a key that matches only when corrected."""
    cure = f"write {key.text}"
    if not key.repaired:
        return
    if key.is_docker_hub:
        what = f"{shown} is not Docker Hub's key"
        effect = "the agent looks up only https://index.docker.io/v1/, slash included"
        yield error("hub-key", what, effect, cure, line, fixable=True)
    elif strip_scheme(key.spelled).startswith(f"{key.registry}/"):
        what = f"{shown}: {key.repaired}"
        effect = "the agent finds it only while the registry has no other key"
        fixable = _is_only_key(key, entries)
        yield warning("key-with-path", what, effect, cure, line, fixable)
    else:
        what = f"{shown}: {key.repaired}"
        effect = "the agent never matches it to an image"
        yield error("key-never-matches", what, effect, cure, line, fixable=True)


def _check_plain_key(key: AuthKey, shown: str, line: int) -> Iterator[Finding]:
    """Yield findings on a key that needs no correction."""
    if key.session:
        what = f"{shown} is docker login's own session entry"
        yield warning(
            "session-entry", what, "it is not a registry", "remove it", line, fixable=True
        )
    elif key.repaired:
        return
    elif key.registry.endswith(":443"):
        what = f"{shown} names the default port"
        effect = "the agent uses it only for images that name the port too"
        yield warning("default-port", what, effect, f"add {key.registry[:-4]}", line)
    elif not key.is_matchable:
        what = f"{shown} has no dot or port"
        effect = "the agent treats its images as Docker Hub's"
        yield error("key-never-matches", what, effect, "use the registry's full host name", line)


def _is_only_key(key: AuthKey, entries: Iterable[str]) -> bool:
    same = 0
    for text in entries:
        try:
            same += parse_auth_key(text).registry == key.registry
        except SourceError:
            continue
    return same == 1


def _check_logins(settings: EngineAuth, line: int, now: float) -> Iterator[Finding]:
    view = decode(settings)
    found = [with_known_expiry(item) for item in view.credentials]
    for host in missing_host_keys(item for item in found if not _is_mended(item.auth_key.text)):
        yield warning(
            "only-namespaces",
            f"{host}: only some of its namespaces have logins",
            "for images outside them the agent still sends one of these logins",
            f"add a login for {host} itself",
            line,
        )
    for item in found:
        yield from _check_expiry(item, line, now)


def _is_mended(text: str) -> bool:
    try:
        return bool(parse_auth_key(text).repaired)
    except SourceError:
        return False


def _check_expiry(item: Credential, line: int, now: float) -> Iterator[Finding]:
    if item.is_expired(now):
        yield error(
            "expired",
            f"{item.registry}: its ECR token has expired",
            "pulls with it fail",
            "fetch a new one (an ECR token lives 12 h)",
            line,
        )
    elif item.is_expired(now + SOON_SECONDS):
        minutes = ((item.expires_at or 0) - now) / 60
        yield warning(
            "expires-soon",
            f"{item.registry}: its ECR token expires in {minutes:.0f} min",
            "pulls with it will fail",
            "fetch a new one",
            line,
        )


def _wrong_types(auth_type: str, entry: Mapping[str, Any]) -> str:
    read = (
        ("auth",)
        if auth_type == DOCKERCFG
        else (
            "auth",
            "username",
            "password",
            "email",
            "serveraddress",
            "identitytoken",
            "registrytoken",
        )
    )
    for name, value in entry.items():
        if name.lower() in read and value is not None and not isinstance(value, str):
            return name
    return ""


def _has_docker_login(entry: Mapping[str, Any]) -> bool:
    names = {name.lower() for name, value in entry.items() if value}
    return bool(names & {"username", "password", "identitytoken", "registrytoken"})
