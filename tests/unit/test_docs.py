"""README and --help tell the truth: compared, not believed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import click
import pytest

from ecsauth import __version__, errors
from tests.builders import ROOT
from tests.conftest import Result, all_commands, command_context

README = (ROOT / "README.md").read_text()


def help_text(name: str) -> str:
    context = command_context(name)
    return context.command.get_help(context)


def error_classes(root: type[errors.EcsauthError]) -> Iterator[type[errors.EcsauthError]]:
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def without_click_s_differences(text: str) -> str:
    """Drop blanks and the range note, which click's versions print differently."""
    return re.sub(r"[\s\]\[;,]|\d*\.?\d*<=x<=\d+", "", text)


@pytest.mark.parametrize("name", all_commands())
def test_readme_has_the_help_of_each_command(name: str) -> None:
    shown = re.search(
        rf"<!-- help: {name} -->\n+```console\n\$ ecsauth {name} --help\n(.*?)```",
        README,
        re.DOTALL,
    )
    assert shown, f"README lacks the help of {name}:\n{help_text(name)}"
    assert without_click_s_differences(shown[1]) == without_click_s_differences(help_text(name))


def test_readme_has_every_exit_code() -> None:
    rows = {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    assert rows == {0, *(item.exit_code for item in error_classes(errors.EcsauthError))}


def test_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"(\w+Error) +(\d)", errors.__doc__ or "")
    real = [(item.__name__, str(item.exit_code)) for item in error_classes(errors.EcsauthError)]
    assert drawn == real


def test_every_option_has_its_variable() -> None:
    for name in all_commands():
        for parameter in command_context(name).command.params:
            if isinstance(parameter, click.Option) and parameter.name != "help":
                assert parameter.envvar, parameter.name
                assert str(parameter.envvar).startswith("ECSAUTH_")


def test_first_command_of_the_readme_prints_what_it_shows(ecsauth: Callable[..., Result]) -> None:
    shown = re.search(r"\$ samples/try\n(.*?)```", README, re.DOTALL)
    assert shown
    result = ecsauth("convert", ROOT / "samples" / "docker-config.json")
    lines = shown[1].splitlines()
    assert result.err.splitlines() == [line for line in lines if line.startswith("ecsauth: ")]
    assert result.out.splitlines() == [line for line in lines if line.startswith("ECS_")]


def test_files_that_the_readme_names_are_there() -> None:
    named = re.findall(r"\]\(((?:samples|systemd|tests)/[^)]+)\)", README)
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_changelog_has_the_version() -> None:
    assert f"## {__version__} " in (ROOT / "CHANGELOG.md").read_text()


def test_top_level_is_as_planned() -> None:
    planned = {
        "pyproject.toml",
        "ecsauth",
        "systemd",
        "tests",
        "samples",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
    }
    present = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert present - {"build", "dist"} <= planned
