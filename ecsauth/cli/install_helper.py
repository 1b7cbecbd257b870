"""The command install helper."""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import click

from ecsauth.cli import options
from ecsauth.cli.console import print_lines, result_stream, say, say_all
from ecsauth.cli.context import account_of
from ecsauth.cli.registries import ecr_hosts
from ecsauth.errors import TargetError, UsageError
from ecsauth.files import previous_path, read_regular, remove, target_error, write_atomic
from ecsauth.files import read_state as read_file
from ecsauth.helper.blocks import KINDS, block
from ecsauth.helper.docker_settings import Edited, Wanted, put_in, take_out
from ecsauth.helper.launcher import MARK, PACKAGE_CODE, launcher_text
from ecsauth.helper.protocol import PROGRAM
from ecsauth.locks import locked
from ecsauth.sources import Account
from ecsauth.targets.stdout import write_stream

_PROGRAM_MODE = 0o755
_LOCK_SECONDS = 10.0
_CHECK_SECONDS = 30.0


@click.command(short_help="Put docker-credential-ecr-login in place, and into docker's config.")
@click.argument("registries", metavar="[REGISTRY]...", nargs=-1)
@options.option("--user", metavar="NAME", help="Whose docker config; by default our own.")
@options.option(
    "--bin-dir",
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    help="Where the program goes, on PATH; by default /usr/local/bin for root, else ~/.local/bin.",
)
@options.option("--store", is_flag=True, help="Ask the helper for all registries (credsStore).")
@options.option(
    "--logout", is_flag=True, help="Take logins for these registries out of the docker config."
)
@options.option(
    "--print",
    "kind",
    type=click.Choice(KINDS),
    help="Only print the block for a configuration that is kept elsewhere: docker, podman"
    " (auth.json), registries-conf, gitlab-runner (config.toml).",
)
@options.option(
    "--uninstall",
    is_flag=True,
    help="Take the program away, and out of the docker config; with REGISTRY only these entries.",
)
@options.dry_run("Change nothing; print what would be done.")
@options.quiet
@options.common
def helper(
    registries: tuple[str, ...],
    user: str | None,
    bin_dir: Path | None,
    *,
    store: bool,
    logout: bool,
    kind: str | None,
    uninstall: bool,
    dry_run: bool,
    quiet: bool,
) -> int:
    """Put docker-credential-ecr-login into a directory on PATH, for docker, podman and the like.

    REGISTRY is an ECR host (123456789012.dkr.ecr.us-west-2.amazonaws.com, public.ecr.aws); for each
    the docker config (~/.docker/config.json) gets an entry in credHelpers. Other members are kept.
    The program is a small launcher: it prints logins that are in the cache by itself, without
    starting Python. What it finds in doubt it hands to this installation of ecsauth.
    """
    hosts = ecr_hosts(registries)
    if kind is not None:
        write_stream(result_stream(), block(kind, hosts, is_store=store).encode())
        return 0
    account = _account(user)
    program = (bin_dir or _default_bin_dir()).absolute() / PROGRAM
    config = _config_path(account)
    lines: list[str] = []
    if uninstall:
        with _as_user(account):
            lines += _edit(config, lambda data: take_out(data, hosts, str(config)), dry_run=dry_run)
        if not hosts:
            lines += _remove_program(program, dry_run=dry_run)
    else:
        _check_command(account)
        lines += _write_program(program, dry_run=dry_run)
        wanted = Wanted(hosts, store, logout)
        with _as_user(account):
            lines += _edit(
                config,
                lambda data: put_in(data, wanted, str(config)),
                dry_run=dry_run,
                hides=logout,
            )
    print_lines(lines or ["nothing to do"], sys.stdout)
    if not uninstall and not quiet:
        _say_next(hosts, store, program, account)
    return 0


def _account(user: str | None) -> Account | None:
    """Return the account of the user that is named; None if none is.

    Raises:
        UsageError: there is no such user, or we may not act for him.

    """
    if user is None:
        return None
    account = account_of(user)
    if account is None:
        raise UsageError(f"there is no user {user!r} on this host")
    if os.geteuid() not in (0, account.uid):
        raise UsageError("only root may do this for another user", "run it with sudo")
    return account


def _default_bin_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/usr/local/bin")
    return Path(os.environ.get("HOME", "/nonexistent")) / ".local" / "bin"


