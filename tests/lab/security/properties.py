"""What must hold for any input: each function takes one and raises if it does not.

Raised on purpose is only `EcsauthError`, and what it says can be printed on one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from ecsauth.cli.console import printable
from ecsauth.credentials.credential import Credential
from ecsauth.credentials.json_text import dumps_jq, go_trim, loads_lenient, object_end
from ecsauth.credentials.login_file import select
from ecsauth.credentials.registry import parse_auth_key, parse_ecr_host, parse_image_registry
from ecsauth.engine_auth import agent_json
from ecsauth.engine_auth import env_file as ecs_config
from ecsauth.engine_auth import exports as printed
from ecsauth.engine_auth.check import Surroundings, check_text, fix_text
from ecsauth.engine_auth.codec import (
    AUTH_DATA_KEY,
    AUTH_TYPE_KEY,
    DOCKER,
    DOCKERCFG,
    AgentView,
    EngineAuth,
    choose_format,
    decode,
    difference,
    encode,
    redact,
)
from ecsauth.engine_auth.explain import explain
from ecsauth.engine_auth.layouts import AGENT_JSON, ENV_FILE
from ecsauth.engine_auth.resolve import resolve
from ecsauth.engine_auth.salvage import read_present
from ecsauth.errors import EcsauthError, SourceError
from ecsauth.helper.protocol import Reply, serve
from ecsauth.host.settings_file import load_settings
from ecsauth.sources.login_file import LoginFileSource
from ecsauth.sources.s3 import read_published
from ecsauth.sources.schemes import Context, parse_source
from ecsauth.sources.secret import Wanted, read_secret
from ecsauth.targets.forms import parse_target
from ecsauth.token_cache.server import Login, Server, parse_server_url

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NEW = EngineAuth(DOCKERCFG, '{"q.io":{"auth":"dTpw"}}')


def unprintable(text: str, allowed: str = "\n\t") -> set[str]:
    """Return what could move a terminal's cursor, hide text or turn its direction."""
    return {char for char in text if unicodedata.category(char) in _HIDDEN} - set(allowed)


@contextlib.contextmanager
def only_ours() -> Iterator[None]:
    """Let pass what ecsauth raises on purpose, and see that it can be said."""
    said = ""
    try:
        yield
    except EcsauthError as error:
        said = str(error)
    assert not unprintable(printable(said), ""), repr(said)


def login_file(data: bytes) -> None:
    """Parse it; whatever comes of it goes through ecs.config unchanged."""
    with only_ours():
        for selected in ("", "auths"):
            found = LoginFileSource("f", lambda: data, _no_store, selected).fetch()
            if found.credentials:
                credentials(found.credentials)
    with only_ours():
        document = LoginFileSource("f", lambda: data, _no_store).document()
        assert "\n" not in dumps_jq(document)
        select(document, "keys(@)")


def credentials(given: Sequence[Credential]) -> bytes:
    """Write them into ecs.config and every other layout; each must read back the same."""
    settings = encode(given, choose_format(given))
    text = ecs_config.write_engine_auth(b"A=1\nB=2\\\n", settings)
    lines = text.split(b"\n")
    assert lines[:3] == [b"A=1", b"B=2\\", b""]
    assert len(lines) == 6, text
    assert not unprintable(text.decode("ascii"), "\n")
    assert difference(given, decode(ecs_config.read_engine_auth(text))) == ""
    as_json = agent_json.write_engine_auth(b"", settings)
    assert difference(given, decode(agent_json.read_engine_auth(as_json))) == ""
    for layout in (printed.POWERSHELL, printed.BOTTLEROCKET, printed.DOCKER_CONFIG):
        with only_ours():
            assert not unprintable(layout.write(b"", settings).decode("ascii"))
    for item in given:
        resolve(given, f"{item.match}/app")
    return text


