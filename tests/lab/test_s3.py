"""publish and pull against a real S3: conditions, checksums, signatures, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth.aws.objects import Encryption, Objects
from ecsauth.aws.place import parse_place
from ecsauth.aws.session import Aws
from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.env_file import read_engine_auth
from ecsauth.errors import SourceError
from tests.builders import b64
from tests.conftest import Result
from tests.lab.conftest import S3
from tests.lab.seaweed import Answer

RunProgram = Callable[..., Result]
URL = "s3://fleet/ecs.config"


@pytest.fixture
def login(login_file: Callable[..., Path]) -> Path:
    return login_file({"q.io": {"auth": b64("u:p")}})


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "ecs.config"
    path.write_text("ECS_CLUSTER=here\n")
    return path


def logins(text: str) -> dict[str, str]:
    view = decode(read_engine_auth(text.encode()))
    return {item.match: item.secret for item in view.credentials}


def test_published_object_is_pulled(ecsauth: RunProgram, s3: S3, login: Path, target: Path) -> None:
    done = ecsauth("publish", login, URL)
    assert done.code == 0, done.err
    assert "s3://fleet/ecs.config: written: 1 registry" in done.out
    found = s3.client.get_object(Bucket="fleet", Key="ecs.config", ChecksumMode="ENABLED")
    assert found["ContentType"] == "text/plain"
    assert found["CacheControl"] == "no-store"
    assert found["ChecksumSHA256"]
    assert set(found["Metadata"]) == {"ecsauth-version", "ecsauth-issued"}
    pulled = ecsauth("pull", URL, "--to", target)
    assert pulled.code == 0, pulled.err
    assert logins(target.read_text()) == {"q.io": "p"}
    assert target.read_text().startswith("ECS_CLUSTER=here\n")
    assert target.stat().st_mode & 0o777 == 0o600


def test_every_other_line_of_the_object_stays(ecsauth: RunProgram, s3: S3, login: Path) -> None:
    foreign = "\ufeff# a comment\r\nECS_CLUSTER=prod\r\n\r\nexport X='1'\r\nno line at all\r\n"
    s3.put(foreign)
    assert ecsauth("publish", login, URL).code == 0
    text = s3.text()
    assert text.startswith(foreign)
    assert logins(text) == {"q.io": "p"}
    again = ecsauth("publish", login, URL)
    assert "up to date" in again.out
    assert [call for call in s3.between.calls if call.startswith("PUT")] == [
        "PUT /fleet/ecs.config"
    ]


def test_object_of_a_megabyte_is_no_matter(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path
) -> None:
    lines = "".join(f"LINE_{number}={'x' * 100}\n" for number in range(9500))
    s3.put(lines)
    assert ecsauth("publish", login, URL).code == 0
    assert s3.text().startswith(lines)
    assert ecsauth("pull", URL, "--to", target).code == 0
    assert logins(target.read_text()) == {"q.io": "p"}


def test_object_that_is_too_large_is_refused(ecsauth: RunProgram, s3: S3, login: Path) -> None:
    s3.put(b"X" * (16 * 1024 * 1024 + 1))
    done = ecsauth("publish", login, URL)
    assert done.code == 4
    assert "is larger than the 16,777,216 bytes" in done.err


def test_base_supplies_the_other_settings(
    ecsauth: RunProgram, s3: S3, login: Path, login_file: Callable[..., Path], tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.write_text("ECS_CLUSTER=one\n")
    assert ecsauth("publish", login, URL, "--base", base).code == 0
    assert s3.text().startswith("ECS_CLUSTER=one\nECS_ENGINE")
    base.write_text("ECS_CLUSTER=two\n")
    other = login_file({"r.io": {"auth": b64("u:p")}}, "other.json")
    assert ecsauth("publish", other, URL, "--base", base).code == 0
    assert s3.text().startswith("ECS_CLUSTER=two\n")
    assert set(logins(s3.text())) == {"q.io", "r.io"}
    base.write_text("ECS_CLUSTER=three\n")  # nothing but the base has changed
    assert "written" in ecsauth("publish", other, URL, "--base", base).out
    assert s3.text().startswith("ECS_CLUSTER=three\n")
    assert "up to date" in ecsauth("publish", other, URL, "--base", base).out


def test_twenty_publishers_at_once_lose_nothing(s3: S3, login_file: Callable[..., Path]) -> None:
    files = [
        login_file({f"r{number}.io": {"auth": b64("u:p")}}, f"{number}.json")
        for number in range(20)
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "ecsauth", "publish", str(file), URL],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for file in files
    ]
    said = [process.communicate(timeout=250)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 20, said
    assert set(logins(s3.text())) == {f"r{number}.io" for number in range(20)}
    assert len([call for call in s3.between.calls if call.startswith("PUT")]) > 20  # they did meet


def test_one_that_always_comes_too_late_gives_up(
    ecsauth: RunProgram, s3: S3, login: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecsauth.targets.s3._LONGEST_PAUSE", 0.01)
    number = 0

    def others_write(method: str) -> None:
        nonlocal number
        if method == "PUT":
            number += 1
            s3.put(f"ECS_CLUSTER={number}\n")

    s3.put("ECS_CLUSTER=0\n")
    s3.between.delay = others_write
    done = ecsauth("publish", login, URL)
    assert done.code == 4
    assert "gave up after 40 conflicting writes" in done.err
    assert number == 40
    assert logins(s3.text()) == {}


def test_publisher_that_is_killed_between_reading_and_writing_harms_nobody(
    ecsauth: RunProgram, s3: S3, login: Path
) -> None:
    s3.put("ECS_CLUSTER=x\n")
    arrived: list[str] = []

    def hold(method: str) -> None:
        if method == "PUT" and not arrived:
            arrived.append(method)
            time.sleep(3)

    s3.between.delay = hold
    process = subprocess.Popen([sys.executable, "-m", "ecsauth", "publish", str(login), URL])
    while not arrived:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert s3.text() == "ECS_CLUSTER=x\n"
    assert ecsauth("publish", login, URL).code == 0
    assert logins(s3.text()) == {"q.io": "p"}


def flip(method: str, path: str, answer: Answer) -> Answer:
    status, headers, data = answer
    if method == "GET" and path.startswith("/fleet/ecs.config") and "?" not in path:
        data = data.replace(b"q.io", b"q.iO")
    return status, headers, data


def truncate(method: str, path: str, answer: Answer) -> Answer:
    status, headers, data = answer
    if method == "GET" and path.startswith("/fleet/ecs.config") and "?" not in path:
        data = data[: len(data) // 2]
    return status, headers, data


@pytest.mark.parametrize("meddle", [flip, truncate])
def test_damaged_object_is_not_taken(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path, meddle: Callable[..., Answer]
) -> None:
    ecsauth("publish", login, URL)
    before = target.read_bytes()
    s3.between.meddle = meddle
    done = ecsauth("pull", URL, "--to", target)
    assert done.code == 3
    assert "arrived damaged" in done.err
    assert target.read_bytes() == before
    done = ecsauth("publish", login, URL)
    assert done.code == 4
    s3.between.meddle = lambda _, __, answer: answer
    assert ecsauth("pull", URL, "--to", target).code == 0


def test_damage_on_the_way_is_asked_for_again(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path
) -> None:
    ecsauth("publish", login, URL)
    times = 0

    def once(method: str, path: str, answer: Answer) -> Answer:
        nonlocal times
        times += 1
        return flip(method, path, answer) if times == 1 else answer

    s3.between.meddle = once
    assert ecsauth("pull", URL, "--to", target).code == 0
    assert logins(target.read_text()) == {"q.io": "p"}


def test_damaged_upload_is_refused_by_s3(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checksum that we send is what S3 compares: BadDigest, and nothing is written."""
    objects = Objects(Aws(os.environ), parse_place(URL, {}))
    assert objects.put(b"ECS_CLUSTER=x\n", "", {}, Encryption())
    s3.client.delete_object(Bucket="fleet", Key="ecs.config")

    class Wrong:
        @staticmethod
        def sha256(data: bytes) -> object:
            return hashlib.sha256(data + b"!")

    monkeypatch.setattr("ecsauth.aws.objects.hashlib", Wrong)
    with pytest.raises(SourceError, match="s3:PutObject failed"):
        objects.put(b"ECS_CLUSTER=x\n", "", {}, Encryption())
    assert "Contents" not in s3.client.list_objects_v2(Bucket="fleet")


