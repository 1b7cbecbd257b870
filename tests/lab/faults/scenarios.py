"""Commands that write something, what was there before, and what is to be there afterwards."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.builders import HOST, b64

PASSWORD = "canary-of-the-faults"
TOKEN = "t0ken-of-the-faults"
OLD = "ECS_CLUSTER=lab\n# kept, whatever happens\nECS_ENGINE_AUTH_TYPE=dockercfg\n" + (
    'ECS_ENGINE_AUTH_DATA={"q.io":{"auth":"' + b64("u:before") + '"}}\nECS_LOGLEVEL=warn\n'
)
LOGIN = json.dumps({"auths": {"q.io": {"auth": b64(f"u:{PASSWORD}")}}})


def is_crash(said: str) -> bool:
    """Return whether a command shows a traceback, or an error that nobody foresaw."""
    return "Traceback" in said or "unexpected" in said.replace("unexpected AWS response", "")


@dataclass(frozen=True)
class Scenario:
    """One command.

    Attributes:
        name: of the test.
        command: of ``ecsauth`` or the helper; HOME in it is the home directory's path, KEY that
            of the object in S3.
        files: path below the home directory → text, before the command.
        target: the path of what is written, below the home directory; empty for the object in S3.
        is_old, is_new: whether the bytes there, None if there is no file, are as before, or as
            they are to be.
        is_part: whether they are as they are to be if one of its sources fails.
        stdin: of the command.
        published: text of the object in S3 before; None if there is none.

    """

    name: str
    command: tuple[str, ...]
    files: Mapping[str, str]
    target: str
    is_old: Callable[[bytes | None], bool]
    is_new: Callable[[bytes | None], bool]
    is_part: Callable[[bytes | None], bool] = lambda _: False
    stdin: str = ""
    published: str | None = None

    def lay(self, home: Path) -> None:
        """Put the files there."""
        for name, text in self.files.items():
            path = home / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o600)

    def at(self, home: Path) -> list[str]:
        """Return the command for a home directory, whose name is the object's key."""
        return [part.replace("HOME", str(home)).replace("KEY", home.name) for part in self.command]


def read(path: Path) -> bytes | None:
    """Return the bytes of a file, or of the one token in the helper's cache, if there is one."""
    if path.is_dir():
        tokens = list(path.glob("*.token"))
        return tokens[0].read_bytes() if tokens else None
    return path.read_bytes() if path.exists() else None


def names(home: Path) -> set[str]:
    """Return what is below a directory, names that depend on HOME without what does.

    Without the helper's ready answers too: they are made or not, by how fresh ~/.aws/config is.
    """
    found = {os.path.relpath(path, home) for path in _walk(home) if path.parent.name != "answers"}
    return {re.sub(r"[0-9a-f]{16,}|(?<=/\.lock-)..$", "HASH", name) for name in found}


def likeness(home: Path) -> str:
    """Return what two directories have in common if a command does the same in both."""
    lines = []
    for path in sorted(_walk(home)):
        text = path.read_text() if path.is_file() else ""
        lines.append(f"{path.relative_to(home)}: {text}".replace(home.name, "HOME"))
    return re.sub(r"[0-9]{9,}(\.[0-9]+)?|[0-9a-f]{16,}|(?<=/\.lock-)..(?=:)", "N", "\n".join(lines))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def _is(text: str) -> Callable[[bytes | None], bool]:
    return lambda found: found == text.encode()


def _is_none(found: bytes | None) -> bool:
    return found is None


def _has_token(found: bytes | None) -> bool:
    if found is None:
        return False
    token = json.loads(found)
    return bool(token["expires_at"] > 0 and TOKEN in json.dumps(token))


_NEW = OLD.replace(b64("u:before"), b64(f"u:{PASSWORD}"))
_TOKEN_LINE = (
    f'{{"q.io":{{"auth":"{b64(f"u:{PASSWORD}")}"}},"{HOST}":{{"auth":"{b64(f"AWS:{TOKEN}")}"}}}}'
)
_WITHOUT_LOGIN = re.sub(
    r"(?<=AUTH_DATA=).*", _TOKEN_LINE.replace(b64(f"u:{PASSWORD}"), b64("u:before")), OLD
)
_REFRESHED = re.sub(r"(?<=AUTH_DATA=).*", _TOKEN_LINE, OLD)
_STATE = ("--state-dir", "HOME/state")
_TO = ("--to", "HOME/etc/ecs.config", *_STATE, "--restart=never")
_HELPER = "docker-credential-ecr-login"

MIGRATE = Scenario(
    "migrate",
    ("ecsauth", "migrate", "HOME/login.json", *_TO),
    {"etc/ecs.config": OLD, "login.json": LOGIN},
    "etc/ecs.config",
    _is(OLD),
    _is(_NEW),
)
REFRESH = Scenario(
    "refresh",
    ("ecsauth", "refresh", "ecr:", "HOME/login.json", *_TO),
    {"etc/ecs.config": OLD, "login.json": LOGIN},
    "etc/ecs.config",
    _is(OLD),
    _is(_REFRESHED),
    is_part=lambda found: _is(_NEW)(found) or _is(_WITHOUT_LOGIN)(found),
)
PULL = Scenario(
    "pull",
    ("ecsauth", "pull", "s3://fleet/KEY", *_TO),
    {"etc/ecs.config": OLD},
    "etc/ecs.config",
    _is(OLD),
    _is(_NEW),
    published=_NEW,
)
PUBLISH = Scenario(
    "publish",
    ("ecsauth", "publish", "HOME/login.json", "s3://fleet/KEY", *_STATE),
    {"login.json": LOGIN},
    "",
    _is(OLD),
    _is(_NEW),
    published=OLD,
)
HELPER = Scenario(
    "helper",
    (_HELPER, "get"),
    {".aws/config": ""},
    ".ecr/ecsauth-cache",
    _is_none,
    _has_token,
    stdin=HOST,
)
SCENARIOS = [MIGRATE, REFRESH, PULL, PUBLISH, HELPER]
