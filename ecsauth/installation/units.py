"""The systemd units: their text for this installation, put in place and taken away.

The units ship in the package (``_systemd``); in a copy of the project they are in ``systemd/``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecsauth.errors import EcsauthError, TargetError, UsageError
from ecsauth.host.atomic_file import read_regular, remove, target_error, write_atomic
from ecsauth.host.atomic_file import read_state as read_file
from ecsauth.host.locks import locked
from ecsauth.host.programs import RunProgram

UNIT_DIRECTORY = Path("/etc/systemd/system")
REFRESH, TIMER, RUN = "ecsauth-refresh.service", "ecsauth-refresh.timer", "ecsauth-run.service"
UNITS = (REFRESH, TIMER, RUN)

_SETTINGS = "/etc/ecsauth/ecsauth.env"
_STATE = "/var/lib/ecsauth"
_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
_MARK = '# Put in place by "ecsauth install units"'
_UNIT_MODE = 0o644
_LOCK_SECONDS = 10.0
_NO_EXPANSION = str.maketrans({"%": "%%", "$": "$$", "\\": "\\\\", '"': '\\"'})


@dataclass(frozen=True)
class Installation:
    """What the units are made for.

    Attributes:
        command: program and first arguments that run ecsauth.
        settings: path of the settings file.
        writable: directories that it writes besides its state directory.
        state: the state directory.

    """

    command: Sequence[str]
    settings: str = _SETTINGS
    writable: Sequence[str] = ("/etc/ecs",)
    state: str = _STATE


@dataclass
class Changes:
    """What was or would be done, one line each; `written` and `removed` name files."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """Return all as lines for people."""
        return [
            *(f"+ {path}" for path in self.written),
            *(f"- {path}" for path in self.removed),
            *(f"$ {command}" for command in self.commands),
        ]


def unit_texts(installation: Installation) -> dict[str, str]:
    """Return name → text of each unit for an installation.

    Raises:
        UsageError: a path cannot stand in a unit.

    """
    return {name: render(_template(name), installation) for name in UNITS}


def render(template: str, installation: Installation) -> str:
    """Fill in the placeholders of a unit: ``@ECSAUTH@ @ENV_FILE@ @SETTINGS@ @WRITABLE@``.

    Raises:
        UsageError: a path cannot stand in a unit.

    """
    settings = _path(installation.settings)
    writable = sorted({_path(item) for item in installation.writable})
    if installation.state != _STATE:
        writable.append(_path(installation.state))
    values = {
        "ECSAUTH": " ".join(_quoted(item) for item in installation.command),
        "ENV_FILE": f" --env-file {_quoted(settings)}" if settings != _SETTINGS else "",
        "SETTINGS": settings,
        "WRITABLE": " ".join(f"-{path}" for path in writable),
    }
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def install(
    installation: Installation,
    run: RunProgram,
    *,
    directory: Path = UNIT_DIRECTORY,
    dry_run: bool = False,
) -> Changes:
    """Put the units in place and enable the timer; what is so already stays as it is.

    Args:
        installation: what they are made for.
        run: runs systemctl.
        directory: where units are.
        dry_run: change nothing.

    Raises:
        TargetError: a unit cannot be written, or systemctl failed.

    """
    changes = Changes()
    for name, text in unit_texts(installation).items():
        path = directory / name
        state = read_file(path)
        if state.data == text.encode() and state.mode == _UNIT_MODE:
            continue
        changes.written.append(str(path))
        is_foreign = state.data is not None and _MARK.encode() not in state.data
        if is_foreign:
            changes.notes.append(f"{path} was not ecsauth's; it is kept beside it")
        if not dry_run:
            with locked(state.path, _LOCK_SECONDS):
                previous = state if is_foreign else None
                write_atomic(state.path, text.encode(), previous=previous, mode=_UNIT_MODE)
    commands = [["systemctl", "daemon-reload"]] if changes.written else []
    if not dry_run:
        _run_all(run, commands, changes)
        commands = []
    # The run service takes the place of the timer where somebody has enabled it.
    if run(["systemctl", "is-enabled", RUN]).said != "enabled":
        if run(["systemctl", "is-enabled", REFRESH]).said != "enabled":
            commands.append(["systemctl", "enable", REFRESH])
        is_up = run(["systemctl", "is-active", TIMER]).said == "active"
        if not is_up or run(["systemctl", "is-enabled", TIMER]).said != "enabled":
            commands.append(["systemctl", "enable", "--now", TIMER])
    else:
        changes.notes.append(f"{RUN} is enabled, so that the timer is not")
    if dry_run:
        changes.commands += [" ".join(command) for command in commands]
    else:
        _run_all(run, commands, changes)
    return changes


def uninstall(
    run: RunProgram, *, directory: Path = UNIT_DIRECTORY, dry_run: bool = False
) -> Changes:
    """Stop and take away the units; drop-ins, settings and state stay.

    Args:
        run: runs systemctl.
        directory: where units are.
        dry_run: change nothing.

    Raises:
        TargetError: a unit cannot be removed, or systemctl failed.

    """
    changes = Changes()
    ours = []
    for name in UNITS:
        try:
            data = read_regular(directory / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise target_error(directory / name, error, "cannot be read") from error
        if _MARK.encode() not in data:
            changes.notes.append(f"{directory / name} is not ecsauth's, and stays")
            continue
        ours.append(name)
        changes.removed.append(str(directory / name))
        if (directory / f"{name}.d").is_dir():
            changes.notes.append(f"{directory / name}.d stays: your own changes are in it")
    if not ours:
        return changes
    stop = ["systemctl", "disable", "--now", *ours]
    if dry_run:
        changes.commands += [" ".join(stop), "systemctl daemon-reload"]
        return changes
    _run_all(run, [stop], changes)
    for name in ours:
        remove(directory / name)
        remove(directory / f".{name}.ecsauth-lock")
    _run_all(run, [["systemctl", "daemon-reload"]], changes)
    return changes


def _run_all(run: RunProgram, commands: Sequence[Sequence[str]], changes: Changes) -> None:
    for command in commands:
        done = run(command)
        words = " ".join(command)
        if done.code:
            said = f": {done.said}" if done.said else ""
            raise TargetError(f"{words} failed ({done.code}){said}", "is systemd up, are you root?")
        changes.commands.append(words)


def _template(name: str) -> str:
    here = Path(__file__).parents[1]
    for folder in (here / "_systemd", here.parent / "systemd"):
        if (folder / name).is_file():
            return (folder / name).read_text("utf-8")
    raise EcsauthError(f"this installation lacks the unit {name}", "install ecsauth again")


def _quoted(text: str) -> str:
    """Return an argument as ExecStart takes it (systemd.service(5), "Command lines")."""
    _path(text)
    escaped = text.translate(_NO_EXPANSION)
    return escaped if escaped == text and not set(text) & set(" ;'") else f'"{escaped}"'


def _path(text: str) -> str:
    """Return a path that may stand in a unit.

    Raises:
        UsageError: it may not.

    """
    if not text or not text.isprintable() or set(text) & set("%$\\\"' ;"):
        raise UsageError(f"the path {text!r} cannot stand in a unit", "use one without blanks")
    return text
