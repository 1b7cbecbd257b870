"""check: each fault named, each fix giving the logins that the author meant."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ecsauth.engine_auth import agent_json
from ecsauth.engine_auth import env_file as ecs_config
from ecsauth.engine_auth.check import (
    ERROR,
    WARNING,
    Surroundings,
    check_agent_json,
    check_env_file,
    fix,
    fix_agent_json,
)
from ecsauth.engine_auth.codec import MAX_AUTH_DATA_BYTES, EngineAuth, decode
from tests.builders import DATA, HOST, b64, ecr_password
from tests.builders import engine_auth_lines as lines

NOW = 1_800_000_000
VECTORS = {
    item["name"]: item for item in json.loads((DATA / "agent-view.json").read_text())["vectors"]
}
HUB = "index.docker.io/v1/"
FAULTS: dict[str, tuple[str, dict[str, str] | None]] = {
    # vector → (the code that names its fault, the logins that its author meant; None: not fixable)
    "data-single-quoted": ("data-quoted", {HUB: "my_name"}),
    "type-upper": ("type-case", {HUB: "my_name"}),
    "data-missing": ("data-missing", None),
    "data-empty-object": ("data-empty", None),
    "bom": ("bom", {HUB: "my_name"}),
    "bom-first-line-other": ("bom", {HUB: "my_name"}),
    "crlf": ("crlf", None),
    "pretty-printed": ("data-spread", {HUB: "my_name"}),
    "outer-auths-kept": ("outer-auths", {HUB: "my_name"}),
    "outer-auths-docker": ("outer-auths", {HUB: "my_name"}),
    "trailing-comma": ("data-not-json", {HUB: "my_name"}),
    "dockercfg:key docker.io": ("hub-key", {HUB: "u"}),
    "dockercfg:key https://docker.io": ("hub-key", {HUB: "u"}),
    "dockercfg:key index.docker.io": ("hub-key", {HUB: "u"}),
    "dockercfg:key https://index.docker.io/v1": ("hub-key", {HUB: "u"}),
    "dockercfg:key https://index.docker.io/v2/": ("hub-key", {HUB: "u"}),
    "dockercfg:key https://ghcr.io/": ("key-with-path", {"ghcr.io": "u"}),
    "dockercfg:key https://ghcr.io/v1/": ("key-with-path", {"ghcr.io": "u"}),
    "dockercfg:key https://ghcr.io/v2/": ("key-with-path", {"ghcr.io": "u"}),
    "dockercfg:key GHCR.IO": ("key-never-matches", {"ghcr.io": "u"}),
    "dockercfg:key ghcr.io:443": ("default-port", None),
    "dockercfg:key ghcr.io/org/": ("only-namespaces", None),
    "dockercfg:key ghcr.io/org/team": ("only-namespaces", None),
    "dockercfg:key ghcr.io/oth": ("only-namespaces", None),
    "dockercfg:no colon": ("bad-auth", None),
    "dockercfg:empty auth": ("no-login", None),
    "dockercfg:no auth field": ("no-login", None),
    "dockercfg:empty entry": ("no-login", None),
    "dockercfg:auth number": ("wrong-type", None),
    "dockercfg:entry string": ("no-registry", {"ghcr.io": "u"}),
    "dockercfg:unpadded": ("bad-auth", {"quay.io": "u"}),
    "dockercfg:b64 with newline": ("backslash", None),
    "dockercfg:identitytoken only": (
        "token-ignored",
        {"quay.io": "00000000-0000-0000-0000-000000000000"},
    ),
    "docker:quotes and backslashes": ("backslash", None),
    "docker:newline in password": ("backslash", None),
    "huge-comment": ("line-too-long", None),
    "dockercfg:one bad of two": ("bad-auth", None),
    "dockercfg:latin1 bytes": ("bad-auth", None),
}


def codes(data: bytes, **around: Any) -> dict[str, str]:
    return {item.code: item.severity for item in check_env_file(data, NOW, Surroundings(**around))}


def logins(data: bytes) -> dict[str, str]:
    view = decode(ecs_config.read_engine_auth(data))
    assert not view.fault
    assert not view.skipped
    return {item.match: item.username for item in view.credentials}


A = {"auth": b64("alice:A")}
B = {"auth": b64("bob:B")}
GOOD = lines("dockercfg", {"q.io": {"auth": b64("u:p")}})


@pytest.mark.parametrize("name", VECTORS)
def test_each_vector_is_judged(name: str) -> None:
    data = VECTORS[name]["ecs_config"].encode()
    findings = check_env_file(data, NOW)
    if name not in FAULTS:
        assert findings == ()
        assert VECTORS[name]["auth"]
        return
    code, lenient = FAULTS[name]
    named = [item for item in findings if item.code == code]
    assert named
    assert any(item.fixable for item in named) is (lenient is not None)
    if not VECTORS[name]["auth"] and code not in ("data-empty", "default-port"):
        assert any(item.severity == ERROR for item in findings)
    assert all(item.effect and item.cure and item.line for item in named)


@pytest.mark.parametrize("name", [name for name, (_, lenient) in FAULTS.items() if lenient])
def test_fix_gives_the_logins_that_the_author_meant(name: str) -> None:
    repaired = fix(VECTORS[name]["ecs_config"].encode())
    assert logins(repaired) == FAULTS[name][1]
    assert not [item for item in check_env_file(repaired, NOW) if item.fixable]
    assert fix(repaired) == repaired


def test_fix_keeps_an_identity_token() -> None:
    repaired = fix(VECTORS["dockercfg:identitytoken only"]["ecs_config"].encode())
    (item,) = decode(ecs_config.read_engine_auth(repaired)).credentials
    assert item.identity_token == "tok"


@pytest.mark.parametrize("name", [name for name in VECTORS if name not in FAULTS])
def test_nothing_is_fixed_where_nothing_is_wrong(name: str) -> None:
    data = VECTORS[name]["ecs_config"].encode()
    lenient = logins(data)
    assert logins(fix(data)) == lenient


@pytest.mark.parametrize(
    ("data", "code", "severity", "fixable"),
    [
        (lines("'dockercfg'", {"q.io": {"auth": "dTpw"}}), "type-quoted", ERROR, True),
        (lines("DOCKER", {"q.io": {"username": "u"}}), "type-case", ERROR, True),
        (lines("basic", {"q.io": {"auth": "dTpw"}}), "type-unknown", ERROR, True),
        (b'ECS_ENGINE_AUTH_DATA={"q.io":{"auth":"dTpw"}}\n', "type-missing", ERROR, True),
        (b"ECS_ENGINE_AUTH_TYPE=docker\n", "data-missing", ERROR, False),
        (lines("docker", "[]"), "data-no-object", ERROR, False),
        (lines("docker", '{"q.io":'), "data-not-json", ERROR, False),
        (lines("docker", {"q.io": {"auth": "dTpw"}}), "wrong-format", ERROR, True),
        (
            lines("dockercfg", {"q.io": {"username": "u", "password": "p"}}),
            "wrong-format",
            ERROR,
            True,
        ),
        (
            lines("dockercfg", {"q.io": {"auth": "dTpw"}, "credsStore": "x"}),
            "no-registry",
            ERROR,
            True,
        ),
        (
            lines("docker", {"q.io": {"username": 5}, "a.io": {"username": "u"}}),
            "wrong-type",
            ERROR,
            False,
        ),
        (lines("docker", {"q.io": {}}), "no-login", ERROR, False),
        (lines("dockercfg", {"q.io": "x"}), "no-registry", ERROR, False),
        (lines("dockercfg", {"a b": {"auth": "dTpw"}}), "bad-key", ERROR, False),
        (lines("dockercfg", {"reg": {"auth": "dTpw"}}), "key-never-matches", ERROR, False),
        (lines("dockercfg", {"HTTPS://q.io": {"auth": "dTpw"}}), "key-never-matches", ERROR, True),
        (
            lines("dockercfg", {"https://q.io": {"auth": "dTpw"}, "q.io": {"auth": b64("v:w")}}),
            "same-registry-twice",
            ERROR,
            False,
        ),
        (
            lines(
                "dockercfg",
                {"q.io": {"auth": "dTpw"}, f"https://{HUB}access-token": {"auth": "dTpw"}},
            ),
            "session-entry",
            WARNING,
            True,
        ),
        (b"export " + GOOD, "export", ERROR, True),
        (GOOD.replace(b"TYPE=", b"TYPE ="), "blanks", ERROR, True),
        (GOOD.replace(b"DATA=", b"DATA = "), "blanks", ERROR, True),
        (b"\xef\xbb\xbf" + GOOD, "bom", ERROR, True),
        (b"\xef\xbb\xbfA=1\n" + GOOD, "bom", WARNING, True),
        (GOOD + b"export A=1\n", "export", WARNING, False),
        (GOOD + b"A =1\n", "odd-name", WARNING, False),
        (GOOD + b'"auth": "x="\n', "odd-name", WARNING, False),
        (GOOD + b"word\n", "no-equals", WARNING, False),
        (GOOD + b"A='x y'\n", "quoted", WARNING, False),
        (GOOD + b"A=x # y\n", "inline-comment", WARNING, False),
        (GOOD + b"A=x\\\n", "trailing-backslash", WARNING, False),
        (GOOD + b"#ECS_ENGINE_AUTH_DATA={}\n", "comment", WARNING, False),
        (GOOD + b"A=\xff\n", "not-utf8", WARNING, False),
        (GOOD + b"A=\0\n", "nul", ERROR, False),
        (GOOD + b"A=" + b"x" * 65_534 + b"\n", "line-too-long", WARNING, False),
        (GOOD + GOOD, "duplicate", WARNING, True),
        (GOOD + b"A=1\nA=2\n", "duplicate", WARNING, False),
        (GOOD.replace(b"\n", b"\r\n"), "crlf", WARNING, False),
        (
            lines("docker", {"q.io": {"username": "x" * MAX_AUTH_DATA_BYTES}}),
            "data-too-long",
            ERROR,
            False,
        ),
    ],
)
def test_fault(data: bytes, code: str, severity: str, fixable: bool) -> None:
    found = [item for item in check_env_file(data, NOW) if item.code == code]
    assert [(item.severity, item.fixable) for item in found][:1] == [(severity, fixable)]
    assert all(item.line for item in found) or code == "type-missing"
    if fixable:
        assert code not in codes(fix(data))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"A=1\n",
        b"# c\n\nA=1\n",
        b"#A=1\n",
        b"A=x#y\n",
        b"A=\n",
        b"A=" + b"x" * 65_533 + b"\n",
        b"A='x\n",
        b'A={"a":1}\n',
        b"A=b=c\n",
        b"NO_PROXY=169.254.169.254,/var/run/docker.sock\n",
    ],
)
def test_ordinary_lines_are_not_reported(text: bytes) -> None:
    assert codes(text + GOOD) == {}


def test_lines_are_named_from_one() -> None:
    data = b"A=1\n\nB='x'\n" + GOOD.replace(b"dockercfg", b"Docker")
    assert [(item.code, item.line) for item in check_env_file(data, NOW)][:2] == [
        ("quoted", 3),
        ("type-case", 4),
    ]


def test_spread_value_is_one_finding_and_not_one_a_line() -> None:
    data = VECTORS["pretty-printed"]["ecs_config"].encode()
    assert set(codes(data)) == {"data-spread"}


@pytest.mark.parametrize(
    ("expiration", "expected"),
    [
        (NOW, {"expired": ERROR}),
        (NOW + 1, {"expires-soon": WARNING}),
        (NOW + 3600, {"expires-soon": WARNING}),
        (NOW + 3601, {}),
    ],
)
def test_expiry_of_ecr_tokens(expiration: int, expected: dict[str, str]) -> None:
    password = ecr_password(expiration)
    assert codes(lines("dockercfg", {HOST: {"auth": b64(f"AWS:{password}")}})) == expected


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ({"mode": 0o600, "is_owned_by_root": True}, {}),
        ({"mode": 0o400, "is_owned_by_root": True}, {}),
        ({"mode": 0o640}, {"mode": WARNING}),
        ({"mode": 0o644}, {"mode": WARNING}),
        ({"is_owned_by_root": False}, {"owner": WARNING}),
        ({"instance_settings": EngineAuth("docker", "{}")}, {"elsewhere": WARNING}),
        ({"json_settings": EngineAuth("docker", "{}")}, {"elsewhere": WARNING}),
    ],
)
def test_surroundings(around: dict[str, Any], expected: dict[str, str]) -> None:
    assert codes(GOOD, **around) == expected


def test_file_without_secrets_may_be_readable() -> None:
    assert codes(b"ECS_CLUSTER=x\n", mode=0o644) == {}


def test_json_file() -> None:
    good = agent_json.write_engine_auth(b"{}", ecs_config.read_engine_auth(GOOD))
    assert check_agent_json(good, NOW) == ()
    overruled = Surroundings(env_file_settings=EngineAuth("docker", "{}"))
    (finding,) = check_agent_json(good, NOW, overruled)
    assert (finding.code, finding.severity) == ("overruled", ERROR)
    (broken,) = check_agent_json(b"{", NOW)
    assert (broken.code, broken.severity) == ("json", ERROR)
    bad = b'{"EngineAuthType": "Docker", "EngineAuthData": {"auths": {"q.io": {"auth": "dTpw"}}}}'
    found = {item.code for item in check_agent_json(bad, NOW)}
    assert {"type-case", "outer-auths"} <= found
    assert check_agent_json(fix_agent_json(bad), NOW) == ()


def test_fix_keeps_foreign_lines_and_the_format() -> None:
    data = (
        b"# c\r\nA=1\r\n" + lines("'docker'", {"q.io": {"username": "u", "password": "p"}}) + b"odd"
    )
    repaired = fix(data)
    assert repaired.startswith(b"# c\r\nA=1\r\n")
    assert repaired.endswith(b"odd")
    assert ecs_config.read_engine_auth(repaired).auth_type == "docker"


@pytest.mark.parametrize(
    "stray",
    [
        f"export ECS_ENGINE_AUTH_DATA={json.dumps({'b.io': B})}",
        "export ECS_ENGINE_AUTH_DATA={}",
        "export ECS_ENGINE_AUTH_DATA=",
        "export ECS_ENGINE_AUTH_DATA=garbage",
        " ECS_ENGINE_AUTH_TYPE = docker",
        "\ufeffECS_ENGINE_AUTH_TYPE=docker",
    ],
)
def test_line_that_is_no_setting_never_replaces_one_that_works(stray: str) -> None:
    data = lines("dockercfg", {"a.io": A}) + f"{stray}\n".encode()
    assert fix(data) == data
    found = [item for item in check_env_file(data, NOW) if item.line == 3]
    assert found
    assert not any(item.fixable or item.severity == ERROR for item in found)


@pytest.mark.parametrize(
    "entries",
    [
        {"a.io": A, "b.io": {"auth": b64("nocolon")}},
        {"a.io": A, "u@d.io": B},
        {"a.io": A, "https://a.io": B},
        {"docker.io/org": A, "index.docker.io/other": B},
        {"a.io": A, "b.io": {"auth": 5, "username": "u", "password": "p"}},
    ],
)
def test_nothing_is_mended_where_a_login_would_be_lost(entries: dict[str, Any]) -> None:
    data = lines('"dockercfg"', entries)
    assert fix(data) == data
    findings = check_env_file(data, NOW)
    assert any(item.severity == ERROR for item in findings)
    assert not any(item.fixable for item in findings)


def test_undecodable_auth_in_docker_format_is_not_emptied() -> None:
    data = lines("docker", {"a.io": {"auth": "!!!"}, "b.io": {"username": "u", "password": "p"}})
    assert fix(data) == data


def test_settings_split_over_two_files_are_merged_as_ecs_init_does() -> None:
    data = f"ECS_ENGINE_AUTH_DATA={json.dumps({'a.io': A})}\n".encode()
    alone = {item.code for item in check_env_file(data, NOW)}
    around = Surroundings(instance_settings=EngineAuth("dockercfg", ""))
    merged = {item.code for item in check_env_file(data, NOW, around)}
    assert "type-missing" in alone
    assert merged == {"elsewhere"}


def test_json_line_is_no_inline_comment() -> None:
    assert codes(GOOD + b'ECS_INSTANCE_ATTRIBUTES={"a": "b # c"}\n') == {}


def test_long_broken_value_is_judged_in_linear_time() -> None:
    begun = time.process_time()
    check_env_file(lines("dockercfg", '{"' + '\\"' * 60_000), NOW)
    assert time.process_time() - begun < 5


def test_findings_never_show_a_secret() -> None:
    secret = "hunter2"
    for data in (
        lines("docker", {"q.io": {"password": [secret]}, f"https://u:{secret}@a.io": {}}),
        lines("docker", f"'{secret}"),
        lines("dockercfg", {"q.io": {"auth": secret}}),
        f"#ECS_ENGINE_AUTH_DATA={secret}\nPASSWORD='{secret}'\n{secret}=1\n".encode(),
        lines(secret, "{}"),
    ):
        found = check_env_file(data, NOW)
        assert found
        assert secret not in repr(found)
