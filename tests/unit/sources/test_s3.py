"""Objects in S3 without S3: names, what is read out of them, conditions, repetition."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from ecsauth.app.pipeline import Brought
from ecsauth.app.requests import MergeOptions
from ecsauth.app.update import MAX_CONFLICTS
from ecsauth.aws.place import parse_place
from ecsauth.aws.session import Identity
from ecsauth.credentials.credential import Credential, Fetched
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.engine_auth.layouts import AGENT_JSON, ENV_FILE
from ecsauth.errors import ConflictError, SourceError, UsageError
from ecsauth.sources.s3 import read_published
from tests.builders import HOST, b64, credential
from tests.unit.fakes import Clock, DictMemory, FixedSource, MemoryTarget, bring_all, bring_due


def env(data: object) -> bytes:
    text = json.dumps(data)
    return f"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={text}\n".encode()


def test_place_and_its_parameters() -> None:
    place = parse_place(
        "s3://my.bucket-1/a/b c.config?region=eu-west-1&profile=p%26q&role_arn=r&external_id=x"
        "&expected_bucket_owner=123456789012",
        {"ECSAUTH_EXPECTED_BUCKET_OWNER": "999999999999"},
    )
    assert (place.bucket, place.key, place.region) == ("my.bucket-1", "a/b c.config", "eu-west-1")
    assert place.identity == Identity("p&q", "r", "x")
    assert place.owner == "123456789012"
    assert place.name == "s3://my.bucket-1/a/b c.config"  # and nothing that nobody else needs


def test_access_point_is_a_bucket() -> None:
    point = "arn:aws:s3:us-west-2:123456789012:accesspoint/fleet"
    place = parse_place(f"s3://{point}/ecs.config", {})
    assert (place.bucket, place.key) == (point, "ecs.config")


@pytest.mark.parametrize(
    "text",
    [
        *("s3:", "s3:/b/k", "s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://B/k"),
        *("s3://bucket/folder/", "s3://bucket/a\nb", "s3://bu_cket/k", f"s3://bucket/{'k' * 1025}"),
        *("s3://bucket/k?region=moon", "s3://bucket/k?x=1", "s3://bucket/k?region"),
        *("s3://bucket/k?expected_bucket_owner=12", "s3://bucket/k?profile=a&profile=b"),
    ],
)
def test_place_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_place(text, {})


def test_logins_of_an_object_and_their_expiry() -> None:
    text = env({HOST: {"auth": b64("AWS:t")}, "q.io": {"auth": b64("u:p")}})
    found = read_published(text, ENV_FILE, {"ecsauth-expires": "2027-01-15T08:00:00Z"}, "s3", "e1")
    expiries = {item.match: item.expires_at for item in found.credentials}
    assert expiries == {HOST: 1_800_000_000, "q.io": None}
    assert found.version == "e1"
    for metadata in ({}, {"ecsauth-expires": "tomorrow"}, {"ecsauth-expires": ""}):
        found = read_published(text, ENV_FILE, metadata, "s3", "e1")
        assert [item.expires_at for item in found.credentials] == [None, None]


def test_json_object_is_read_as_the_agent_s_json_file() -> None:
    document = {"EngineAuthType": "dockercfg", "EngineAuthData": {"q.io": {"auth": b64("u:p")}}}
    found = read_published(json.dumps(document).encode(), AGENT_JSON, {}, "s3", "")
    assert [item.match for item in found.credentials] == ["q.io"]
    with pytest.raises(SourceError):
        read_published(b"{", AGENT_JSON, {}, "s3", "")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"ECS_CLUSTER=x\n",
        env({"auths": {"q.io": {"auth": b64("u:p")}}}),
        env({"q.io": {"auth": "!"}}),
        env({"q.io": {"auth": b64("u:p")}}).replace(b"dockercfg", b"'dockercfg'"),
    ],
)
def test_object_without_logins_for_the_agent_is_refused(text: bytes) -> None:
    with pytest.raises(SourceError, match=r"^s3://b/k: "):
        read_published(text, ENV_FILE, {}, "s3://b/k", "")


@dataclass
class BusyTarget(MemoryTarget):
    """Others write it as often as is said, each time we want to."""

    others: int = 0
    reads: int = 0

    def read(self) -> bytes:
        self.reads += 1
        return super().read()

    def write(self, text: bytes, expires_at: int | None = None) -> tuple[str, ...]:
        if self.others:
            self.others -= 1
            self.text += b"ECS_OTHER=1\n"
            raise ConflictError("busy")
        return super().write(text)


def test_target_that_others_write_is_read_again() -> None:
    target = BusyTarget(others=MAX_CONFLICTS - 1)
    outcome = bring_all([FixedSource((credential("q.io"),))], target, MergeOptions(), now=0)
    assert outcome.written
    assert target.reads == MAX_CONFLICTS
    assert target.text.count(b"ECS_OTHER=1") == MAX_CONFLICTS - 1
    assert target.logins() == {"q.io": "p"}


def test_target_that_others_write_all_the_time_is_given_up() -> None:
    target = BusyTarget(others=MAX_CONFLICTS)
    with pytest.raises(ConflictError):
        bring_all([FixedSource((credential("q.io"),))], target, MergeOptions(), now=0)
    assert target.reads == MAX_CONFLICTS


@dataclass
class Published(FixedSource):
    """An object that tells whether it has changed."""

    asked_with: list[str] = field(default_factory=list)

    def fetch_unless(self, version: str) -> Fetched | None:
        self.asked_with.append(version)
        return None if version == self.version else self.fetch()


@dataclass
class Bench:
    source: Published
    target: MemoryTarget = field(default_factory=MemoryTarget)
    memory: DictMemory = field(default_factory=DictMemory)
    clock: Clock = field(default_factory=Clock)

    def run(self, **options: Any) -> Brought:
        return bring_due([self.source], [self.target], self.memory, self.clock.now, **options)


@pytest.fixture
def bench() -> Bench:
    return Bench(Published((credential("q.io"), credential("r.io")), version="e1"))


def test_unchanged_object_is_asked_for_with_its_version_only(bench: Bench) -> None:
    bench.run()
    assert (bench.source.calls, bench.source.asked_with) == (1, [])
    done = bench.run()
    assert (bench.source.calls, bench.source.asked_with) == (1, ["e1"])
    assert done.asked[0].answer.is_unchanged
    assert bench.target.writes == 1
    bench.source.version, bench.source.credentials = (
        "e2",
        (credential("q.io", secret="new"), credential("r.io")),
    )
    bench.run()
    assert bench.target.logins() == {"q.io": "new", "r.io": "p"}


@pytest.mark.parametrize("why", ["drift", "force", "lost memory", "problem before"])
def test_object_is_read_whole_if_the_target_is_not_as_it_left_it(bench: Bench, why: str) -> None:
    if why == "problem before":
        bench.source.problems = (SourceError("s.io: expired"),)
    bench.run()
    bench.source.problems = ()
    if why == "drift":
        bench.target.text = bench.target.text.replace(b"r.io", b"s.io")
    if why == "lost memory":
        bench.memory.known.clear()
    bench.run(force=why == "force")
    assert (bench.source.calls, bench.source.asked_with) == (2, [])


def test_unchanged_object_s_logins_survive_replace(bench: Bench) -> None:
    bench.run(merge=MergeOptions(replace=True))
    bench.target.text = bench.target.text.replace(b"ECS_CLUSTER=x", b"ECS_CLUSTER=y")
    bench.run(merge=MergeOptions(replace=True))
    assert bench.source.asked_with == ["e1"]
    assert set(bench.target.logins()) == {"q.io", "r.io"}


def test_expired_logins_of_an_unchanged_object_are_asked_for_again(bench: Bench) -> None:
    token = Credential(parse_auth_key(HOST), "AWS", "t", expires_at=int(bench.clock.now) + 100)
    bench.source.credentials = (token,)
    bench.run()
    bench.clock.now += 99
    bench.run()
    assert bench.source.asked_with == ["e1"]
    bench.clock.now += 1
    done = bench.run()
    assert bench.source.calls == 2
    assert done.results[0].outcome.problems


def test_login_that_another_publisher_renewed_meanwhile_is_not_taken_out() -> None:
    clock = Clock()
    token = Credential(parse_auth_key(HOST), "AWS", "old", expires_at=int(clock.now) - 1)
    data = json.dumps({HOST: {"auth": b64("AWS:old")}})
    target = BusyTarget(text=env(json.loads(data)))
    memory = DictMemory()
    source = FixedSource((token,), fingerprint="f")
    clock.now -= 10
    bring_due([source], [target], memory, clock.now)
    clock.now += 10

    def renew(text: bytes, expires_at: int | None = None) -> tuple[str, ...]:
        target.write = MemoryTarget.write.__get__(target)  # type: ignore[method-assign]
        target.text = target.text.replace(b64("AWS:old").encode(), b64("AWS:new").encode())
        raise ConflictError("busy")

    source.credentials, source.problems = (), (SourceError("denied"),)
    target.write = renew  # type: ignore[method-assign]
    bring_due([source], [target], memory, clock.now)
    assert target.logins() == {HOST: "new"}
    target.text = target.text.replace(b64("AWS:new").encode(), b64("AWS:old").encode())
    bring_due([source], [target], memory, clock.now)
    assert target.logins() == {}  # the positive control
