"""Strategies of hypothesis for everything that comes in from outside, and seeds to mutate."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from ecsauth.credentials.credential import Credential, check_login
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.errors import SourceError
from tests.builders import DATA, ROOT, b64

CONTROLS = "\0\x07\x08\t\n\x0b\x0c\r\x1b\x7f\x85\x9b\x9d\u2028\u2029\u202e\u2066\u200b\ufeff"
ODD = (
    *("", " ", "=", "'", '"', "\\", "p\\", "'x'", '"x"', "a # b", "#", "$HOME", "${HOME}", "%n"),
    *("$(id)", "`id`", "%i", "\x1b[2J", "\x1b]52;c;eA==\x07", "\x9b31m", "\u202egpj", "\u2066x"),
    *(
        "a\nECS_CLUSTER=x",
        "a\rb",
        "a\x0bb",
        "a\x0cb",
        "a\x85b",
        "a\u2028b",
        "a\0b",
        "\ufffd",
        "ü€😀",
    ),
)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
_ANY = st.text(max_size=30)
TEXT = _TEXT | st.sampled_from(ODD) | st.text(CONTROLS + "a=\"'\\#", max_size=12)

_HOST = st.from_regex(r"[a-z0-9]{1,6}\.[a-z]{2,3}(:[0-9]{2,5})?", fullmatch=True)
_ECR = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
KEYS = (
    st.builds("{}{}{}".format, st.sampled_from(["", "https://", "HTTP://"]), _HOST, TEXT)
    | st.sampled_from(
        [_ECR, "public.ecr.aws", "docker.io", "https://index.docker.io/v1/", "localhost"]
    )
    | TEXT
)
NAMES = (
    st.builds("{}/{}:{}".format, KEYS, TEXT, TEXT)
    | st.builds("https://{}/v2/{}".format, KEYS, TEXT)
    | KEYS
    | _ANY
)
"""Of registries, images and servers."""

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
_AUTH = st.builds(lambda user, word: b64(f"{user}:{word}"), _TEXT, TEXT.filter(str.isascii)) | TEXT
_FIELDS = ("auth", "AUTH", "username", "password", "identitytoken", "registrytoken", "email")
ENTRIES = st.dictionaries(st.sampled_from(_FIELDS) | TEXT, _AUTH | TEXT | JSON, max_size=4) | JSON
AUTHS = st.dictionaries(KEYS, ENTRIES, max_size=4)
_MEMBERS = {"credsStore": TEXT | JSON, "credHelpers": st.dictionaries(KEYS, TEXT) | JSON}
_LOGIN_DOCUMENTS = st.fixed_dictionaries({"auths": AUTHS | JSON}, optional=_MEMBERS) | AUTHS | JSON


def _dumped(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


LOGIN_FILES = _LOGIN_DOCUMENTS.map(_dumped) | st.binary(max_size=200)

_SETTING = st.sampled_from(
    ["ECS_ENGINE_AUTH_TYPE", "ECS_ENGINE_AUTH_DATA", "ECS_CLUSTER", "#A", " "]
)
_VALUE = TEXT | st.sampled_from(["docker", "dockercfg", "{", "}", "\\"]) | AUTHS.map(json.dumps)
_LINE = st.builds("{}={}".format, _SETTING, _VALUE) | TEXT
ECS_CONFIGS = st.lists(_LINE, max_size=6).flatmap(
    lambda lines: st.sampled_from(["\n", "\r\n", "\\\n"]).map(
        lambda end: end.join(lines).encode("utf-8", "surrogatepass")
    )
) | st.binary(max_size=200)

AGENT_JSONS = st.fixed_dictionaries(
    {},
    optional={
        "EngineAuthType": TEXT | JSON,
        "engineauthtype": st.sampled_from(["docker", "dockercfg"]),
        "EngineAuthData": AUTHS | JSON,
        "Cluster": JSON,
    },
).map(_dumped) | st.binary(max_size=200)

_SCHEMES = (
    "docker-config:",
    "env:",
    "ecr:",
    "ecr-public:",
    "secretsmanager:",
    "ssm:",
    "s3://",
    "-",
)
_PARAMETERS = ("profile", "role_arn", "external_id", "region", "registry", "query", "username", "x")
_PARAMETER = st.builds("{}={}".format, st.sampled_from(_PARAMETERS), TEXT | NAMES)
PLACES = (
    st.builds(
        "{}{}?{}".format,
        st.sampled_from(_SCHEMES) | TEXT,
        NAMES | TEXT,
        st.lists(_PARAMETER, max_size=3).map("&".join),
    )
    | st.builds("{}{}".format, st.sampled_from(_SCHEMES), TEXT | NAMES)
    | _ANY
)
"""Of SOURCE and TARGET."""

SECRETS = (
    st.fixed_dictionaries({}, optional={"username": TEXT | JSON, "password": TEXT | JSON}).map(
        json.dumps
    )
    | _LOGIN_DOCUMENTS.map(json.dumps)
    | TEXT
)

_ASSIGNED = st.builds(
    "{}={}".format,
    st.sampled_from(["ECSAUTH_FORMAT", "ECSAUTH_X", "AWS_PROFILE", "export A"]),
    TEXT,
)
SETTINGS_FILES = st.lists(_ASSIGNED | TEXT, max_size=5).map(
    lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
) | st.binary(max_size=200)


def _usable(item: Credential) -> bool:
    try:
        check_login(item)
    except SourceError:
        return False
    return any(item.login)


_MATCHED = st.from_regex(r"[a-z0-9]{1,6}\.[a-z]{2,3}(:[0-9]{2,5})?(/[a-z]{1,4})?", fullmatch=True)
_PART = _TEXT | st.sampled_from(ODD)
CREDENTIALS = st.lists(
    st.builds(
        Credential,
        _MATCHED.map(parse_auth_key),
        username=_PART,
        secret=_PART,
        identity_token=st.just("") | _PART,
        registry_token=st.just("") | _PART,
        email=_PART,
    ).filter(_usable),
    min_size=1,
    max_size=4,
    unique_by=lambda item: item.match,
)
"""What a source could give: one login for each key."""


def seeds() -> list[bytes]:
    """Return texts to begin from: of the samples, and those that the agent has read."""
    vectors = json.loads((DATA / "agent-view.json").read_text())
    found = {item.encode("utf-8", "surrogateescape") for item in _strings(vectors)}
    samples = ROOT / "samples"
    found |= {path.read_bytes() for path in samples.glob("*.json")}
    found |= {(samples / "ecsauth.env").read_bytes(), *(item.encode() for item in ODD)}
    names = (_ECR, f"https://{_ECR}/v2/", "ecr:us-west-2", "s3://fleet/ecs.config?region=us-west-2")
    return sorted(found | {item.encode() for item in names})


def _strings(value: Any) -> list[str]:
    """Return every string in a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [text for item in value for text in _strings(item)] if isinstance(value, list) else []
