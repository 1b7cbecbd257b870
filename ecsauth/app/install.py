"""install units: install the systemd units for this installation."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.agent.platform import check_platform
from ecsauth.app.requests import DEFAULT_STATE_DIR, DEFAULT_TARGET, HELPER
from ecsauth.errors import TargetError
from ecsauth.host.atomic_file import is_directory, target_error
from ecsauth.host.programs import RunProgram, run_program
from ecsauth.host.trust import untrusted_path_reason
from ecsauth.installation import units
from ecsauth.token_cache.open import cache_path

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports

_SYSTEMD = Path("/run/systemd/system")
"""Exists if systemd is the first process (sd_booted(3))."""


@dataclass(frozen=True)
class UnitsRequest:
    """What the units are for.

    Attributes:
        targets: as typed; the units may write there.
        settings: path of the settings file.
        prometheus: the units may write metrics there; None for nowhere.
        state_dir: where state is kept between runs.
        uninstall: remove the units.
        dry_run: change nothing.

    """

    targets: tuple[str, ...] = (DEFAULT_TARGET,)
    settings: str = "/etc/ecsauth/ecsauth.env"
    prometheus: Path | None = None
    state_dir: Path = DEFAULT_STATE_DIR
    uninstall: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class UnitsResult:
    """What was done.

    Attributes:
        changes: one line each.
        notes: one line each.
        next_step: what is left to do; empty if nothing.

    """

    changes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    next_step: str = ""
    exit_code: int = 0


def install_units(
    request: UnitsRequest, ports: Ports, run: RunProgram = run_program, systemd: Path = _SYSTEMD
) -> UnitsResult:
    """Install the units, or remove them.

    Args:
        request: what they are for.
        ports: the outside.
        run: runs systemctl.
        systemd: exists if systemd runs here.

    Raises:
        TargetError: systemd does not run here, or not everything was done.

    """
    if not is_directory(systemd):
        raise TargetError(
            "systemd does not run here",
            "use ecsauth run instead",
            reference="no-systemd",
        )
    if request.uninstall:
        changes = units.uninstall(run, dry_run=request.dry_run)
        return UnitsResult(tuple(changes.lines), tuple(changes.notes))
    check_platform(request.targets)
    writable = _writable(request, ports)
    command = own_command()
    if reason := untrusted_path_reason(Path(command[0]), root_alone=True):
        ports.warn(
            f"{reason}, and systemd runs {command[0]} as root", "install ecsauth into /opt/ecsauth"
        )
    if not request.dry_run:
        _make_directory(request.state_dir)
    installation = units.Installation(
        command, request.settings, writable, str(request.state_dir.absolute())
    )
    changes = units.install(installation, run, dry_run=request.dry_run)
    step = _next_step(request.settings, has_sources=bool(ports.environment.get("ECSAUTH_SOURCES")))
    return UnitsResult(tuple(changes.lines), tuple(changes.notes), step)


def own_command() -> list[str]:
    """Return the command of this installation of ecsauth."""
    beside = Path(sys.executable).with_name("ecsauth")
    if beside.is_file() and os.access(beside, os.X_OK):
        return [str(beside)]
    return [sys.executable, "-m", "ecsauth"]


def _writable(request: UnitsRequest, ports: Ports) -> list[str]:
    """Return the directories that the units must be able to write; create those of the cache."""
    files = [Path(item) for item in request.targets if "://" not in item and item != HELPER]
    # The units have no HOME, so they use root's cache.
    cache = cache_path({**ports.environment, "HOME": ""}) if HELPER in request.targets else None
    if cache is not None:
        files.append(cache / "log")
        if not request.dry_run:
            _make_directory(cache)
    files += [request.prometheus] if request.prometheus else []
    return [folder for file in files for folder in _folders(file)]


def _make_directory(path: Path) -> None:
    """Create it, because a unit may write only what exists; raise TargetError if that fails."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise target_error(path, error, "was not created") from error


def _next_step(settings: str, *, has_sources: bool) -> str:
    if not Path(settings).exists():
        return f"create {settings} and set ECSAUTH_SOURCES in it; without it nothing runs"
    return "" if has_sources else f"set ECSAUTH_SOURCES in {settings}"


def _folders(path: Path) -> list[str]:
    """Return the directory of a file, and that of the file behind a symlink."""
    return sorted({str(path.absolute().parent), str(path.resolve().parent)})