def test_unchanged_object_is_neither_read_nor_written(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path
) -> None:
    ecsauth("publish", login, URL)
    assert ecsauth("pull", URL, "--to", target).code == 0
    before = target.stat()
    sizes: list[int] = []

    def note(method: str, path: str, answer: Answer) -> Answer:
        sizes.append(len(answer[2]) if method == "GET" else 0)
        assert answer[0] == 304
        return answer

    s3.between.meddle = note
    again = ecsauth("pull", URL, "--to", target)
    assert again.code == 0
    assert "nothing has changed" in again.out
    assert sizes == [0]
    after = target.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # But what was changed here is put right.
    s3.between.meddle = lambda _, __, answer: answer
    target.write_text("ECS_CLUSTER=here\n")
    assert ecsauth("pull", URL, "--to", target).code == 0
    assert logins(target.read_text()) == {"q.io": "p"}


def test_changed_object_is_taken(
    ecsauth: RunProgram, s3: S3, login: Path, login_file: Callable[..., Path], target: Path
) -> None:
    ecsauth("publish", login, URL)
    ecsauth("pull", URL, "--to", target)
    newer = login_file({"q.io": {"auth": b64("u:new")}}, "newer.json")
    ecsauth("publish", newer, URL)
    assert ecsauth("pull", URL, "--to", target).code == 0
    assert logins(target.read_text()) == {"q.io": "new"}


