"""A secret goes through every command, on success and failure, and shows up nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.builders import b64, engine_auth_lines
from tests.conftest import Result, all_commands, command_context

RunProgram = Callable[..., Result]
SECRET = "c4n4ry-0f-the-m1ne"
FORMS = (
    SECRET,
    b64(f"u:{SECRET}"),
    b64(f"u:{SECRET}")[4:-4],
    b64(SECRET)[:-3],
    SECRET.encode().hex(),
)


def _lines(auth_type: str, auth_data: str) -> str:
    return engine_auth_lines(auth_type, auth_data).decode()


TARGETS = {
    "new": None,
    "plain": "ECS_CLUSTER=x\n",
    "same": _lines("dockercfg", json.dumps({"q.io": {"auth": FORMS[1]}})),
    "broken": _lines("docker", f"{{'{SECRET}'"),
    "quoted": _lines("docker", f"'{json.dumps({'q.io': SECRET})}'"),
    "odd keys": _lines("docker", json.dumps({f"https://u:{SECRET}@q.io": {"password": SECRET}})),
    "odd fields": _lines("docker", json.dumps({"q.io": {"password": [SECRET]}})),
    "in the type": f"ECS_ENGINE_AUTH_TYPE=dockercfg ECS_ENGINE_AUTH_DATA={SECRET}\n",
    "swapped": _lines(json.dumps({"q.io": {"auth": FORMS[1]}}), "dockercfg"),
    "directory": "",
}
LOGINS = {
    "good": {"auths": {"q.io": {"auth": FORMS[1]}}},
    "fields": {"auths": {"q.io": {"username": "u", "password": SECRET}}},
    "token": {"auths": {"q.io": {"identitytoken": SECRET}}},
    "newline": {"auths": {"q.io": {"auth": b64(f"u:{SECRET}\n")}}},
    "no colon": {"auths": {"q.io": {"auth": b64(SECRET)}}},
    "no base64": {"auths": {"q.io": {"auth": f"{SECRET}!"}}},
    "wrong type": {"auths": {"q.io": {"auth": [SECRET]}}},
    "user info": {"auths": {f"https://u:{SECRET}@q.io": {"auth": FORMS[1]}}},
    "odd shape": {"auths": {"q.io": SECRET}},
    "elsewhere": {"q.io": {"auth": FORMS[1]}, "x": SECRET},
    "twice": {"auths": {"https://q.io": {"auth": FORMS[1]}, "q.io": {"auth": b64(f"v:{SECRET}")}}},
    "helper": {"credHelpers": {"q.io": "talks"}},
    "store": {"credsStore": "babbles"},
    "failing helper": {"credHelpers": {"q.io": "fails"}},
}


def assert_silent(text: str) -> None:
    for form in FORMS:
        assert form not in text


@pytest.fixture(params=LOGINS)
def login(
    request: pytest.FixtureRequest, tmp_path: Path, helpers: Callable[[str, str], Path]
) -> Path:
    helpers("talks", f"""echo '{{"Username":"u","Secret":"{SECRET}"}}'""")
    helpers("babbles", f"echo {SECRET}; echo {SECRET} >&2")
    helpers("fails", f"""echo '{{"Username":"u","Secret":"{SECRET}"}}'; exit 1""")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LOGINS[request.param]))
    return path


@pytest.mark.parametrize("auth_format", ["auto", "dockercfg", "docker"])
@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("before", TARGETS)
def test_migrate_is_silent_about_secrets(
    ecsauth: RunProgram, login: Path, tmp_path: Path, before: str, dry: bool, auth_format: str
) -> None:
    target = tmp_path / "etc"
    target.mkdir()
    if before != "directory":
        target = target / "ecs.config"
        if TARGETS[before] is not None:
            target.write_text(str(TARGETS[before]))
            target.chmod(0o600)
    result = ecsauth("migrate", login, "--to", target, "--format", auth_format, *(["-n"] * dry))
    assert result.code in (0, 3, 4)
    assert_silent(result.out + result.err)
    for path in (tmp_path / "etc").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        assert path.name.removeprefix(".").startswith("ecs.config")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("before", TARGETS)
def test_refresh_is_silent_about_secrets(
    ecsauth: RunProgram, login: Path, tmp_path: Path, before: str, log_format: str
) -> None:
    target = tmp_path / "ecs.config"
    state, metrics = tmp_path / "state", tmp_path / "ecsauth.prom"
    if before == "directory":
        target.mkdir()
    elif TARGETS[before] is not None:
        target.write_text(str(TARGETS[before]))
    for options in ([], ["--force"], ["-n"], ["--replace", "--prune-expired"], ["--json"]):
        result = ecsauth(
            *("refresh", login, "--to", target, "-v", "--log-format", log_format, *options),
            *("--state-dir", state, "--prometheus", metrics),
        )
        assert result.code in (0, 3, 4)
        assert_silent(result.out + result.err)
    for path in (*state.iterdir(), metrics):
        assert_silent(path.read_text())


@pytest.mark.parametrize("before", TARGETS)
def test_check_and_explain_are_silent_about_secrets(
    ecsauth: RunProgram, tmp_path: Path, before: str
) -> None:
    target = tmp_path / "ecs.config"
    target.write_text(TARGETS[before] or "")
    for arguments in (
        ("check", target),
        ("check", target, "--json"),
        ("explain", "q.io/app", "--from", target),
        ("status", target),
        ("status", target, "--json"),
        ("explain", "q.io/app", "nginx", "--from", target, "--json"),
        ("check", target, "--fix"),
    ):
        result = ecsauth(*arguments)
        assert result.code in (0, 7)
        assert_silent(result.out + result.err)


def test_convert_is_silent_on_stderr(ecsauth: RunProgram, login: Path) -> None:
    for options in ([], ["--format=docker"], ["--output=data"], ["--select=auths"]):
        assert_silent(ecsauth("convert", login, *options).err)
    assert_silent(ecsauth("convert", "--raw", login).err)
    for expression in ("keys(auths.*)", "max(@)", "join(',', auths)", "length(x)"):
        result = ecsauth("convert", login, "--select", expression)
        assert result.code in (2, 3)
        assert_silent(result.out + result.err)


def test_the_canary_is_seen_where_it_belongs(ecsauth: RunProgram, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LOGINS["fields"]))
    with pytest.raises(AssertionError):
        assert_silent(ecsauth("convert", path).out)
    with pytest.raises(AssertionError):
        assert_silent(ecsauth("convert", path, "--format=docker").out)


@pytest.mark.parametrize("name", all_commands())
def test_login_file_s_text_in_place_of_any_value_is_not_echoed(
    ecsauth: RunProgram, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The values of each argument and option are read, and then nothing is done."""
    command = command_context(name).command
    monkeypatch.setattr(command, "callback", lambda *_, **__: 0)
    text = json.dumps(LOGINS["good"])
    for parameter in command.params:
        is_option = isinstance(parameter, click.Option)
        value = f"{parameter.opts[-1]}={text}" if is_option else text
        result = ecsauth(*name.split(), value)
        assert_silent(result.out + result.err)


@pytest.mark.parametrize("name", all_commands())
def test_unexpected_error_shows_neither_traceback_nor_value(
    ecsauth: RunProgram, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError(SECRET)

    command = command_context(name).command
    monkeypatch.setattr(command, "callback", fail)
    required = ["x" for item in command.params if item.required]
    result = ecsauth(*name.split(), *required)
    assert result.code == 1
    assert result.err.startswith("ecsauth: error: unexpected: KeyError at test_canary.py:")
    assert_silent(result.err)
