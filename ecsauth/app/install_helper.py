"""install helper: install docker-credential-ecr-login, and add it to docker's configuration."""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from ecsauth.app.hosts import ecr_hosts
from ecsauth.errors import TargetError, UsageError
from ecsauth.host.accounts import Account, account_of
from ecsauth.host.atomic_file import (
    previous_path,
    read_regular,
    remove,
    target_error,
    write_atomic,
)
from ecsauth.host.atomic_file import read_state as read_file
from ecsauth.host.locks import locked
from ecsauth.host.streams import write_stream
from ecsauth.installation.blocks import KINDS, block
from ecsauth.installation.docker_settings import Edited, Wanted, put_in, take_out
from ecsauth.token_cache.launcher import MARK, PACKAGE_CODE, launcher_text
from ecsauth.token_cache.server import PROGRAM

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports

BLOCKS = KINDS
"""What `print_block` can print."""

_PROGRAM_MODE = 0o755
_LOCK_SECONDS = 10.0
_CHECK_SECONDS = 30.0


@dataclass(frozen=True)
class HelperRequest:
    """Where the helper goes.

    Attributes:
        registries: ECR hosts, as typed, that docker uses it for.
        user: whose docker config; empty for the caller's own.
        bin_dir: where the program goes; None for the default directory.
        store: docker uses it for all registries.
        logout: remove logins for these registries from the docker config.
        uninstall: remove it instead; with `registries` only these entries.
        dry_run: change nothing.

    """

    registries: tuple[str, ...] = ()
    user: str = ""
    bin_dir: Path | None = None
    store: bool = False
    logout: bool = False
    uninstall: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class HelperResult:
    """What was done, one line each."""

    changes: tuple[str, ...]
    next_steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exit_code: int = 0


Check = Callable[["Account | None", str], None]


def print_block(kind: str, registries: tuple[str, ...], ports: Ports, *, store: bool) -> None:
    """Print the helper's block for a configuration managed elsewhere; see `BLOCKS`.

    Raises:
        UsageError: that kind cannot express it.

    """
    write_stream(ports.stdout(), block(kind, ecr_hosts(registries), is_store=store).encode())


def install_helper(
    request: HelperRequest, ports: Ports, check: Check | None = None
) -> HelperResult:
    """Install the program and its docker config entries, or remove them.

    Args:
        request: where it goes.
        ports: the outside.
        check: runs the program once, as the user who will use it; raises TargetError.

    Raises:
        EcsauthError: not everything was done; the call can be repeated.

    """
    hosts = ecr_hosts(request.registries)
    account = _account(request.user)
    home = ports.environment.get("HOME", "")
    program = (request.bin_dir or _default_bin_dir(home)).absolute() / PROGRAM
    config = _config_path(account, ports.environment)
    is_dry = request.dry_run
    lines: list[str] = []
    if request.uninstall:
        with _as_user(account):
            lines += _edit(config, lambda data: take_out(data, hosts, str(config)), ports, is_dry)
        if not hosts:
            lines += _remove_program(program, ports, dry_run=is_dry)
        return HelperResult(tuple(lines))
    (check or check_command)(account, home)
    lines += _write_program(program, ports, dry_run=is_dry)
    wanted = Wanted(hosts, request.store, request.logout)
    with _as_user(account):
        lines += _edit(
            config,
            lambda data: put_in(data, wanted, str(config)),
            ports,
            is_dry,
            hides=request.logout,
        )
    return _with_advice(tuple(lines), request, hosts, program, ports)


def _with_advice(
    changes: tuple[str, ...],
    request: HelperRequest,
    hosts: tuple[str, ...],
    program: Path,
    ports: Ports,
) -> HelperResult:
    steps, warnings, notes = [], [], []
    if not hosts and not request.store:
        steps.append("name the registries to use it for, or give --store for all")
    found = shutil.which(PROGRAM)
    if found is None:
        warnings.append(f"{program.parent} is not on PATH, where docker searches for it")
    elif Path(found) != program:
        warnings.append(f"{found} comes first on PATH")
    caller = ports.environment.get("SUDO_USER", "")
    if not request.user and os.geteuid() == 0 and caller and caller != "root":
        notes.append(f"this is root's docker config; use --user {caller} for {caller}'s")
    return HelperResult(changes, tuple(steps), tuple(warnings), tuple(notes))


def _account(user: str) -> Account | None:
    """Return the account of the named user; None if none is named.

    Raises:
        UsageError: there is no such user, or acting for another user needs root.

    """
    if not user:
        return None
    account = account_of(user)
    if account is None:
        raise UsageError(f"there is no user {user!r} on this host", reference="user-missing")
    if os.geteuid() not in (0, account.uid):
        raise UsageError(
            "only root may do this for another user", "run it with sudo", reference="not-root"
        )
    return account


def _default_bin_dir(home: str) -> Path:
    if os.geteuid() == 0:
        return Path("/usr/local/bin")
    return Path(home or "/nonexistent") / ".local" / "bin"