def _config_path(account: Account | None) -> Path:
    if account is not None:
        return Path(account.home) / ".docker" / "config.json"
    if directory := os.environ.get("DOCKER_CONFIG"):
        return Path(directory) / "config.json"
    home = os.environ.get("HOME", "")
    if not home:
        raise UsageError("HOME is not set", "set it, or DOCKER_CONFIG")
    return Path(home) / ".docker" / "config.json"


@contextlib.contextmanager
def _as_user(account: Account | None) -> Iterator[None]:
    """Touch a user's files with no more rights than he has."""
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
    """Return what runs the package's helper, whatever directory and variables a caller has."""
    if not site.ENABLE_USER_SITE or not __file__.startswith(site.getusersitepackages()):
        return [sys.executable, "-I", "-c", PACKAGE_CODE]
    return [sys.executable, "-E", "-c", f"import sys; del sys.path[0]; {PACKAGE_CODE}"]


def _check_command(account: Account | None) -> None:
    """Run what the launcher will run, as whom it will run.

    Raises:
        TargetError: it does not work.

    """
    other = account if account is not None and account.uid != os.geteuid() else None
    home = os.environ.get("HOME", "/") if other is None else other.home
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [*_command(), "version"],
            env={"PATH": os.defpath, "HOME": home},  # a user sees what his processes have there
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
        whom = account.name if account else "its own user"
        raise TargetError(
            f"{sys.executable} cannot run ecsauth for {whom}",
            "install ecsauth where everybody may read it: /opt/ecsauth",
        )


def _write_program(program: Path, *, dry_run: bool) -> list[str]:
    text = launcher_text(_command()).encode()
    if not program.parent.is_dir() and not dry_run:
        _make_bin_dir(program.parent)
    present = _read_program(program)
    if present == text and program.stat().st_mode & 0o7777 == _PROGRAM_MODE:
        return []
    kept = previous_path(program)
    is_foreign = os.path.lexists(program) and MARK.encode() not in (present or b"")
    if is_foreign:
        say("note", f"{program} was not ecsauth's; it becomes {kept.name}")
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
        raise target_error(path, error, "was not made") from error
    finally:
        os.umask(before)


def _read_program(program: Path) -> bytes | None:
    """Return what is there, a symlink not followed; None if it is no file."""
    try:
        return None if program.is_symlink() else read_regular(program)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise target_error(program, error, "cannot be read") from error


def _set_aside(program: Path, kept: Path) -> None:
    """Give a program of others, or a symlink to one, another name; it stays as it is."""
    try:
        program.replace(kept)
    except OSError as error:
        raise target_error(program, error, "was not set aside") from error


def _remove_program(program: Path, *, dry_run: bool) -> list[str]:
    data = _read_program(program)
    if data is None and not program.is_symlink():
        return []
    if MARK.encode() not in (data or b""):
        say("note", f"{program} is not ecsauth's, and stays")
        return []
    kept = previous_path(program)
    has_kept = os.path.lexists(kept)
    if not dry_run:
        if has_kept:
            _set_aside(kept, program)
        else:
            remove(program)
    return [f"- {program}", *([f"+ {program} (which was there before)"] if has_kept else [])]


def _edit(
    config: Path, edit: Callable[[bytes], Edited], *, dry_run: bool, hides: bool = False
) -> list[str]:
    if not config.parent.is_dir():
        edited = edit(b"")
        if not edited.changes:
            return []
        if not dry_run:
            try:
                config.parent.mkdir(mode=0o700, parents=True)
            except OSError as error:
                raise target_error(config.parent, error, "was not made") from error
    else:
        edited = edit(read_file(config).data or b"")
    if edited.changes and not dry_run:
        with locked(read_file(config).path, _LOCK_SECONDS):
            state = read_file(config)
            edited = edit(state.data or b"")
            write_atomic(state.path, edited.text, previous=state, keeps=not hides)
            if hides:
                remove(previous_path(state.path))  # a login that was taken out is not kept there
    say_all("warning", edited.warnings)
    return [f"~ {config}: {change}" for change in edited.changes]


def _say_next(hosts: tuple[str, ...], store: bool, program: Path, account: Account | None) -> None:
    if not hosts and not store:
        say("next", "name the registries that it is for, or --store for all")
    found = shutil.which(PROGRAM)
    if found is None:
        say("warning", f"{program.parent} is not on PATH, where docker looks for it")
    elif Path(found) != program:
        say("warning", f"PATH leads to {found} first")
    caller = os.environ.get("SUDO_USER", "")
    if account is None and os.geteuid() == 0 and caller and caller != "root":
        say("note", f"this is root's docker config; for {caller}'s: --user {caller}")
