"""Find the login file to use when none is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from ecsauth.errors import SourceError
from ecsauth.host.accounts import Account


@dataclass(frozen=True)
class LoginFile:
    """A login file; `note` says which one it is and why it was chosen."""

    path: Path
    note: str = ""


def find_login_file(
    environment: Mapping[str, str], account_of: Callable[[str], Account | None]
) -> LoginFile:
    """Find the login file that docker would use; under sudo, also the caller's.

    1. ``$DOCKER_CONFIG/config.json``; 2. ``~/.docker/config.json``; 3. ``~/.dockercfg``;
    4. under sudo, if our own user has none: 2. and 3. of the user who called sudo.

    Args:
        environment: variables; HOME names the home directory.
        account_of: returns the account of a user name; None if there is none.

    Raises:
        SourceError: there is none; says where it looked.

    """
    directory = environment.get("DOCKER_CONFIG", "")
    if directory:
        path = Path(directory) / "config.json"
        return LoginFile(path, f"the login file is {path} ($DOCKER_CONFIG)")
    home = environment.get("HOME", "")
    caller_name = environment.get("SUDO_USER", "")
    caller = account_of(caller_name) if caller_name else None
    own = _login_files(home)
    theirs = _login_files(caller.home) if caller and caller.home != home else []
    mine = next(filter(file_exists, own), None)
    his = next(filter(file_exists, theirs), None)
    if mine is not None:
        unused = f"; to use {his} of {caller_name}, name it" if his else ""
        return LoginFile(mine, f"the login file is {mine}{unused}")
    if his is not None:
        return LoginFile(his, f"the login file is {his}, of {caller_name}, who called sudo")
    looked = ", ".join(str(path) for path in [*own, *theirs])
    raise SourceError(
        f"no docker login file: {f'looked for {looked}' if looked else 'HOME is not set'}",
        "run docker login first, or name a login file",
        reference="login-file-missing",
    )


def file_exists(path: Path) -> bool:
    """Return whether a file exists.

    Raises:
        SourceError: a directory on its path cannot be searched.

    """
    try:
        return path.exists()
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}",
            "run it with sudo",
            reference="input-unreadable",
        ) from error


def _login_files(home: str) -> list[Path]:
    return [Path(home) / ".docker" / "config.json", Path(home) / ".dockercfg"] if home else []