def test_expired_credentials_are_refused_and_the_present_ones_stay(
    ecsauth: RunProgram, s3: S3, target: Path
) -> None:
    host = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
    data = json.dumps({host: {"auth": b64("AWS:new")}, "q.io": {"auth": b64("u:p")}})
    text = f"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={data}\n"
    s3.put(text, Metadata={"ecsauth-expires": "2020-01-01T00:00:00Z"})
    present = json.dumps({host: {"auth": b64("AWS:old")}})
    target.write_text(f"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={present}\n")
    done = ecsauth("pull", URL, "--to", target)
    assert done.code == 3
    assert f"{host}: its ECR token expired" in done.err
    assert logins(target.read_text()) == {host: "old", "q.io": "p"}
    done = ecsauth("pull", URL, "--to", target, "--whole-file")
    assert done.code == 3
    assert logins(target.read_text()) == {host: "old", "q.io": "p"}
    s3.put(text, Metadata={"ecsauth-expires": "2999-01-01T00:00:00Z"})
    assert ecsauth("pull", URL, "--to", target).code == 0
    assert logins(target.read_text()) == {host: "new", "q.io": "p"}


def test_whole_file(ecsauth: RunProgram, s3: S3, login: Path, target: Path) -> None:
    s3.put("ECS_CLUSTER=fleet\n# all of it\n")
    ecsauth("publish", login, URL)
    would = ecsauth("pull", URL, "--to", target, "--whole-file", "--dry-run")
    assert "would be written (whole file)" in would.out
    assert target.read_text() == "ECS_CLUSTER=here\n"
    done = ecsauth("pull", URL, "--to", target, "--whole-file")
    assert done.code == 0, done.err
    assert target.read_text() == s3.text()
    assert target.stat().st_mode & 0o777 == 0o600
    seen: list[int] = []

    def note(method: str, path: str, answer: Answer) -> Answer:
        seen.append(answer[0])
        return answer

    s3.between.meddle = note
    again = ecsauth("pull", URL, "--to", target, "--whole-file")
    assert "up to date" in again.out
    assert seen == [304]
    target.write_text("ECS_CLUSTER=edited\n")
    assert "written" in ecsauth("pull", URL, "--to", target, "--whole-file").out
    assert target.read_text() == s3.text()
    assert seen == [304, 200]


