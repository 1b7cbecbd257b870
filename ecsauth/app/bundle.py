"""bundle: write the archive that Marathon fetches, a docker config without secrets."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.app.hosts import ecr_hosts
from ecsauth.errors import UsageError
from ecsauth.host.atomic_file import read_state, write_atomic
from ecsauth.host.locks import locked
from ecsauth.host.streams import write_stream
from ecsauth.installation.bundle import MAX_MTIME, archive, config_text

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports

_MODE = 0o644
_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class BundleRequest:
    """What to write.

    Attributes:
        archive: its path; ``-`` is standard output.
        registries: ECR hosts, as typed, to use the helper for; none means all registries.
        dry_run: write nothing.

    """

    archive: str
    registries: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def is_stdout(self) -> bool:
        """Whether the archive goes to standard output."""
        return self.archive == "-"


@dataclass(frozen=True)
class BundleResult:
    """What was done; `config` is the text of the docker config in the archive."""

    is_changed: bool
    config: str
    exit_code: int = 0


def bundle(request: BundleRequest, ports: Ports) -> BundleResult:
    """Write the archive unless it is up to date.

    Raises:
        EcsauthError: it was not written.

    """
    config = config_text(ecr_hosts(request.registries))
    data = archive(config, _mtime(ports.environment))
    path = Path(request.archive)
    is_changed = request.is_stdout or _differs(path, data)
    if request.is_stdout and not request.dry_run:
        write_stream(ports.stdout(), data)
    elif is_changed and not request.dry_run:
        real = read_state(path).path
        with locked(real, _LOCK_SECONDS):
            write_atomic(real, data, mode=_MODE)
    return BundleResult(is_changed, config.decode().strip())


def _mtime(environment: Mapping[str, str]) -> int:
    """Return the members' time (reproducible-builds.org/specs/source-date-epoch).

    Raises:
        UsageError: SOURCE_DATE_EPOCH is not a time that an archive can hold.

    """
    text = environment.get("SOURCE_DATE_EPOCH") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 11 or int(text) > MAX_MTIME:
        raise UsageError(
            f"invalid SOURCE_DATE_EPOCH {text!r}",
            f"give seconds since 1970, at most {MAX_MTIME}",
            reference="usage-source-date-epoch",
        )
    return int(text)


def _differs(path: Path, data: bytes) -> bool:
    state = read_state(path)
    return state.data != data or stat.S_IMODE(state.path.stat().st_mode) != _MODE
