"""Parsing of docker login files and their entries.

Known shapes: docker's ``config.json``, the older ``.dockercfg`` (no outer object), podman's and
skopeo's ``auth.json``, a decoded Kubernetes ``.dockerconfigjson``, the value of the variable
``DOCKER_AUTH_CONFIG``. Sources: docker/cli ``cli/config/configfile/file.go`` and
containers-auth.json(5).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ecsauth.credentials.credential import Credential, check_login
from ecsauth.credentials.json_text import JSONTextError, loads
from ecsauth.credentials.registry import AuthKey
from ecsauth.errors import SourceError, UsageError

_LOGIN_FIELDS = ("auth", "username", "password", "identitytoken", "registrytoken", "email")
_URL_SAFE = str.maketrans("-_", "+/")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


@dataclass(frozen=True)
class DockerConfig:
    """A docker login file with its entries not yet decoded."""

    auths: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """Key as spelled in the file → its raw entry."""

    creds_store: str = ""
    """Name of the credential store for all registries (``docker-credential-NAME``); or empty."""

    cred_helpers: Mapping[str, str] = field(default_factory=dict)
    """Registry → name of its credential helper."""


def parse_document(data: bytes, name: str) -> Any:
    """Parse the bytes of a login file; `name` is its name in errors.

    Raises:
        SourceError: not UTF-8 (names the likely encoding) or not JSON (names line and column).

    """
    for mark, encoding in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")):
        if data.startswith(mark):
            raise SourceError(
                f"{name} is {encoding} text", "save it as UTF-8", reference="login-file-encoding"
            )
    if data.startswith(b"\xef\xbb\xbf"):
        raise SourceError(
            f"{name} starts with a byte order mark, which docker refuses too",
            "save it as UTF-8 without BOM",
            reference="login-file-encoding",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name} is not UTF-8 text (byte {error.start})",
            "save it as UTF-8",
            reference="login-file-encoding",
        ) from None
    if not text.strip():
        raise SourceError(
            f"{name} is empty",
            "log in first: docker login REGISTRY",
            reference="login-file-empty",
        )
    try:
        return loads(text)
    except JSONTextError as error:
        raise SourceError(
            f"{name} is {error}", _other_kind(text), reference="login-file-not-json"
        ) from None


def select(document: Any, expression: str) -> Any:
    """Return what the JMESPath `expression` finds in a JSON value; None if nothing.

    Raises:
        UsageError: the expression is not valid JMESPath or does not fit the document, which is
            not shown.

    """
    if expression == "auths":
        return document.get("auths") if isinstance(document, dict) else None
    import jmespath
    from jmespath.exceptions import JMESPathError

    check_expression(expression)
    try:
        return jmespath.search(expression, document)
    except JMESPathError as error:  # its text contains the value
        raise UsageError(
            f"{expression!r} does not fit the document ({type(error).__name__})",
            "see https://jmespath.org",
            reference="jmespath-mismatch",
        ) from None


def check_expression(expression: str) -> None:
    """Check the syntax of a JMESPath expression.

    Raises:
        UsageError: it is not valid JMESPath.

    """
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{expression!r} is not valid JMESPath: {reason}",
            "see https://jmespath.org",
            reference="jmespath-syntax",
        ) from None


def parse_docker_config(document: Any, name: str, selected: str = "") -> DockerConfig:
    """Read a login file's JSON value.

    Args:
        document: the parsed JSON.
        name: of the file, for errors.
        selected: a JMESPath expression that finds the entries; empty to go by the file's shape.
            The file's credential stores are returned either way.

    Raises:
        SourceError: this is not the shape of a login file.
        UsageError: `selected` is not valid JMESPath.

    """
    if not isinstance(document, dict):
        raise SourceError(
            f"{name} is not a docker login file: it is not a JSON object",
            reference="login-file-shape",
        )
    store, helpers = _creds_store(document, name), _cred_helpers(document, name)
    if selected:
        auths = select(document, selected)
        if auths is None:
            raise SourceError(
                f"--select {selected!r} finds nothing in {name}",
                "choose another path with --select",
                reference="select-empty",
            )
        return DockerConfig(_entries(auths, selected, name), store, helpers)
    if _has_member(document, "auths"):
        auths = _member(document, "auths")
        return DockerConfig(_entries({} if auths is None else auths, "auths", name), store, helpers)
    if store or helpers:
        return DockerConfig({}, store, helpers)
    if _looks_like_dockercfg(document):
        return DockerConfig(auths=document)
    if document.get("kind") == "Secret":
        raise SourceError(
            f"{name} is a Kubernetes Secret",
            "decode its .dockerconfigjson with base64 -d",
            reference="login-file-is-secret",
        )
    raise SourceError(
        f"{name} holds no logins: no auths, credsStore or credHelpers, and it is not a .dockercfg",
        "log in first (docker login REGISTRY), or point to them with --select",
        reference="login-file-empty",
    )


def decode_entry(key: AuthKey, entry: Mapping[str, Any]) -> tuple[Credential | None, str]:
    """Decode one entry of ``auths``.

    As in docker, ``auth`` wins over ``username`` and ``password``. Base64 is read leniently
    (no padding, URL-safe alphabet, white space), because what we write is strict.

    Returns:
        The credential, or None for an entry without a login; and what was repaired in it, in a
        few words, or an empty string.

    Raises:
        SourceError: the entry holds a login that cannot be used.

    """
    folded = {name.casefold(): value for name, value in entry.items()}  # as Go does
    values = {name: _text(key, folded, name) for name in _LOGIN_FIELDS}
    username, password, repaired = values["username"], values["password"], ""
    if values["auth"]:
        username, password, repaired = _decode_auth(key, values["auth"])
    credential = Credential(
        auth_key=key,
        username=username,
        secret=password,
        identity_token=values["identitytoken"],
        registry_token=values["registrytoken"],
        email=values["email"],
    )
    check_login(credential)
    if not any(credential.login):
        return None, ""
    return credential, repaired


def _decode_auth(key: AuthKey, auth: str) -> tuple[str, str, str]:
    again = f"log in again: docker login {key.registry}"
    compact = "".join(auth.split()).translate(_URL_SAFE)
    if not _BASE64.fullmatch(compact) or len(compact.rstrip("=")) % 4 == 1:
        raise _malformed(key, "auth is not base64", again)
    stem = compact.rstrip("=")
    strict = stem + "=" * (-len(stem) % 4)
    try:
        decoded = base64.b64decode(strict).decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed(key, "auth is not UTF-8 text in base64", again) from None
    username, colon, password = decoded.partition(":")
    if not colon:
        raise _malformed(key, "auth has no colon (it is user:password)", again)
    repaired = (
        "" if strict == auth else "rewrote its base64 in the strict form that the agent reads"
    )
    return username, password.strip("\x00"), repaired


def _text(key: AuthKey, entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _malformed(key, f"{name} is not a string")
    return value


def _malformed(key: AuthKey, what: str, hint: str = "") -> SourceError:
    return SourceError(what, hint, subject=key.registry, reference="entry-malformed")


def _member(document: Mapping[str, Any], name: str) -> Any:
    """Return a member by its case-insensitive name, the last of several, as Go does."""
    found = [value for key, value in document.items() if key.casefold() == name.casefold()]
    return found[-1] if found else None


def _has_member(document: Mapping[str, Any], name: str) -> bool:
    return any(key.casefold() == name.casefold() for key in document)


def _entries(auths: Any, where: str, name: str) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(auths, dict):
        raise _wrong_shape(name, f"{where} is not an object of registries")
    for key, entry in auths.items():
        if not isinstance(entry, dict):
            raise _wrong_shape(name, f"the entry of {_shown(key)} is not an object")
    return auths


def _creds_store(document: Mapping[str, Any], name: str) -> str:
    store = _member(document, "credsStore")
    if store is None:
        return ""
    if not isinstance(store, str):
        raise _wrong_shape(name, "credsStore is not a string")
    return store


def _cred_helpers(document: Mapping[str, Any], name: str) -> Mapping[str, str]:
    helpers = _member(document, "credHelpers")
    if helpers is None:
        return {}
    if not isinstance(helpers, dict) or not all(isinstance(v, str) for v in helpers.values()):
        raise _wrong_shape(name, "credHelpers is not an object of helper names")
    return helpers


def _wrong_shape(name: str, what: str) -> SourceError:
    return SourceError(what, subject=name, reference="login-file-shape")


def _looks_like_dockercfg(document: Mapping[str, Any]) -> bool:
    entries = document.values()
    return bool(document) and all(
        isinstance(entry, dict) and any(field.casefold() in _LOGIN_FIELDS for field in entry)
        for entry in entries
    )


def _other_kind(text: str) -> str:
    """Return a hint on what a text that is not JSON may be instead; empty if unknown."""
    if re.search(r"^\s*(export\s+)?ECS_[A-Z_]+=", text, re.MULTILINE):
        return "it looks like an ecs.config: the target goes after --to"
    compact = "".join(text.split())
    if _BASE64.fullmatch(compact) and compact.startswith(
        ("ey", "ew")
    ):  # '{"' or '{' and white space
        return "it looks like base64: decode it first with base64 -d"
    return ""


def _shown(key: str) -> str:
    return "an entry with '@' in its key" if "@" in key else repr(key)
