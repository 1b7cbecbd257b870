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
    restore_previous,
    target_error,
    write_atomic,
)
from ecsauth.host.locks import locked, sweep
from ecsauth.host.trust import untrusted_path_reason


class LocalFile:
    """A file in one of the layouts; `target.Target` states the contract."""

    def __init__(self, path: Path, layout: Layout, lock_timeout: float) -> None:
        self.path = path
        self.name = str(path)
        self.key = str(path.absolute())
        self.layout = layout
        self.keeps_previous = False
        """Whether to leave the copy beside it alone, because the agent runs with that one."""
        self.last_write: tuple[bytes | None, bytes] | None = None
        """The previous content (None for no file) and the content that was written."""
        self._lock_timeout = lock_timeout
        self._state: FileState | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out every other ecsauth process for the ``with`` block."""
        real = locate(self.path)
        for folder in {self.path.parent, real.parent}:
            _check_folder(folder, self.name)
        with locked(real, self._lock_timeout):
            yield

    def read(self) -> bytes:
        """Return the file's bytes; empty if there is none."""
        self._state = read_state(self.path)
        sweep(self._state.path)
        return self._state.data or b""

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:  # noqa: ARG002 - a file does not record it
        """Replace the file; keep the bytes that were last read beside it."""
        state = self._state or read_state(self.path)
        keeps = self.keeps_previous and is_there(previous_path(state.path))
        write_atomic(state.path, text, previous=state, keeps=not keeps)
        self.last_write = (state.data, text)
        notes = []
        if state.data is not None and not keeps:
            notes.append(f"the previous content is in {previous_path(state.path)}")
        if state.mode != state.mode & PRIVATE:
            notes.append(_narrowed_note(self.name, state.mode))
        return tuple(notes)

    def restore(
        self, is_ours: Callable[[bytes], bool], is_before: Callable[[bytes], bool] | None
    ) -> str:
        """Restore the previous content, which is kept beside the file.

        Args:
            is_ours: whether some content is what was last written.
            is_before: whether some content is the previous one; None if there was no file.

        Returns:
            Why it was not restored; empty if it was.

        Raises:
            TargetError: the file cannot be written.

        """
        with self.locked():
            state = read_state(self.path)
            if state.data is None:
                return f"{self.name} has been removed since"
            if not is_ours(state.data):
                return self._restore_settings(state)
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
            try:
                write_atomic(state.path, data, previous=state, keeps=False)
            except TargetError:  # perhaps the disk is full, and a rename needs no space
                restore_previous(state.path, state)
            return ""

    def _restore_settings(self, state: FileState) -> str:
        """Restore only the two settings in a file that was edited since this run wrote it."""
        changed = f"{self.name} has been changed since"
        if self.last_write is None or state.data is None:
            return changed
        before, after = (self.layout.read(text or b"") for text in self.last_write)
        if self.layout.read(state.data) != after:
            return changed
        text = self.layout.write(state.data, before)
        write_atomic(state.path, text, previous=state, keeps=False)
        return ""

    def narrow(self) -> tuple[str, ...]:
        """Remove group and other permissions without rewriting the file; return notes."""
        mode = make_private(locate(self.path))
        return () if mode is None else (_narrowed_note(self.name, mode),)

    def warnings(self) -> tuple[str, ...]:
        """Return a warning if other users can read the settings."""
        return tuple(filter(None, (self._exposed(),)))

    def _exposed(self) -> str:
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except OSError:
            return ""
        if not mode & ~PRIVATE & 0o077:
            return ""
        return f"others can read the secrets in {self.name} (mode {mode:04o}): chmod 600 it"


def _check_folder(folder: Path, name: str) -> None:
    """Refuse, as root, a directory that another user could replace while we write.

    Raises:
        TargetError: another user could; names the user.

    """
    if os.geteuid() != 0:
        return
    try:
        why = untrusted_path_reason(folder)
    except OSError as error:
        raise target_error(folder, error, "cannot be checked") from error
    if why:
        raise TargetError(
            f"refusing to write {name} as root: {why}",
            "fix its owner or mode, run as its owner, or set ECSAUTH_TRUSTED_UIDS",
            reference="target-untrusted-path",
        )


def _narrowed_note(name: str, mode: int) -> str:
    return (
        f"{name} was accessible to others (mode {mode:04o}); its mode is now {mode & PRIVATE:04o}"
    )


def settings_in(path: Path, layout: Layout) -> EngineAuth:
    """Return the settings in a file; unset if it is missing or invalid."""
    try:
        return layout.read(read_regular(path))
    except (OSError, EcsauthError):
        return UNSET