def _config_path(account: Account | None, environment: Mapping[str, str]) -> Path:
    if account is not None:
        return Path(account.home) / ".docker" / "config.json"
    if directory := environment.get("DOCKER_CONFIG"):
        return Path(directory) / "config.json"
    home = environment.get("HOME", "")
    if not home:
        raise UsageError("HOME is not set", "set HOME or DOCKER_CONFIG", reference="home-not-set")
    return Path(home) / ".docker" / "config.json"


@contextlib.contextmanager
def _as_user(account: Account | None) -> Iterator[None]:
    """Touch a user's files with no more rights than that user has."""
    if account is None or account.uid == os.geteuid():
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups(os.getgrouplist(account.name, account.gid))
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def _command() -> list[str]:
    """Return the command for the package's helper, for any working directory and variables."""
    if not site.ENABLE_USER_SITE or not __file__.startswith(site.getusersitepackages()):
        return [sys.executable, "-I", "-c", PACKAGE_CODE]
    return [sys.executable, "-E", "-c", f"import sys; del sys.path[0]; {PACKAGE_CODE}"]


def check_command(account: Account | None, own_home: str) -> None:
    """Run what the launcher will run, as the same user.

    Raises:
        TargetError: it does not work.

    """
    other = account if account is not None and account.uid != os.geteuid() else None
    home = (own_home or "/") if other is None else other.home
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [*_command(), "version"],
            env={"PATH": os.defpath, "HOME": home},  # minimal: the user can read it
            start_new_session=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_CHECK_SECONDS,
            check=False,
            cwd="/",
            user=None if other is None else other.uid,
            group=None if other is None else other.gid,
            extra_groups=None if other is None else (),
        )
        works = done.returncode == 0 and PROGRAM.encode() in done.stdout
    except (OSError, subprocess.SubprocessError):
        works = False
    if not works:
        whom = account.name if account else "this user"
        raise TargetError(
            f"{sys.executable} cannot run ecsauth as {whom}",
            "install ecsauth where every user can read it, such as /opt/ecsauth",
            reference="helper-not-runnable",
        )


def _write_program(program: Path, ports: Ports, *, dry_run: bool) -> list[str]:
    text = launcher_text(_command()).encode()
    if not program.parent.is_dir() and not dry_run:
        _make_bin_dir(program.parent)
    present = _read_program(program)
    if present == text and program.stat().st_mode & 0o7777 == _PROGRAM_MODE:
        return []
    kept = previous_path(program)
    is_foreign = os.path.lexists(program) and MARK.encode() not in (present or b"")
    if is_foreign:
        ports.note(f"{program} is not from ecsauth; it is renamed to {kept.name}")
    if not dry_run:
        if is_foreign:
            _set_aside(program, kept)
        write_atomic(program, text, mode=_PROGRAM_MODE)
    return [f"+ {program}"]


def _make_bin_dir(path: Path) -> None:
    before = os.umask(0o022)
    try:
        path.mkdir(mode=0o755, parents=True)
    except OSError as error:
        raise target_error(path, error, "was not created") from error
    finally:
        os.umask(before)


def _read_program(program: Path) -> bytes | None:
    """Return its content; None if there is no file or it is a symlink."""
    try:
        return None if program.is_symlink() else read_regular(program)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise target_error(program, error, "cannot be read") from error


def _set_aside(program: Path, kept: Path) -> None:
    """Rename another package's program, or a symlink to one, without changing it."""
    try:
        program.replace(kept)
    except OSError as error:
        raise target_error(program, error, "was not renamed") from error


def _remove_program(program: Path, ports: Ports, *, dry_run: bool) -> list[str]:
    data = _read_program(program)
    if data is None and not program.is_symlink():
        return []
    if MARK.encode() not in (data or b""):
        ports.note(f"{program} is not from ecsauth, and is kept")
        return []
    kept = previous_path(program)
    has_kept = os.path.lexists(kept)
    if not dry_run:
        if has_kept:
            _set_aside(kept, program)
        else:
            remove(program)
    return [f"- {program}", *([f"+ {program} (the previous one)"] if has_kept else [])]


def _edit(
    config: Path,
    edit: Callable[[bytes], Edited],
    ports: Ports,
    is_dry: bool,
    *,
    hides: bool = False,
) -> list[str]:
    if not config.parent.is_dir():
        edited = edit(b"")
        if not edited.changes:
            return []
        if not is_dry:
            try:
                config.parent.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise target_error(config.parent, error, "was not created") from error
    else:
        edited = edit(read_file(config).data or b"")
    if edited.changes and not is_dry:
        with locked(read_file(config).path, _LOCK_SECONDS):
            state = read_file(config)
            edited = edit(state.data or b"")
            write_atomic(state.path, edited.text, previous=state, keeps=not hides)
            if hides:
                remove(previous_path(state.path))  # a removed login is not kept there
    for warning in edited.warnings:
        ports.warn(warning)
    return [f"~ {config}: {change}" for change in edited.changes]
