"""What the tests of the helper share: a cache with one ready answer in it, and doubts about it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from ecsauth.token_cache.cache import CachedToken, FileCache
from ecsauth.token_cache.sdk_files import read_sdk_files
from ecsauth.token_cache.server import Login, login_reply
from tests.builders import HOST

LIFE = 12 * 3600


@dataclass
class World:
    """A user's home with a cached login for `HOST`.

    Attributes:
        home: the home directory.
        environment: of a caller of the helper.
        stdin: what he sends.

    """

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    stdin: bytes = HOST.encode()

    @property
    def cache(self) -> Path:
        """The cache directory."""
        return self.home / ".ecr"

    @property
    def answers(self) -> Path:
        """The folder of ready answers."""
        return self.cache / "ecsauth-cache" / "answers"

    @property
    def answer(self) -> Path:
        """The ready answer."""
        return self.answers / f"{HOST}@"

    @property
    def mark(self) -> Path:
        """What has to lie in the future."""
        return Path(f"{self.answer}+at")

    @property
    def reply(self) -> bytes:
        """What a hit prints."""
        return f"{login_reply(HOST, Login('AWS', 's3cret'))}\n".encode()

    def keep(self) -> None:
        """Put the ready answer there, as the package does."""
        files = read_sdk_files(self.environment, str(self.home))
        assert files is not None
        cache = FileCache(self.cache, self.environment, str(self.home))
        cache.answer(HOST, "a" * 40, token(time.time()), self.reply.rstrip(b"\n"), files)
        self.discard_rollback()

    def discard_rollback(self, seconds: float = 5.0) -> None:
        """Let the folder's time be a while ago, as it is for every hit but the first."""
        past = time.time() - seconds
        os.utime(self.answers, (past, past))


def token(now: float, age: float = 60.0, life: float = LIFE) -> CachedToken:
    """Return a token that was asked for `age` seconds before `now`."""
    asked = int(now - age)
    return CachedToken("AWS", "s3cret", asked, asked + int(life))


def world(home: Path, **environment: str) -> World:
    """Make a home with a cached login."""
    home.mkdir(exist_ok=True)
    made = World(home, {"HOME": str(home), "PATH": os.environ["PATH"], **environment})
    made.keep()
    return made


def _other_owner(path: Path) -> None:
    os.chown(path, 12345, 12345)


def _link(path: Path) -> None:
    real = path.rename(path.with_name("real"))
    path.symlink_to(real)


def _touch(path: Path, moment: float) -> None:
    os.utime(path, (moment, moment))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def _write_by_others(world: World) -> None:
    """Others could write it, and did: its time is the present, its seal is gone or not."""
    data = world.answer.read_bytes().replace(b"s3cret", b"forged")
    world.answer.write_bytes(data)


def _stdin(data: bytes) -> Callable[[World], None]:
    return lambda world: setattr(world, "stdin", data)


def _set(**variables: str) -> Callable[[World], None]:
    return lambda world: world.environment.update(variables)


def _unset(name: str) -> Callable[[World], object]:
    return lambda world: world.environment.pop(name)


def _directory(world: World) -> None:
    world.answer.unlink()
    world.answer.mkdir()


def _rewrite(old: bytes, new: bytes) -> Callable[[World], None]:
    def rewrite(world: World) -> None:
        world.answer.write_bytes(world.answer.read_bytes().replace(old, new))
        _touch(world.answer, time.time() + 60)

    return rewrite


def _empty(world: World) -> None:
    world.answer.write_bytes(b"")
    _touch(world.answer, time.time() + 60)


