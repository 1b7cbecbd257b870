"""The two settings, with the eyes of the agent: what it loses without a word."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ecsauth.check.finding import Finding, error, warning
from ecsauth.credential import Credential, with_known_expiry
from ecsauth.docker_config import decode_entry
from ecsauth.engine_auth import (
    AUTH_DATA_KEY,
    AUTH_TYPE_KEY,
    DOCKER,
    DOCKERCFG,
    MAX_AUTH_DATA_BYTES,
    EngineAuth,
    decode,
    missing_host_keys,
    shown_key,
)
from ecsauth.errors import SourceError
from ecsauth.jsontext import JSONTextError, go_trim, loads
from ecsauth.registry import parse_auth_key

SOON_SECONDS = 3600
"""An ECR token that is valid for less than this is reported before it is too late."""

_QUOTED = re.compile(r"(?P<quote>['\"]).*(?P=quote)", re.DOTALL)
_NONE = "the agent has no credentials at all: private pulls fail"


def check_settings(
    settings: EngineAuth, meant_data: str, type_line: int, data_line: int, now: float
) -> Iterator[Finding]:
    """Give what is wrong with the settings as the agent gets them.

    Args:
        settings: as the agent gets them.
        meant_data: the data as their author meant them, joined if spread over lines.
        type_line: where ECS_ENGINE_AUTH_TYPE stands, 0 if nowhere.
        data_line: where ECS_ENGINE_AUTH_DATA stands, 0 if nowhere.
        now: Unix seconds.

    """
    if not settings.is_set:
        return
    entries = _meant_entries(meant_data)
    recoverable = bool(entries)
    yield from _check_type(settings, type_line, recoverable)
    if not settings.auth_data:
        if settings.auth_type:
            yield error(
                "data-missing", f"{AUTH_DATA_KEY} is not set", _NONE,
                "set it: ecsauth migrate", type_line,
            )  # fmt: skip
        return
    yield from _check_text(settings, meant_data, data_line, recoverable)
    yield from _check_size(settings, data_line)
    if entries is None:
        return
    yield from _check_members(meant_data, data_line)
    yield from _check_entries(settings, entries, data_line)
    yield from _check_keys(entries, data_line)
    yield from _check_logins(settings, data_line, now)


def _check_type(settings: EngineAuth, line: int, recoverable: bool) -> Iterator[Finding]:
    auth_type = go_trim(settings.auth_type)
    plain = auth_type.strip("'\"")
    if auth_type in (DOCKERCFG, DOCKER):
        return
    if not auth_type:
        yield error(
            "type-missing", f"{AUTH_TYPE_KEY} is not set", _NONE,
            "set it to dockercfg or docker", line, fixable=recoverable,
        )  # fmt: skip
    elif plain != auth_type and plain in (DOCKERCFG, DOCKER):
        yield error(
            "type-quoted", f"{AUTH_TYPE_KEY} is in quotes", _NONE,
            "remove the quotes", line, fixable=recoverable,
        )  # fmt: skip
    elif plain.lower() in (DOCKERCFG, DOCKER):
        yield error(
            "type-case", f"{AUTH_TYPE_KEY} is not in lower case", _NONE,
            f"write {plain.lower()}", line, fixable=recoverable,
        )  # fmt: skip
    else:
        yield error(
            "type-unknown", f"{AUTH_TYPE_KEY} is neither dockercfg nor docker", _NONE,
            "write dockercfg or docker", line, fixable=recoverable,
        )  # fmt: skip


def _check_text(
    settings: EngineAuth, meant_data: str, line: int, recoverable: bool
) -> Iterator[Finding]:
    data = go_trim(settings.auth_data)
    if _QUOTED.fullmatch(data):
        yield error(
            "data-quoted", f"{AUTH_DATA_KEY} is in quotes", _NONE,
            "remove the quotes", line, fixable=recoverable,
        )  # fmt: skip
    elif recoverable and meant_data != settings.auth_data:
        yield error(
            "data-spread", f"{AUTH_DATA_KEY} is spread over several lines", _NONE,
            "put the JSON on one line (jq -c does)", line, fixable=True,
        )  # fmt: skip
    else:
        try:
            loads(settings.auth_data)
        except JSONTextError as fault:
            yield error(
                "data-not-json", f"{AUTH_DATA_KEY} is {fault}", _NONE,
                "make it anew: ecsauth migrate", line,
            )  # fmt: skip
        else:
            if not recoverable and _meant_entries(meant_data) is None:
                yield error(
                    "data-no-object", f"{AUTH_DATA_KEY} is JSON, but no object", _NONE,
                    "make it anew: ecsauth migrate", line,
                )  # fmt: skip
    if "\\" in settings.auth_data:
        yield warning(
            "backslash", f"{AUTH_DATA_KEY} contains a backslash",
            "ecs-init and docker keep it; a systemd EnvironmentFile loses it",
            "the dockercfg format needs none", line,
        )  # fmt: skip


def _check_size(settings: EngineAuth, line: int) -> Iterator[Finding]:
    size = len(settings.auth_data.encode("utf-8", "surrogateescape"))
    if line and size > MAX_AUTH_DATA_BYTES:
        yield error(
            "data-too-long",
            f"{AUTH_DATA_KEY} is {size:,} bytes",
            f"a variable holds {MAX_AUTH_DATA_BYTES:,}: the agent's container does not start",
            "use ecs.config.json, which has no limit, or the docker format",
            line,
        )


def _check_members(meant_data: str, line: int) -> Iterator[Finding]:
    document = _document(meant_data)
    if isinstance(document.get("auths"), dict):
        yield error(
            "outer-auths", "the outer 'auths' is still around the entries", _NONE,
            "strip it (jq .auths does)", line, fixable=True,
        )  # fmt: skip
    entries = document["auths"] if isinstance(document.get("auths"), dict) else document
    for key, entry in entries.items():
        if entry is not None and not isinstance(entry, dict):
            yield error(
                "no-registry", f"{shown_key(key)} is no registry's entry", _NONE,
                "remove it", line, fixable=True,
            )  # fmt: skip


def _check_entries(
    settings: EngineAuth, entries: Mapping[str, Any], line: int
) -> Iterator[Finding]:
    auth_type = go_trim(settings.auth_type).strip("'\"").lower()
    for key, entry in entries.items():
        shown = shown_key(key)
        wrong = _wrong_types(auth_type, entry)
        if wrong:
            yield error(
                "wrong-type", f"{shown}: {wrong} is not a string", _NONE,
                "remove the entry, or make it anew", line, fixable=True,
            )  # fmt: skip
        elif auth_type == DOCKERCFG and not entry.get("auth"):
            yield _no_auth(shown, entry, line)
        elif auth_type == DOCKERCFG:
            yield from _check_base64(key, entry, line)
        elif auth_type == DOCKER and not _has_docker_login(entry):
            yield error(
                "wrong-format" if entry.get("auth") else "no-login",
                f"{shown}: " + ("an auth of the dockercfg format" if entry.get("auth") else "empty"),
                "in the docker format the agent reads username, password and tokens: no login",
                "decode it into username and password", line, fixable=bool(entry.get("auth")),
            )  # fmt: skip


def _no_auth(shown: str, entry: Mapping[str, Any], line: int) -> Finding:
    is_other = any(entry.get(name) for name in ("username", "password", "identitytoken"))
    return error(
        "wrong-format" if is_other else "no-login",
        f"{shown}: no auth in its entry",
        "in the dockercfg format the agent reads nothing else: no login for it",
        "use ECS_ENGINE_AUTH_TYPE=docker for it" if is_other else "log in and migrate again",
        line,
        fixable=is_other,
    )


def _check_base64(key: str, entry: Mapping[str, Any], line: int) -> Iterator[Finding]:
    shown = shown_key(key)
    if entry.get("identitytoken"):
        yield error(
            "token-ignored", f"{shown}: an identity token in the dockercfg format",
            "the agent ignores it and sends the user name alone",
            "use ECS_ENGINE_AUTH_TYPE=docker", line, fixable=True,
        )  # fmt: skip
    fields = {"auth": entry["auth"]}
    view = decode(EngineAuth(DOCKERCFG, _dumps({key: fields})))
    altered = any("\ufffd" in part for item in view.credentials for part in item.login)
    if not view.skipped and not altered:
        return
    try:
        decode_entry(parse_auth_key(key), fields)
        fixable, why = True, "is base64, but not as the agent reads it (no padding, URL-safe)"
    except SourceError as fault:
        fixable, why = False, fault.message.partition(": ")[2] or fault.message
    yield error(
        "bad-auth", f"{shown}: its auth {why.removeprefix('auth ')}",
        "the agent has no working login for it", "log in and migrate again", line, fixable,
    )  # fmt: skip


def _check_keys(entries: Mapping[str, Any], line: int) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for text in entries:
        shown = shown_key(text)
        try:
            key = parse_auth_key(text)
        except SourceError as fault:
            yield error(
                "bad-key", fault.message, "the agent never matches it with an image",
                fault.hint, line,
            )  # fmt: skip
            continue
        if key.session:
            yield warning(
                "session-entry", f"{shown} is docker login's own session entry",
                "it is no registry", "remove it", line, fixable=True,
            )  # fmt: skip
        elif key.mended and key.match.startswith("index.docker.io"):
            yield error(
                "hub-key", f"{shown} is not Docker Hub's key",
                "the agent looks up https://index.docker.io/v1/ only, slash included",
                f"write {key.text}", line, fixable=True,
            )  # fmt: skip
        elif key.mended:
            yield error(
                "key-never-matches", f"{shown}: {key.mended}",
                "the agent does not find it, or only by luck", f"write {key.text}", line,
                fixable=True,
            )  # fmt: skip
        elif not key.is_matchable:
            yield error(
                "key-never-matches", f"{shown} has no dot or port",
                "the agent takes its images for Docker Hub's", "give the registry a full name",
                line,
            )  # fmt: skip
        if key.match in seen and not key.session:
            yield error(
                "same-registry-twice", f"{seen[key.match]} and {shown} are one registry",
                "the agent takes either, at random", "remove one", line,
            )  # fmt: skip
        seen.setdefault(key.match, shown)


def _check_logins(settings: EngineAuth, line: int, now: float) -> Iterator[Finding]:
    view = decode(settings)
    found = [with_known_expiry(item) for item in view.credentials]
    for host in missing_host_keys(found):
        yield warning(
            "only-namespaces", f"{host}: only namespaces of it have logins",
            "for an image outside of them the agent sends one of these all the same",
            f"add a login for {host} itself", line,
        )  # fmt: skip
    for item in found:
        yield from _check_expiry(item, line, now)


def _check_expiry(item: Credential, line: int, now: float) -> Iterator[Finding]:
    if item.is_expired(now):
        yield error(
            "expired", f"{item.registry}: its ECR token has expired", "pulls with it fail",
            "fetch a new one (an ECR token lives 12 h)", line,
        )  # fmt: skip
    elif item.is_expired(now + SOON_SECONDS):
        minutes = ((item.expires_at or 0) - now) / 60
        yield warning(
            "expires-soon", f"{item.registry}: its ECR token expires in {minutes:.0f} min",
            "pulls with it will fail", "fetch a new one", line,
        )  # fmt: skip


def _wrong_types(auth_type: str, entry: Mapping[str, Any]) -> str:
    read = ("auth",) if auth_type == DOCKERCFG else (
        "auth", "username", "password", "email", "serveraddress", "identitytoken", "registrytoken",
    )  # fmt: skip
    for name, value in entry.items():
        if name.lower() in read and value is not None and not isinstance(value, str):
            return name
    return ""


def _has_docker_login(entry: Mapping[str, Any]) -> bool:
    names = {name.lower() for name, value in entry.items() if value}
    return bool(names & {"username", "password", "identitytoken", "registrytoken"})


def _dumps(value: Mapping[str, Any]) -> str:
    from ecsauth.jsontext import dumps_ascii

    return dumps_ascii(value)


def _document(meant_data: str) -> dict[str, Any]:
    text = go_trim(meant_data)
    if _QUOTED.fullmatch(text):
        text = text[1:-1]
    try:
        document = loads(text)
    except JSONTextError:
        return {}
    return document if isinstance(document, dict) else {}


def _meant_entries(meant_data: str) -> Mapping[str, Any] | None:
    """Return registry → entry as meant; None if there is no JSON object to be found."""
    document = _document(meant_data)
    if isinstance(document.get("auths"), dict):
        document = document["auths"]
    entries = {key: entry for key, entry in document.items() if isinstance(entry, dict)}
    return entries or None


def base64_of(username: str, password: str) -> str:
    """Return the ``auth`` of a login."""
    return base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
