"""The systemd units: their text for this installation, and how they are installed and removed.

The package has the units in ``_systemd``; a checkout of the project has them in ``systemd/``.
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
    """The values that the units depend on.

    Attributes:
        command: program and first arguments that run ecsauth.
        settings: path of the settings file.
        writable: directories that ecsauth writes besides its state directory.
        state: the state directory.

    """

    command: Sequence[str]
    settings: str = _SETTINGS
    writable: Sequence[str] = ("/etc/ecs",)
    state: str = _STATE


@dataclass
class Changes:
    """What was or would be done, one item each; `written` and `removed` are paths."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """Return files and commands as lines to print."""
        return [
            *(f"+ {path}" for path in self.written),
            *(f"- {path}" for path in self.removed),
            *(f"$ {command}" for command in self.commands),
        ]


def unit_texts(installation: Installation) -> dict[str, str]:
    """Return name → text of each unit for an installation.

    Raises:
        UsageError: a path has characters that a unit cannot hold.

    """
    return {name: render(_template(name), installation) for name in UNITS}


def render(template: str, installation: Installation) -> str:
    """Fill in the placeholders of a unit: ``@ECSAUTH@ @ENV_FILE@ @SETTINGS@ @WRITABLE@``.

    Raises:
        UsageError: a path has characters that a unit cannot hold.

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
    """Install the units and enable the timer; does only what is not done yet.

    Args:
        installation: the values that the units depend on.
        run: runs systemctl.
        directory: where to write the units.
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
            changes.notes.append(f"{path} was not installed by ecsauth; a copy is kept beside it")
        if not dry_run:
            with locked(state.path, _LOCK_SECONDS):
                previous = state if is_foreign else None
                write_atomic(state.path, text.encode(), previous=previous, mode=_UNIT_MODE)
    commands = [["systemctl", "daemon-reload"]] if changes.written else []
    if not dry_run:
        _run_all(run, commands, changes)
        commands = []
    # The run service replaces the timer on hosts where it is enabled.
    if run(["systemctl", "is-enabled", RUN]).said != "enabled":
        if run(["systemctl", "is-enabled", REFRESH]).said != "enabled":
            commands.append(["systemctl", "enable", REFRESH])
        is_up = run(["systemctl", "is-active", TIMER]).said == "active"
        if not is_up or run(["systemctl", "is-enabled", TIMER]).said != "enabled":
            commands.append(["systemctl", "enable", "--now", TIMER])
    else:
        changes.notes.append(f"{RUN} is enabled, so the timer is not needed")
    if dry_run:
        changes.commands += [" ".join(command) for command in commands]
    else:
        _run_all(run, commands, changes)
    return changes


def uninstall(
    run: RunProgram, *, directory: Path = UNIT_DIRECTORY, dry_run: bool = False
) -> Changes:
    """Stop and remove the units; drop-ins, settings and state are kept.

    Args:
        run: runs systemctl.
        directory: where the units are.
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
            changes.notes.append(f"{directory / name} was not installed by ecsauth; not removed")
            continue
        ours.append(name)
        changes.removed.append(str(directory / name))
        if (directory / f"{name}.d").is_dir():
            changes.notes.append(f"{directory / name}.d holds your own changes; not removed")
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
            raise TargetError(
                f"{words} failed ({done.code}){said}",
                "run it as root, on a host where systemd is running",
                reference="systemctl-failed",
            )
        changes.commands.append(words)


def _template(name: str) -> str:
    here = Path(__file__).parents[1]
    for folder in (here / "_systemd", here.parent / "systemd"):
        if (folder / name).is_file():
            return (folder / name).read_text("utf-8")
    raise EcsauthError(
        f"this installation of ecsauth has no template of {name}",
        "reinstall ecsauth",
        reference="installation-incomplete",
    )


def _quoted(text: str) -> str:
    """Return an argument quoted for ExecStart (systemd.service(5), "Command lines")."""
    _path(text)
    escaped = text.translate(_NO_EXPANSION)
    return escaped if escaped == text and not set(text) & set(" ;'") else f'"{escaped}"'


def _path(text: str) -> str:
    """Return a path unchanged if a unit can hold it.

    Raises:
        UsageError: it is empty or has characters that a unit cannot hold.

    """
    if not text or not text.isprintable() or set(text) & set("%$\\\"' ;"):
        raise UsageError(
            "this path cannot be written in a systemd unit",
            "use one without spaces, quotes, %, $, ; and backslashes",
            subject=repr(text),
            reference="usage-path-characters",
        )
    return text
