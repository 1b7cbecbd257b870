"""The pipeline on its ports: what is verified before it replaces anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ecsauth.app.fetch import fetch_source, join
from ecsauth.app.update import raw_settings
from ecsauth.credentials.credential import Credential, Fetched
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.engine_auth.codec import EngineAuth
from ecsauth.engine_auth.layouts import DATA, ENV_FILE, Layout
from ecsauth.errors import EcsauthError, SourceError
from tests.unit.fakes import bring_all

NOW = 1_800_000_000
HUNTER = Credential(parse_auth_key("a.io"), "u", "hunter2")


class FakeSource:
    """Gives what it was told."""

    name = "fake"
    fingerprint = ""

    def __init__(self, *credentials: Credential, error: SourceError | None = None) -> None:
        self.credentials = credentials
        self.error = error

    def fetch(self) -> Fetched:
        if self.error:
            raise self.error
        return Fetched(self.credentials)


class FakeTarget:
    """A text in memory that notes what happens to it."""

    name = key = "memory"

    def __init__(self, text: bytes = b"", layout: Layout = ENV_FILE) -> None:
        self.text = text
        self.layout = layout
        self.events: list[str] = []

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        self.events.append("hold")
        yield
        self.events.append("release")

    def read(self) -> bytes:
        self.events.append("read")
        return self.text

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:
        self.events.append("write")
        self.text = text
        return ()


def test_target_is_held_from_the_reading_to_the_writing() -> None:
    target = FakeTarget()
    assert bring_all([FakeSource(HUNTER)], target, now=NOW).written
    assert target.events == ["hold", "read", "write", "release"]


def test_nothing_is_touched_without_credentials() -> None:
    target = FakeTarget()
    outcome = bring_all([FakeSource(error=SourceError("no"))], target, now=NOW)
    assert (outcome.plan, outcome.written, target.events) == (None, False, [])


def _drops_a_byte(text: bytes, settings: EngineAuth) -> bytes:
    return ENV_FILE.write(text, replace(settings, auth_data=settings.auth_data[:-1]))


def _writes_another_password(text: bytes, settings: EngineAuth) -> bytes:
    data = '{"a.io":{"auth":"dTpw"}}'
    return ENV_FILE.write(text, replace(settings, auth_data=data))


def _adds_a_registry(text: bytes, settings: EngineAuth) -> bytes:
    data = settings.auth_data[:-1] + ',"b.io":{"auth":"dTpw"}}'
    return ENV_FILE.write(text, replace(settings, auth_data=data))


def _forgets_the_type(text: bytes, settings: EngineAuth) -> bytes:
    return ENV_FILE.write(text, replace(settings, auth_type=""))


@pytest.mark.parametrize(
    "write", [_drops_a_byte, _writes_another_password, _adds_a_registry, _forgets_the_type]
)
def test_what_the_agent_would_read_otherwise_is_never_written(
    write: Callable[[bytes, EngineAuth], bytes],
) -> None:
    target = FakeTarget(b"A=1\n", replace(ENV_FILE, write=write))
    with pytest.raises(EcsauthError, match="nothing was written") as caught:
        bring_all([FakeSource(HUNTER)], target, now=NOW)
    assert "hunter2" not in str(caught.value)
    assert target.text == b"A=1\n"
    assert "write" not in target.events


@pytest.mark.parametrize(("expires_at", "kept"), [(NOW, False), (NOW + 1, True), (None, True)])
def test_expired_credential_is_never_passed_on(expires_at: int | None, kept: bool) -> None:
    fetched = fetch_source(FakeSource(replace(HUNTER, expires_at=expires_at)), NOW)
    assert bool(fetched.credentials) is kept
    assert bool(fetched.problems) is not kept


def test_later_source_wins_and_failing_ones_do_not_stop_others() -> None:
    other = replace(HUNTER, username="later")
    sources = [FakeSource(HUNTER), FakeSource(error=SourceError("no")), FakeSource(other)]
    fetched = join(["a", "b", "c"], [fetch_source(item, NOW) for item in sources])
    assert [item.username for item in fetched.credentials] == ["later"]
    assert [str(problem) for problem in fetched.problems] == ["no"]


def test_raw_settings_of_odd_values() -> None:
    document = {"auths": {"a.io": {"x": "\ud800", "n": float("1e308") * 1, "auth": "dTpw"}}}
    text, warnings = raw_settings(document, "auths", "auto", DATA)
    assert "\ufffd" in text.decode()
    assert warnings == []
