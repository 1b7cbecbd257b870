"""The archive that Marathon fetches for a task: a docker config that names the helper.

The Mesos fetcher unpacks it into the task's folder, which is HOME for ``docker pull``. It holds no
secret. The same arguments give the same bytes on every host: it has no time or user of the host,
and is not compressed.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Collection

STORE = "ecr-login"
MAX_MTIME = 8**11 - 1
"""The latest time that a tar header can hold."""

_FOLDER, _FOLDER_MODE = ".docker", 0o700
_FILE, _FILE_MODE = ".docker/config.json", 0o600
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, no system (RFC 1952)


def config_text(hosts: Collection[str]) -> bytes:
    """Return a docker config that uses the helper for these registries; if empty, for all."""
    document = {"credHelpers": dict.fromkeys(sorted(hosts), STORE)} if hosts else None
    return f"{json.dumps(document or {'credsStore': STORE})}\n".encode()


def archive(config: bytes, mtime: int = 0) -> bytes:
    """Return a gzipped tar archive with the docker config.

    Args:
        config: text of ``.docker/config.json``.
        mtime: modification time of the archive's members (Unix seconds).

    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(_member(_FOLDER, tarfile.DIRTYPE, _FOLDER_MODE, mtime))
        member = _member(_FILE, tarfile.REGTYPE, _FILE_MODE, mtime)
        member.size = len(config)
        tar.addfile(member, io.BytesIO(config))
    return _gzip(packed.getvalue())


def _member(name: str, kind: bytes, mode: int, mtime: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, mtime
    member.uname = member.gname = "root"
    return member


def _gzip(data: bytes) -> bytes:
    """Wrap bytes as gzip without compression, whose result would differ from host to host."""
    packer = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(data) + packer.flush()
    return _GZIP_HEADER + body + struct.pack("<LL", zlib.crc32(data), len(data))
