"""The settings file: what is read, refused, warned of; and who counts more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth.errors import UsageError
from ecsauth.host.settings_file import NAMES, load_settings, unknown_names
from tests.builders import ROOT, b64
from tests.conftest import Result, all_commands, command_context

RunProgram = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, mode: int = 0o600) -> Path:
        path = tmp_path / "ecsauth.env"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def test_every_setting_is_known_and_every_known_one_is_a_setting() -> None:
    found = set()
    for name in all_commands():
        parameters = command_context(name).command.params
        found |= {item.envvar for item in parameters if item.envvar}
    assert found == NAMES


def test_sample_names_every_setting_that_belongs_in_a_file() -> None:
    sample = (ROOT / "samples" / "ecsauth.env").read_text()
    named = {line.lstrip("#").partition("=")[0] for line in sample.splitlines() if "=" in line}
    one_off = {"DRY_RUN", "ENV_FILE", "FIX", "FORCE", "FORCE_RESTART", "FROM", "JSON", "OUTPUT"}
    one_off |= {"BASE", "RAW", "UNINSTALL", "WHOLE_FILE"}
    one_off |= {"CLUSTER", "TAG", "MAX_CONCURRENCY", "MAX_ERRORS", "DOCUMENT", "FLEET_TIMEOUT"}
    one_off |= {"REGION", "PROFILE", "ROLE_ARN"}  # of the person who runs fleet refresh
    one_off |= {"BIN_DIR", "LOGOUT", "PRINT", "STORE", "USER"}
    assert {name for name in named if name.startswith("ECSAUTH_")} == NAMES - {
        f"ECSAUTH_{name}" for name in one_off
    }


def test_values_lines_and_other_names(settings: Callable[..., Path]) -> None:
    read = load_settings(
        settings("# c\n\nECSAUTH_FORMAT=docker\nAWS_PROFILE='x y'\n"), required=True
    )
    assert read.values == {"ECSAUTH_FORMAT": "docker", "AWS_PROFILE": "x y"}
    assert read.lines == {"ECSAUTH_FORMAT": 3, "AWS_PROFILE": 4}
    assert read.warnings == ()
    assert "docker" not in repr(read)


def test_nothing_is_interpolated(settings: Callable[..., Path]) -> None:
    read = load_settings(settings("A=$HOME\nB=${HOME}\n"), required=True)
    assert read.values == {"A": "$HOME", "B": "${HOME}"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nonsense\n", 1),
        ("A=1\n\nto be\n", 3),
        ("B\n", 1),
        (";c=1\n", 1),
        ("A=\0\n", 1),
        ("\ufeffA=1\n", 1),
    ],
)
def test_line_that_is_not_a_setting_is_refused(
    settings: Callable[..., Path], text: str, line: int
) -> None:
    path = settings(text)
    with pytest.raises(UsageError, match=f"ecsauth.env:{line}: ") as caught:
        load_settings(path, required=True)
    assert caught.value.reference in ("settings-line-invalid", "settings-file-encoding")


@pytest.mark.parametrize(("mode", "is_refused"), [(0o620, True), (0o602, True), (0o644, False)])
def test_file_that_others_can_write_is_refused(
    settings: Callable[..., Path], mode: int, is_refused: bool
) -> None:
    path = settings("A=1\n", mode)
    if is_refused:
        with pytest.raises(UsageError, match="others can write the settings file"):
            load_settings(path, required=True)
    else:
        assert load_settings(path, required=True).values == {"A": "1"}


def test_absent_file_matters_only_if_it_was_named(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "x", required=False).values == {}
    with pytest.raises(UsageError, match="no such settings file") as caught:
        load_settings(tmp_path / "x", required=True)
    assert caught.value.reference == "settings-file-missing"


def test_unreadable_file_is_refused_with_the_reason(
    settings: Callable[..., Path], tmp_path: Path
) -> None:
    path = settings("A=1\n")
    path.write_bytes(b"A=\xff\n")
    for file, reference in (
        (path, "settings-file-encoding"),
        (tmp_path, "file-not-regular"),
        (path / "x", "settings-file-unreadable"),
    ):
        with pytest.raises(UsageError) as caught:
            load_settings(file, required=True)
        assert caught.value.reference == reference


def test_setting_given_twice_is_warned_of_and_the_last_value_used(
    settings: Callable[..., Path],
) -> None:
    read = load_settings(settings("A=1\nA=2\n"), required=True)
    assert read.values == {"A": "2"}
    assert "2: A is set twice; the last value is used" in read.warnings[0]


def test_unknown_name_is_warned_of_and_the_nearest_named() -> None:
    found = unknown_names(["ECSAUTH_SOURCE", "ECSAUTH_XYZZY", "ECSAUTH_FORMAT", "OTHER"], "here")
    assert found == [
        "here: ECSAUTH_SOURCE is not a setting of ecsauth and is ignored;"
        " did you mean ECSAUTH_SOURCES?",
        "here: ECSAUTH_XYZZY is not a setting of ecsauth and is ignored",
    ]


@pytest.fixture
def sample(login_file: Callable[..., Path]) -> Path:
    return login_file({"q.io": {"auth": b64("u:p")}})


def test_option_before_variable_before_file_before_default(
    ecsauth: RunProgram,
    settings: Callable[..., Path],
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = settings("ECSAUTH_OUTPUT=data\nECSAUTH_FORMAT=docker\n")
    command = ("convert", sample, "--env-file", path)
    assert ecsauth("convert", sample).out.startswith("ECS_ENGINE_AUTH_TYPE=dockercfg")
    assert ecsauth(*command).out.startswith('{"q.io":{"username"')
    monkeypatch.setenv("ECSAUTH_FORMAT", "dockercfg")
    assert ecsauth(*command).out.startswith('{"q.io":{"auth"')
    assert ecsauth(*command, "--format=docker").out.startswith('{"q.io":{"username"')


def test_file_is_named_by_a_variable_or_disabled(
    ecsauth: RunProgram,
    settings: Callable[..., Path],
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ECSAUTH_ENV_FILE", str(settings("ECSAUTH_OUTPUT=data\n")))
    assert ecsauth("convert", sample).out.startswith("{")
    assert ecsauth("convert", sample, "--env-file", "").out.startswith("ECS_")


def test_environment_is_as_before_when_the_command_ends(
    ecsauth: RunProgram, settings: Callable[..., Path], sample: Path
) -> None:
    ecsauth("convert", sample, "--env-file", settings("ECSAUTH_OUTPUT=data\nNEW=1\n"))
    assert not {"ECSAUTH_OUTPUT", "NEW"} & set(os.environ)


def test_bad_value_is_refused_with_its_file_and_line(
    ecsauth: RunProgram,
    settings: Callable[..., Path],
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = settings("\nECSAUTH_FORMAT=yaml\n")
    result = ecsauth("convert", sample, "--env-file", path)
    assert result.code == 2
    assert f"error: {path}:2: Invalid value for '--format'" in result.err
    monkeypatch.setenv("ECSAUTH_FORMAT", "toml")
    result = ecsauth("convert", sample, "--env-file", path)
    assert f"{path}:2" not in result.err
    assert "ECSAUTH_FORMAT" in result.err


def test_misspelled_name_is_warned_of_by_every_command(
    ecsauth: RunProgram,
    settings: Callable[..., Path],
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ECSAUTH_FORMATS", "docker")
    result = ecsauth("convert", sample, "--env-file", settings("ECSAUTH_TARGET=x\n"))
    assert result.code == 0
    warnings = [line for line in result.err.splitlines() if ": warning: " in line]
    assert len(warnings) == 2
    assert "the environment: ECSAUTH_FORMATS is not a setting" in warnings[0]
    assert "ECSAUTH_TARGET is not a setting of ecsauth and is ignored" in warnings[1]
    assert "did you mean ECSAUTH_TARGETS?" in warnings[1]


def test_sources_and_targets_are_blank_separated(
    ecsauth: RunProgram,
    settings: Callable[..., Path],
    login_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    one = login_file({"one.io": {"auth": b64("u:p")}}, "one.json")
    two = login_file({"two.io": {"auth": b64("u:p")}}, "two.json")
    files = [tmp_path / "a.config", tmp_path / "b.json"]
    path = settings(f'ECSAUTH_SOURCES="{one}  {two}"\nECSAUTH_TARGETS="{files[0]} {files[1]}"\n')
    assert ecsauth("refresh", "--env-file", path).code == 0
    for file in files:
        assert "one.io" in file.read_text()
        assert "two.io" in file.read_text()