@pytest.mark.parametrize(
    "text",
    [
        "ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA='{}'\n",
        'ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={"auths":{"q.io":{"auth":"dTpw"}}}\n',
        "ECS_CLUSTER=x\n",
        "",
        "<?xml version='1.0'?><Error/>",
    ],
)
@pytest.mark.parametrize("whole", [[], ["--whole-file"]])
def test_object_that_the_agent_would_not_read_is_not_taken(
    ecsauth: RunProgram, s3: S3, target: Path, text: str, whole: list[str]
) -> None:
    s3.put(text)
    before = target.read_bytes()
    done = ecsauth("pull", URL, "--to", target, *whole)
    assert done.code == 3, done
    assert "s3://fleet/ecs.config" in done.errors[0]
    assert target.read_bytes() == before


def refused(status: int, code: str, **headers: str) -> Callable[[str, str, Answer], Answer]:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return lambda _, __, ___: (status, {"Content-Type": "application/xml", **headers}, body)


@pytest.mark.parametrize(
    ("meddle", "words"),
    [
        (refused(403, "AccessDenied"), "access denied to s3:GetObject"),
        (refused(404, "NoSuchKey"), "there is no such object"),
        (refused(404, "NoSuchBucket"), "there is no such bucket"),
        (refused(403, "RequestTimeTooSkewed"), "the clock of this host is wrong"),
        (refused(403, "InvalidAccessKeyId"), "rejected the access key or its signature"),
        (refused(503, "SlowDown"), "throttles s3:GetObject"),
        (refused(500, "InternalError"), "s3:GetObject failed: InternalError"),
        (lambda _, __, ___: None, "no answer from AWS"),
    ],
)
def test_s3_that_fails_leaves_the_present_file(
    ecsauth: RunProgram,
    s3: S3,
    login: Path,
    target: Path,
    meddle: Callable[..., Answer],
    words: str,
) -> None:
    ecsauth("publish", login, URL)
    before = target.read_bytes()
    s3.between.meddle = meddle
    done = ecsauth("pull", URL, "--to", target)
    assert done.code == 3
    assert words in done.errors[0], done.err
    assert target.read_bytes() == before
    published = ecsauth("publish", login, URL)
    assert published.code == 4