DOUBTS: dict[str, Callable[[World], object]] = {
    "no answer": lambda world: world.answer.unlink(),
    "another host": _stdin(b"123456789013.dkr.ecr.us-west-2.amazonaws.com"),
    "a URL": _stdin(f"https://{HOST}".encode()),
    "a repository": _stdin(f"{HOST}/app".encode()),
    "capitals": _stdin(HOST.upper().encode()),
    "two lines": _stdin(f"{HOST}\nx\n".encode()),
    "nothing on stdin": _stdin(b""),
    "a path in the host": _stdin(f"../answers/{HOST}".encode()),
    "not an ECR host": _stdin(b"registry.example.com"),
    "not ASCII": _stdin(f"{HOST}é".encode()),
    "renewal is due": lambda world: _touch(world.answer, time.time() - 1),
    "the clock was turned back": lambda world: _touch(world.answers, time.time() + 60),
    "written by others": _write_by_others,
    "another user's answer": lambda world: _other_owner(world.answer),
    "another user's folder": lambda world: _other_owner(world.answers),
    "another user's cache": lambda world: _other_owner(world.cache),
    "the answer is a link": lambda world: _link(world.answer),
    "the folder is a link": lambda world: _link(world.answers),
    "the answer is open to others": lambda world: world.answer.chmod(0o666),
    "the folder is open to others": lambda world: world.answers.chmod(0o777),
    "the seal of the answer is gone": lambda world: world.answer.chmod(0o600),
    "the seal of the folder is gone": lambda world: world.answers.chmod(0o700),
    "the answer is a directory": _directory,
    "the answer is empty": _empty,
    "the answer of another host": _rewrite(b"|123456789012.", b"|123456789013."),
    "another profile": _set(AWS_PROFILE="other"),
    "a profile that is no name": _set(AWS_PROFILE="../x"),
    "a profile for the account": _set(AWS_PROFILE_123456789012="other"),
    "a role for the account": _set(AWS_ROLE_ARN_123456789012="arn:aws:iam::1:role/r"),
    "other keys": _set(AWS_ACCESS_KEY_ID="AKIAOTHER"),
    "a web identity": _set(AWS_ROLE_ARN="arn:aws:iam::1:role/r"),
    "another endpoint": _set(AWS_ENDPOINT_URL="http://127.0.0.1:1"),
    "another configuration": _set(AWS_CONFIG_FILE="/etc/aws"),
    "container credentials": _set(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/v2"),
    "no cache wanted": _set(AWS_ECR_DISABLE_CACHE="1"),
    "another cache directory": _set(AWS_ECR_CACHE_DIR="/nonexistent"),
    "a relative cache directory": _set(AWS_ECR_CACHE_DIR=".ecr"),
    "a cache directory with a tilde": _set(AWS_ECR_CACHE_DIR="~/.ecr"),
    "debugging": _set(ECSAUTH_DEBUG="1"),
    "no HOME": _unset("HOME"),
    "an empty HOME": _set(HOME=""),
    "a relative HOME": _set(HOME="home"),
    "the mark is gone": lambda world: world.mark.unlink(),
    "the mark has passed": lambda world: _touch(world.mark, time.time() - 1),
    "the mark is later than the answer": lambda world: _touch(world.mark, time.time() + 86400),
    "another user's folder of tokens": lambda world: _other_owner(world.answers.parent),
    "the folder of tokens is open to others": lambda world: world.answers.parent.chmod(0o777),
    "the folder of tokens is a link": lambda world: _link(world.answers.parent),
    "a token of the container": _set(AWS_CONTAINER_AUTHORIZATION_TOKEN="s3cret"),
    "a token file of the container": _set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="/t"),
    "an old credentials file": _set(AWS_CREDENTIAL_FILE="/t"),
    "a configuration of boto": _set(BOTO_CONFIG="/t"),
    "another metadata service": _set(AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:1"),
    "a configuration with a tilde": _set(AWS_CONFIG_FILE="~/c"),
    "a relative configuration": _set(AWS_SHARED_CREDENTIALS_FILE="c"),
    "a configuration with a variable": _set(AWS_CONFIG_FILE="/$HOME/c"),
    "a configuration that was there": lambda world: _write(Path(f"{world.answer}+config"), ""),
    "the AWS configuration has changed": lambda world: _write(world.home / ".aws/config", "x"),
    "the AWS credentials have changed": lambda world: _write(world.home / ".aws/credentials", "x"),
}
"""What makes a ready answer doubtful, by name."""
