"""A target on this host: ``ecs.config`` or the agent's JSON file."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from ecsauth.engine_auth.codec import UNSET, EngineAuth
from ecsauth.engine_auth.layouts import Layout
from ecsauth.errors import EcsauthError, TargetError
from ecsauth.host.atomic_file import (
    PRIVATE,
    FileState,
    is_there,
    locate,
    make_private,
    previous_path,
    read_regular,
    read_state,
    remove,
    target_error,
    write_atomic,
)
from ecsauth.host.locks import locked, sweep
from ecsauth.host.trust import untrusted_path_reason


class LocalFile:
    """A file in one of the layouts; `update.Target` says what the methods promise."""

    def __init__(self, path: Path, layout: Layout, lock_timeout: float) -> None:
        self.path = path
        self.name = str(path)
        self.key = str(path.absolute())
        self.layout = layout
        self.keeps_previous = False
        """Whether the copy beside it stays as it is, for the agent runs with that one."""
        self.last_write: tuple[bytes | None, bytes] | None = None
        """The content before, None for no file, and the one that was written."""
        self._lock_timeout = lock_timeout
        self._state: FileState | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other ecsauth from this file for the ``with`` block."""
        real = locate(self.path)
        for folder in {self.path.parent, real.parent}:
            _check_way(folder, self.name)
        with locked(real, self._lock_timeout):
            yield

    def read(self) -> bytes:
        """Return the file's bytes; empty if there is none."""
        self._state = read_state(self.path)
        sweep(self._state.path)
        return self._state.data or b""

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:  # noqa: ARG002 - it says nothing of it
        """Replace the file, the bytes that were read last kept beside it."""
        state = self._state or read_state(self.path)
        keeps = self.keeps_previous and is_there(previous_path(state.path))
        write_atomic(state.path, text, previous=state, keeps=not keeps)
        self.last_write = (state.data, text)
        notes = []
        if state.data is not None and not keeps:
            notes.append(f"the content before is in {previous_path(state.path)}")
        if state.mode != state.mode & PRIVATE:
            notes.append(_narrowed(self.name, state.mode))
        return tuple(notes)

    def restore(
        self, is_ours: Callable[[bytes], bool], is_before: Callable[[bytes], bool] | None
    ) -> str:
        """Put the content that is kept beside the file in its place again.

        Args:
            is_ours: whether a content is the one that was written last.
            is_before: whether a content is the one from before; None if there was no file then.

        Returns:
            Why not; empty if it was done.

        Raises:
            TargetError: the file cannot be written.

        """
        with self.locked():
            state = read_state(self.path)
            if state.data is None or not is_ours(state.data):
                return f"{self.name} was changed by somebody else since"
            if is_before is None:
                remove(state.path)
                return ""
            kept = previous_path(state.path)
            try:
                data = read_regular(kept)
            except (OSError, EcsauthError):
                return f"{kept} cannot be read"
            if not is_before(data):
                return f"{kept} is not what the agent ran with"
            write_atomic(state.path, data, previous=state, keeps=False)
            return ""

    def narrow(self) -> tuple[str, ...]:
        """Take the file's secrets from the eyes of others without writing it; return notes."""
        mode = make_private(locate(self.path))
        return () if mode is None else (_narrowed(self.name, mode),)

    def warnings(self) -> tuple[str, ...]:
        """Say what keeps the settings in this file from being used, or private."""
        return tuple(filter(None, (self._exposed(),)))

    def _exposed(self) -> str:
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except OSError:
            return ""
        if not mode & ~PRIVATE & 0o077:
            return ""
        return f"others can read the secrets in {self.name} (mode {mode:04o}): chmod 600 it"


def _check_way(folder: Path, name: str) -> None:
    """Refuse, as root, a place that others could swap for another under our hands.

    Raises:
        TargetError: says who.

    """
    if os.geteuid() != 0:
        return
    try:
        why = untrusted_path_reason(folder)
    except OSError as error:
        raise target_error(folder, error, "cannot be looked at") from error
    if why:
        raise TargetError(
            f"{name} is no safe place for root to write: {why}",
            "take a directory that only root can change, run as its owner, or name whom to trust in"
            " ECSAUTH_TRUSTED_UIDS",
        )


def _narrowed(name: str, mode: int) -> str:
    return f"others could reach {name} (mode {mode:04o}); it is {mode & PRIVATE:04o} now"


def settings_in(path: Path, layout: Layout) -> EngineAuth:
    """Return the settings in a file that need not be there, or be any good."""
    try:
        return layout.read(read_regular(path))
    except (OSError, EcsauthError):
        return UNSET