def test_server_that_is_not_there(
    ecsauth: RunProgram, login: Path, target: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert ecsauth("pull", URL, "--to", target).code == 3
    assert ecsauth("publish", login, URL).code == 4


def test_bucket_of_another_region_is_found(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path
) -> None:
    ecsauth("publish", login, URL)
    moved = refused(301, "PermanentRedirect", **{"x-amz-bucket-region": "eu-west-1"})
    seen: list[str] = []

    def redirect(method: str, path: str, answer: Answer) -> Answer:
        seen.append(path)
        return moved(method, path, answer) if len(seen) == 1 else answer

    s3.between.meddle = redirect
    done = ecsauth("pull", URL, "--to", target)
    assert done.code == 0, done.err
    assert logins(target.read_text()) == {"q.io": "p"}


def test_slow_connection_is_waited_for(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path
) -> None:
    ecsauth("publish", login, URL)
    s3.between.delay = lambda _: time.sleep(2)
    assert ecsauth("pull", URL, "--to", target).code == 0


def test_identity_that_may_only_read_can_pull_and_not_publish(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ecsauth("publish", login, URL)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "READER")
    assert ecsauth("pull", URL, "--to", target).code == 0
    other = login.with_name("other.json")
    other.write_text('{"auths":{"r.io":{"auth":"dTpw"}}}')
    done = ecsauth("publish", other, URL)
    assert done.code == 4
    assert "access denied to s3:PutObject" in done.err
    assert logins(s3.text()) == {"q.io": "p"}
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    done = ecsauth("pull", URL, "--to", target)
    assert done.code == 3
    assert "rejected the access key or its signature" in done.err


def test_versions_are_there_to_go_back_to(ecsauth: RunProgram, s3: S3, login: Path) -> None:
    done = ecsauth("publish", login, URL)
    assert "the bucket keeps no versions" in done.err
    s3.client.create_bucket(Bucket="versioned")
    s3.client.put_bucket_versioning(
        Bucket="versioned", VersioningConfiguration={"Status": "Enabled"}
    )
    url = "s3://versioned/a/b/ecs.config"
    s3.client.put_object(Bucket="versioned", Key="a/b/ecs.config", Body=b"ECS_CLUSTER=x\n")
    done = ecsauth("publish", login, url)
    assert done.code == 0
    assert "versions" not in done.err
    found = s3.client.list_object_versions(Bucket="versioned", Prefix="a/b/ecs.config")
    assert len(found["Versions"]) == 2


def test_bucket_that_the_public_can_read_is_refused(
    ecsauth: RunProgram, s3: S3, login: Path
) -> None:
    group = "http://acs.amazonaws.com/groups/global/AllUsers"
    acl = (
        "<AccessControlPolicy><Owner><ID>a</ID></Owner><AccessControlList><Grant>"
        '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group">'
        f"<URI>{group}</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList>"
        "</AccessControlPolicy>"
    ).encode()
    public = b"<PolicyStatus><IsPublic>true</IsPublic></PolicyStatus>"
    block = (
        b"<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls>"
        b"<RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>"
    )
    answers: dict[str, bytes] = {}

    def meddle(method: str, path: str, answer: Answer) -> Answer:
        for name, body in answers.items():
            if method == "GET" and re.search(name, path):
                return 200, {"Content-Type": "application/xml"}, body
        return answer

    s3.between.meddle = meddle
    cases = {
        r"^/fleet/?\?acl": (acl, "the bucket's ACL makes it public"),
        r"^/fleet/ecs.config\?acl": (acl, "the object's ACL makes it public"),
        r"policyStatus": (public, "the bucket's policy makes it public"),
    }
    for name, (body, words) in cases.items():
        answers.clear()
        answers[name] = body
        done = ecsauth("publish", login, URL)
        assert done.code == 4, done
        assert words in done.err
        assert "Block Public Access" in done.err
        assert "Contents" not in s3.client.list_objects_v2(Bucket="fleet")
        answers["publicAccessBlock"] = block
        assert ecsauth("publish", login, URL).code == 0
        s3.client.delete_object(Bucket="fleet", Key="ecs.config")


@pytest.mark.parametrize(
    ("part", "action"),
    [
        ("publicAccessBlock", "s3:GetBucketPublicAccessBlock"),
        ("encryption", "s3:GetEncryptionConfiguration"),
    ],
)
def test_look_that_is_forbidden_is_named(
    ecsauth: RunProgram, s3: S3, login: Path, part: str, action: str
) -> None:
    denied = refused(403, "AccessDenied")
    fine = b"<PublicAccessBlockConfiguration/>"

    def meddle(method: str, path: str, answer: Answer) -> Answer:
        if f"?{part}" in path:
            return denied(method, path, answer)
        if "?publicAccessBlock" in path:  # SeaweedFS has none
            return 200, {"Content-Type": "application/xml"}, fine
        return answer

    s3.between.meddle = meddle
    done = ecsauth("publish", login, URL)
    assert done.code == 0
    assert f"could not check its access settings ({action})" in done.err


def test_owner_of_the_bucket_is_told_to_s3_in_every_call(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path
) -> None:
    assert ecsauth("publish", login, URL, "--expected-bucket-owner=123456789012").code == 0
    assert ecsauth("pull", f"{URL}?expected_bucket_owner=123456789012", "--to", target).code == 0
    assert len(s3.between.owners) > 5
    pulled = ecsauth("pull", URL, "--to", target, "--expected-bucket-owner=123456789012")
    assert pulled.code == 0
    assert set(s3.between.owners) == {"123456789012"}
    for url in (f"{URL}?expected_bucket_owner=1", f"{URL}?region=moon", f"{URL}?x=1", "s3://fleet"):
        assert ecsauth("pull", url, "--to", target).code == 2


def test_refresh_publishes_what_is_due_and_only_that(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path
) -> None:
    for _ in range(2):
        done = ecsauth("refresh", login, "--to", URL, "--to", target)
        assert done.code == 0, done.err
    assert logins(s3.text()) == logins(target.read_text()) == {"q.io": "p"}
    assert len([call for call in s3.between.calls if call.startswith("PUT")]) == 1
    assert "s3://fleet/ecs.config: up to date" in done.out


def test_object_is_a_source_for_refresh(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path
) -> None:
    ecsauth("publish", login, URL)
    for words in ("written", "nothing has changed"):
        done = ecsauth("refresh", URL, "--to", target)
        assert done.code == 0
        assert words in done.out


def test_secret_reaches_the_object_and_nothing_else(
    ecsauth: RunProgram, s3: S3, login_file: Callable[..., Path], target: Path, tmp_path: Path
) -> None:
    secret = "c4n4ry-of-s3"
    login = login_file({"q.io": {"auth": b64(f"u:{secret}")}})
    said = ""
    for command in (
        ("publish", login, URL, "--dry-run"),
        ("publish", login, URL),
        ("pull", URL, "--to", target, "-v"),
        ("pull", URL, "--to", target, "--json", "--log-format=json"),
        ("pull", URL, "--to", target, "--whole-file"),
        ("check", URL),
        ("check", URL, "--json"),
        ("explain", "q.io/app", "--from", URL),
        ("status", URL),
        ("status", URL, "--json"),
    ):
        done = ecsauth(*command)
        assert done.code == 0, done
        said += done.out + done.err
    found = s3.client.head_object(Bucket="fleet", Key="ecs.config")
    said += json.dumps(found["Metadata"]) + (tmp_path / "state" / "state.json").read_text()
    for form in (secret, b64(f"u:{secret}")[:-4], b64(f"u:{secret}")[4:-4]):
        assert form not in said
    assert b64(f"u:{secret}") in s3.text()


def test_base_does_not_lose_what_can_only_be_mended(
    ecsauth: RunProgram, s3: S3, login: Path, tmp_path: Path
) -> None:
    lines = json.dumps({"r.io": {"auth": b64("u:p")}}, indent=1)
    s3.put(f"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={lines}\n")
    base = tmp_path / "base"
    base.write_text("ECS_CLUSTER=x\n")
    done = ecsauth("publish", login, URL, "--base", base)
    assert done.code == 4
    assert "--base would lose them" in done.err
    assert ecsauth("publish", login, URL).code == 0
    assert ecsauth("publish", login, URL, "--base", base).code == 0
    assert set(logins(s3.text())) == {"q.io", "r.io"}
    assert ecsauth("publish", login, URL, "--base", tmp_path / "none").code == 2


def test_whole_file_of_the_other_kind_is_refused(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path
) -> None:
    assert ecsauth("publish", login, f"{URL}.json").code == 0
    assert json.loads(s3.text("ecs.config.json"))["EngineAuthType"] == "dockercfg"
    before = target.read_bytes()
    done = ecsauth("pull", f"{URL}.json", "--to", target, "--whole-file")
    assert done.code == 2
    assert target.read_bytes() == before
    assert ecsauth("pull", f"{URL}.json", "--to", target).code == 0  # the settings fit anywhere
    assert logins(target.read_text()) == {"q.io": "p"}
    assert ecsauth("explain", "q.io/a", "--from", f"{URL}.json").out.count("user u") == 1


def test_bucket_that_cannot_be_judged_is_not_written(
    ecsauth: RunProgram, s3: S3, login: Path
) -> None:
    failing = refused(500, "InternalError")

    def meddle(method: str, path: str, answer: Answer) -> Answer:
        return failing(method, path, answer) if "?acl" in path else answer

    s3.between.meddle = meddle
    assert ecsauth("publish", login, URL).code == 4
    assert "Contents" not in s3.client.list_objects_v2(Bucket="fleet")


def test_owner_in_the_settings_counts_for_every_command(
    ecsauth: RunProgram, s3: S3, login: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECSAUTH_EXPECTED_BUCKET_OWNER", "123456789012")
    ecsauth("publish", login, URL)
    for command in (
        ("pull", URL, "--to", target),
        ("check", URL),
        ("status", URL),
        ("refresh", URL, "--to", target),
    ):
        assert ecsauth(*command).code == 0
    assert set(s3.between.owners) == {"123456789012"}


def test_expiry_of_the_first_token_is_in_the_metadata(
    ecsauth: RunProgram, s3: S3, aws_token: str, target: Path
) -> None:
    done = ecsauth("publish", aws_token, URL)
    assert done.code == 0, done.err
    metadata = s3.client.head_object(Bucket="fleet", Key="ecs.config")["Metadata"]
    seconds = time.mktime(time.strptime(metadata["ecsauth-expires"], "%Y-%m-%dT%H:%M:%SZ"))
    assert abs(seconds - time.timezone - time.time() - 3600) < 60


@pytest.fixture
def aws_token(login_file: Callable[..., Path]) -> str:
    """A login file with an ECR token that tells its end, in an hour."""
    host = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
    payload = json.dumps({"payload": "x", "expiration": int(time.time()) + 3600})
    return str(login_file({host: {"auth": b64(f"AWS:{b64(payload)}")}}))


def test_foreign_metadata_stays(ecsauth: RunProgram, s3: S3, login: Path) -> None:
    s3.put("ECS_CLUSTER=x\n", Metadata={"team": "infra", "ecsauth-expires": "2020-01-01T00:00:00Z"})
    assert ecsauth("publish", login, URL).code == 0
    metadata = s3.client.head_object(Bucket="fleet", Key="ecs.config")["Metadata"]
    assert set(metadata) == {"team", "ecsauth-version", "ecsauth-issued"}


def test_check_explain_and_status_look_into_the_object(
    ecsauth: RunProgram, s3: S3, login: Path
) -> None:
    ecsauth("publish", login, URL)
    assert "nothing wrong: the agent reads 1 login" in ecsauth("check", URL).out
    assert "user u, password, from q.io" in ecsauth("explain", "q.io/app", "--from", URL).out
    shown = json.loads(ecsauth("status", URL, "--json").out)
    assert shown["agent"] is None  # none reads it from there
    assert [item["registry"] for item in shown["target"]["registries"]] == ["q.io"]
    assert shown["target"]["registries"][0]["source"] == str(login)
    assert "q.io, u" in ecsauth("status", URL).out
    s3.put(s3.text().replace("dockercfg", "'dockercfg'"))
    done = ecsauth("check", URL)
    assert done.code == 7
    assert "line 1" in done.out
    assert ecsauth("check", URL, "--fix").code == 2
    for command in (("check",), ("status",), ("explain", "q.io/app", "--from")):
        assert ecsauth(*command, "s3://fleet/none").code == 3


def test_run_publishes_on_a_schedule(s3: S3, login: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ecsauth", "run", "--every=1", "--jitter=0", str(login)]
    process = subprocess.Popen([*command, "--to", URL], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while not any(call.startswith("PUT") for call in s3.between.calls):
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert logins(s3.text()) == {"q.io": "p"}
