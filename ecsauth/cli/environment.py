"""The settings file, applied to the environment for the duration of one command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from ecsauth.cli.console import say_all
from ecsauth.host.settings_file import DEFAULT_ENV_FILE, load_settings, unknown_names

_BEFORE = "ecsauth.environment"
_ARGUMENTS = "ecsauth.arguments"
_PLACES = "ecsauth.places"
_FILE = "ecsauth.host.settings_file"


@contextlib.contextmanager
def own_environment() -> Iterator[None]:
    """Restore the environment at the end of the ``with`` block."""
    before = dict(os.environ)
    try:
        yield
    finally:
        if dict(os.environ) != before:
            os.environ.clear()
            os.environ.update(before)


def apply_settings(context: click.Context, parameter: click.Parameter, value: str) -> None:
    """Fill the environment from the settings file; existing variables take precedence."""
    if context.resilient_parsing:
        return
    meta = context.find_root().meta
    if _BEFORE in meta:
        return  # one command parses the arguments of another
    meta[_BEFORE] = dict(os.environ)
    meta[_FILE] = value
    say_all("warning", unknown_names(os.environ, "the environment"))
    if not value:
        return
    source = context.get_parameter_source(parameter.name or "")
    is_named = source is ParameterSource.COMMANDLINE or value != DEFAULT_ENV_FILE
    settings = load_settings(Path(value), required=is_named)
    say_all("warning", settings.warnings)
    meta[_PLACES] = {
        name: f"{value}:{line}" for name, line in settings.lines.items() if name not in os.environ
    }
    for name, text in settings.values.items():
        os.environ.setdefault(name, text)


def environment_before(context: click.Context) -> dict[str, str]:
    """Return the environment without the settings file."""
    return dict(context.find_root().meta.get(_BEFORE, os.environ))


def restore_environment(context: click.Context) -> None:
    """Restore the environment from before the settings file."""
    before = environment_before(context)
    os.environ.clear()
    os.environ.update(before)


def settings_path(context: click.Context) -> str:
    """Return the path of the settings file; the default one if --env-file is empty."""
    value = context.find_root().meta.get(_FILE) or DEFAULT_ENV_FILE
    return str(Path(value).absolute())


def keep_arguments(context: click.Context, arguments: Sequence[str]) -> None:
    """Keep the arguments of the process for `raw_arguments`."""
    context.meta[_ARGUMENTS] = list(arguments)


def raw_arguments(context: click.Context) -> list[str]:
    """Return the arguments after the command's name."""
    arguments: list[str] = context.find_root().meta.get(_ARGUMENTS, [])
    return arguments[arguments.index(str(context.info_name)) + 1 :]


def place_of(context: click.Context | None, variable: object) -> str:
    """Return FILE:LINE if a variable comes from the settings file, else an empty string."""
    places = context.find_root().meta.get(_PLACES, {}) if context else {}
    return str(places.get(variable, ""))