def ecs_config_text(data: bytes) -> None:
    """Read it, look for faults, write into it: foreign lines stay, ours are there once."""
    settings = ecs_config.read_engine_auth(data)
    _look_at(settings)
    ecs_config.full_value(data)
    with only_ours():
        check_text(ENV_FILE, data, 1_800_000_000.0, Surroundings())
    with only_ours():
        text = ecs_config.write_engine_auth(data, _NEW)
        assert ecs_config.read_engine_auth(text) == _NEW
        assert ecs_config.write_engine_auth(text, _NEW) == text
        before, after = ecs_config.read(data), ecs_config.read(text)
        if not ecs_config.spread_lines(data):
            foreign = [item for item in before if item not in (AUTH_TYPE_KEY, AUTH_DATA_KEY)]
            assert {item: after[item] for item in foreign} == {
                item: before[item] for item in foreign
            }
        assert text.count(b"\n" + AUTH_DATA_KEY.encode() + b"=") <= 1
    with only_ours():
        repaired = fix_text(ENV_FILE, data)
        assert fix_text(ENV_FILE, repaired) == repaired
    with only_ours():
        read_published(data, ENV_FILE, {"ecsauth-expires": data[:30].decode("latin-1")}, "s3", "v")


def agent_json_text(data: bytes) -> None:
    """Read it, look for faults, write into it: the other members stay."""
    with only_ours():
        check_text(AGENT_JSON, data, 1_800_000_000.0, Surroundings())
    with only_ours():
        _look_at(agent_json.read_engine_auth(data))
        text = agent_json.write_engine_auth(data, _NEW)
        assert agent_json.read_engine_auth(text) == _NEW
        assert agent_json.write_engine_auth(text, _NEW) == text
        assert not agent_json.is_untidy(text)
    with only_ours():
        repaired = fix_text(AGENT_JSON, data)
        assert fix_text(AGENT_JSON, repaired) == repaired
    with only_ours():
        read_published(data, AGENT_JSON, {}, "s3", "v")


def name(text: str) -> None:
    """Take it for a registry, an image, a server URL and what is stored."""
    parse_image_registry(text)
    parse_ecr_host(text)
    with only_ours():
        key = parse_auth_key(text)
        assert not unprintable(key.text, "")
        assert not set(key.text) & set(" \"'\\$`#=")
        assert parse_auth_key(key.text).match == key.match
    with only_ours():
        explain(AgentView((Credential(parse_auth_key("q.io"), "u", "p"),)), text)
    server = parse_server_url(text)
    assert server is None or not unprintable(server.host, "")
    data = text.encode("utf-8", "surrogatepass")
    for action in ("get", "store", "erase", text):
        for is_strict in (False, True):
            reply = serve([action], lambda: data, _Vault(), is_strict=is_strict)
            assert not unprintable(reply.text) or reply.code == 0, reply
            assert action != "get" or reply.code or _is_login(reply)


def place(text: str) -> None:
    """Take it for a SOURCE and a TARGET; nothing is read."""
    with only_ours():
        parse_source(text, Context({}, io.BytesIO()))
    with only_ours():
        parse_target(text, 0, io.BytesIO)


def secret(text: str) -> None:
    """Take it for a secret, with and without what a SOURCE may say of it."""
    for wanted in (Wanted(), Wanted("q.io"), Wanted("q.io", "a.b", "u"), Wanted("q.io", "", "u")):
        with only_ours():
            found = read_secret(text, wanted, "secret", 1_800_000_000)
            if found.credentials:
                credentials(found.credentials)


def settings_file(data: bytes) -> None:
    """Take it for the settings file."""
    with tempfile.NamedTemporaryFile(dir=_memory()) as file, only_ours():
        file.write(data)
        file.flush()
        found = load_settings(Path(file.name), required=True)
        assert not any("\0" in item for pair in found.values.items() for item in pair)


def mangled(text: str) -> None:
    """Make JSON of what a person has mangled; in a time that grows with its length."""
    started = time.process_time()
    value = loads_lenient(text)
    json.dumps(value)
    object_end(text)
    assert time.process_time() - started < 1.0


def _look_at(settings: EngineAuth) -> None:
    view = decode(settings)
    redact(settings)
    assert not view.fault or not unprintable(printable(view.fault), "")
    for item in view.credentials:
        resolve(view.credentials, f"{go_trim(item.match)}/app")
    with only_ours():
        encode(view.credentials, DOCKER)
    read_present(settings, settings.auth_data)


def _is_login(reply: Reply) -> bool:
    return set(json.loads(reply.text)) == {"ServerURL", "Username", "Secret"}


def _no_store(given: str) -> NoReturn:
    raise SourceError(f"no store {given!r} here")


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class _Vault:
    """Has a login for each registry but ECR Public."""

    def login(self, server: Server) -> Login:
        if server.registry is None:
            raise SourceError("no login")
        return Login("AWS", "t")

    def forget(self, server: Server) -> None:
        pass

    def hosts(self) -> Sequence[str]:
        return ()
