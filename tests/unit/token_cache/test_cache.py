"""The token cache: private, bounded, never fatal."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from ecsauth.token_cache.answers import cache_directory
from ecsauth.token_cache.cache import CachedToken, Failure, FileCache, NoCache, open_cache
from ecsauth.token_cache.folder import UnsafeError, open_folder
from ecsauth.token_cache.log import MAX_BYTES, NAME, Log, redacted
from ecsauth.token_cache.sdk_files import SdkFile, SdkFiles
from tests.builders import HOST
from tests.conftest import need_root

NOW = 1_800_000_000.0
NAME_A, NAME_B = "a" * 40, "b" * 40
NO_FILES = SdkFiles(SdkFile("/c", b"", None), SdkFile("/d", b"", None))
TOKEN = CachedToken("AWS", "s3cret", int(NOW), int(NOW) + 1000, HOST)


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "c", {}, "/home/u")


def modes(path: Path) -> set[int]:
    return {stat.S_IMODE(item.lstat().st_mode) & 0o777 for item in path.rglob("*")}


def test_token_comes_back_until_it_expires(cache: FileCache) -> None:
    cache.put(NAME_A, TOKEN, NOW)
    assert cache.get(NAME_A, NOW) == TOKEN
    assert cache.get(NAME_A, NOW + 999.9) == TOKEN
    assert cache.get(NAME_A, NOW + 1000) is None
    assert cache.get(NAME_B, NOW) is None


def test_token_is_fresh_for_half_its_life() -> None:
    assert TOKEN.is_fresh(NOW)
    assert TOKEN.is_fresh(NOW + 499.9)
    assert not TOKEN.is_fresh(NOW + 500)
    assert not TOKEN.is_fresh(NOW + 400, ahead=100)
    assert TOKEN.is_fresh(NOW + 400, ahead=99)
    assert not TOKEN.is_fresh(NOW - 0.1), "the clock was turned back"


def test_everything_in_it_is_private(cache: FileCache, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        cache.put(NAME_A, TOKEN, NOW)
        cache.answer(HOST, NAME_A, TOKEN, b"{}", NO_FILES)
        cache.put_failure(NAME_B, Failure("m", "h", NOW))
        os.close(cache.lock(NAME_A) or -1)
        Log(tmp_path / "c")("error", "x")
    finally:
        os.umask(old)
    assert modes(tmp_path / "c") == {0o700, 0o600}
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"username":1,"password":"p","requested_at":1,"expires_at":2}',
        '{"username":"u","password":"","requested_at":1,"expires_at":2}',
        '{"username":"u","password":"p","requested_at":2,"expires_at":1}',
        '{"username":"u","password":"p","requested_at":1,"expires_at":"x"}',
        '{"username":"u","password":"p","requested_at":1,"expires_at":1e400}',
        '{"username":"u","password":"p","requested_at":true,"expires_at":2}',
        "[" * 50_000,
        "\xff",
    ],
)
def test_corrupt_token_is_set_aside(cache: FileCache, tmp_path: Path, text: str) -> None:
    path = tmp_path / "c" / "ecsauth-cache" / f"{NAME_A}.token"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    assert cache.get(NAME_A, 0.5) is None
    assert not path.exists()
    assert path.with_suffix(".corrupt").exists()
    cache.put(NAME_A, TOKEN, NOW)
    assert cache.get(NAME_A, NOW) == TOKEN


def test_token_that_others_may_write_is_not_used(cache: FileCache, tmp_path: Path) -> None:
    cache.put(NAME_A, TOKEN, NOW)
    path = tmp_path / "c" / "ecsauth-cache" / f"{NAME_A}.token"
    path.chmod(0o620)
    assert cache.get(NAME_A, NOW) is None
    path.chmod(0o600)
    assert cache.get(NAME_A, NOW) == TOKEN


def test_token_that_is_a_link_or_fifo_is_not_used(cache: FileCache, tmp_path: Path) -> None:
    cache.put(NAME_A, TOKEN, NOW)
    path = tmp_path / "c" / "ecsauth-cache" / f"{NAME_A}.token"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.get(NAME_A, NOW) is None
    path.unlink()
    os.mkfifo(path, 0o600)
    assert cache.get(NAME_A, NOW) is None


def test_expired_and_surplus_tokens_go(cache: FileCache, tmp_path: Path) -> None:
    folder = tmp_path / "c" / "ecsauth-cache"
    cache.put(NAME_B, TOKEN, NOW)
    late = CachedToken("AWS", "p", int(NOW) + 1000, int(NOW) + 9000)
    for number in range(70):
        name = f"{number:040x}"
        cache.put(name, late, NOW + 1000)
        os.utime(folder / f"{name}.token", (number, number))
    found = {path.stem for path in folder.glob("*.token")}
    assert len(found) == 64
    assert f"{69:040x}" in found
    assert NAME_B not in found
    assert f"{0:040x}" not in found


def test_expired_and_surplus_answers_go(cache: FileCache, tmp_path: Path) -> None:
    folder = tmp_path / "c" / "ecsauth-cache" / "answers"
    for number in range(520):
        asked = int(NOW) + number
        token = CachedToken("AWS", "p", asked, asked + 90_000)
        cache.answer(
            f"{number:012}.dkr.ecr.us-west-2.amazonaws.com", NAME_A, token, b"{}", NO_FILES
        )
    cache.answer("public.ecr.aws", NAME_A, TOKEN, b"{}", NO_FILES)
    cache.put(NAME_A, CachedToken("AWS", "p", int(NOW) + 1, int(NOW) + 9000), NOW + 2000)
    names = [path.name for path in folder.iterdir() if "+" not in path.name]
    assert len(names) == 511
    assert len(list(folder.iterdir())) == 2 * 511
    assert "public.ecr.aws@" not in names
    assert f"{519:012}.dkr.ecr.us-west-2.amazonaws.com@" in names


def test_leftovers_of_a_crash_are_removed_after_an_hour(cache: FileCache, tmp_path: Path) -> None:
    folder = tmp_path / "c" / "ecsauth-cache"
    for name, age in ((".new-1-0123abcd", 3700), (".new-2-0123abcd", 3000), (".new-x", 9999)):
        (folder / name).write_text("half")
        os.utime(folder / name, (NOW - age, NOW - age))
    cache.put(NAME_A, TOKEN, NOW)
    assert {path.name for path in folder.glob(".new-*")} == {".new-2-0123abcd", ".new-x"}


def test_files_of_others_in_its_folder_stay(cache: FileCache, tmp_path: Path) -> None:
    folder = tmp_path / "c" / "ecsauth-cache"
    names = ["state.json", "notes.md", "github.token", "x.failure", "answers/README", "answers/a b"]
    for name in names:
        (folder / name).write_text("{")
        os.utime(folder / name, (1, 1))
    cache.put(NAME_A, TOKEN, NOW)
    assert {name for name in names if (folder / name).exists()} == set(names)


def test_hosts_are_those_of_this_principal(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    mine = FileCache(directory, {"AWS_PROFILE": "a"}, "/home/u")
    mine.answer(HOST, NAME_A, TOKEN, b"{}", NO_FILES)
    mine.answer("public.ecr.aws", NAME_A, TOKEN, b"{}", NO_FILES)
    assert mine.hosts(NOW) == {HOST: NAME_A, "public.ecr.aws": NAME_A}
    assert mine.hosts(NOW + 1000) == {}
    assert FileCache(directory, {"AWS_PROFILE": "b"}, "/home/u").hosts(NOW) == {}
    assert FileCache(directory, {"AWS_PROFILE": "a"}, "/home/v").hosts(NOW) == {}


@pytest.mark.parametrize("value", ["a\nb", "é", "a\x1b"])
def test_answer_for_an_odd_environment_is_not_kept(tmp_path: Path, value: str) -> None:
    cache = FileCache(tmp_path / "c", {"AWS_CONFIG_FILE": value}, "/home/u")
    cache.answer(HOST, NAME_A, TOKEN, b"{}", NO_FILES)
    assert list((tmp_path / "c" / "ecsauth-cache" / "answers").iterdir()) == []


def test_failure_is_returned_only_for_requests_that_began_before_it(cache: FileCache) -> None:
    assert cache.failed(NAME_A, NOW, NOW) is None
    cache.put_failure(NAME_A, Failure("denied", "allow it", NOW))
    assert cache.failed(NAME_A, NOW, NOW) == Failure("denied", "allow it", NOW)
    assert cache.failed(NAME_A, NOW + 0.1, NOW + 1) is None
    assert cache.failed(NAME_A, NOW - 2, NOW - 1) is None, "the clock was turned back"
    cache.put(NAME_A, TOKEN, NOW)
    assert cache.failed(NAME_A, NOW, NOW) is None


def test_drop_forgets_token_and_answers(cache: FileCache) -> None:
    cache.put(NAME_A, TOKEN, NOW)
    cache.answer(HOST, NAME_A, TOKEN, b"{}", NO_FILES)
    cache.answer("public.ecr.aws", NAME_A, TOKEN, b"{}", NO_FILES)
    cache.drop(NAME_A, [HOST])
    assert cache.get(NAME_A, NOW) is None
    assert cache.hosts(NOW) == {"public.ecr.aws": NAME_A}


def test_full_disk_and_read_only_folder_are_no_failure(
    cache: FileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    cache.put(NAME_A, TOKEN, NOW)
    cache.answer(HOST, NAME_A, TOKEN, b"{}", NO_FILES)
    cache.put_failure(NAME_A, Failure("m", "h", NOW))
    monkeypatch.undo()
    assert cache.get(NAME_A, NOW) is None
    assert cache.hosts(NOW) == {}


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
@pytest.mark.parametrize("where", ["c", "c/ecsauth-cache"])
def test_folder_that_others_may_write_is_refused(tmp_path: Path, mode: int, where: str) -> None:
    assert isinstance(open_cache(str(tmp_path / "c"), {}, "/h")[0], FileCache)
    (tmp_path / where).chmod(mode)
    found, why = open_cache(str(tmp_path / "c"), {}, "/h")
    assert isinstance(found, NoCache)
    assert why == f"the cache is not used: {tmp_path / where} can be written by others"
    assert not list((tmp_path / "c").glob("log"))


@pytest.mark.parametrize("where", ["c", "c/ecsauth-cache", "c/ecsauth-cache/answers"])
def test_folder_of_another_user_is_refused(tmp_path: Path, where: str) -> None:
    need_root()
    open_cache(str(tmp_path / "c"), {}, "/h")
    os.chown(tmp_path / where, 12345, 12345)
    found, why = open_cache(str(tmp_path / "c"), {}, "/h")
    assert isinstance(found, NoCache)
    assert "belongs to another user (uid 12345)" in why


def test_link_to_the_cache_is_followed_if_it_is_ours(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert isinstance(open_cache(str(tmp_path / "link"), {}, "/h")[0], FileCache)
    if os.geteuid() == 0:
        os.lchown(tmp_path / "link", 12345, 12345)
        found, why = open_cache(str(tmp_path / "link"), {}, "/h")
        assert isinstance(found, NoCache)
        assert "symlink of another user" in why


@pytest.mark.parametrize("inner", ["ecsauth-cache", "ecsauth-cache/answers", "log"])
def test_links_inside_the_cache_are_not_followed(tmp_path: Path, inner: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (tmp_path / "c" / inner).parent.mkdir(mode=0o700, parents=True)
    (tmp_path / "c").chmod(0o700)
    (tmp_path / "c" / inner).symlink_to(victim)
    found, _ = open_cache(str(tmp_path / "c"), {}, "/h")
    assert isinstance(found, FileCache if inner == "log" else NoCache)
    Log(tmp_path / "c")("error", "x")
    assert list(victim.iterdir()) == []


def test_no_directory_is_no_cache() -> None:
    assert isinstance(open_cache("", {}, "/h")[0], NoCache)
    assert open_cache("", {}, "/h")[1] == ""
    found, why = open_cache("/proc/nowhere", {}, "/h")
    assert isinstance(found, NoCache)
    assert why.startswith("the cache is not used: ")


@pytest.mark.parametrize(
    ("environment", "home", "directory"),
    [
        ({}, "/home/u", "/home/u/.ecr"),
        ({}, "", ""),
        ({"AWS_ECR_CACHE_DIR": "/var/ecr"}, "", "/var/ecr"),
        ({"AWS_ECR_CACHE_DIR": "~/x"}, "/home/u", "/home/u/x"),
        ({"AWS_ECR_CACHE_DIR": "~"}, "/home/u", "/home/u"),
        ({"AWS_ECR_CACHE_DIR": "~/x"}, "", ""),
    ],
)
def test_cache_directory(environment: dict[str, str], home: str, directory: str) -> None:
    assert cache_directory(environment, home) == directory


def test_write_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(tmp_path / "f")
    folder.write("x", b"old")

    def fails(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError, match="Input/output"):
        folder.write("x", b"new")
    monkeypatch.undo()
    assert folder.read("x") == b"old"
    assert os.listdir(tmp_path / "f") == ["x"]
    folder.close()


def test_unreferenced_folders_are_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        FileCache(tmp_path / "c", {}, "/h")
        Log(tmp_path / "c")("error", "x")
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_folder_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        open_folder(tmp_path / "f")
    (tmp_path / "g").mkdir()
    (tmp_path / "g").chmod(0o777)
    with pytest.raises(UnsafeError):
        open_folder(tmp_path / "g")


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_folder_below_one_writable_by_others_is_refused(tmp_path: Path, mode: int) -> None:
    way = tmp_path / "way"
    way.mkdir()
    way.chmod(mode)
    with pytest.raises(UnsafeError, match="can be written by others"):
        open_folder(way / "c")
    way.chmod(mode | stat.S_ISVTX)
    open_folder(way / "c").close()


def test_folder_below_one_of_another_user_is_refused(tmp_path: Path) -> None:
    need_root()
    way = tmp_path / "way"
    (way / "c").mkdir(parents=True, mode=0o700)
    os.chown(way, 12345, 12345)
    with pytest.raises(UnsafeError, match="belongs to another user"):
        open_folder(way / "c")


@pytest.mark.parametrize("umask", [0o777, 0o277, 0o000])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        cache = FileCache(tmp_path / "c", {}, "/home/u")
        cache.put(NAME_A, TOKEN, NOW)
        os.close(cache.lock(NAME_A) or -1)
    finally:
        os.umask(before)
    assert modes(tmp_path / "c") == {0o700, 0o600}
    assert FileCache(tmp_path / "c", {}, "/home/u").get(NAME_A, NOW) == TOKEN


def test_folders_that_we_did_not_make_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir(mode=0o755)
    (tmp_path / "log").chmod(0o755)
    tmp_path.chmod(0o755)
    Log(tmp_path)("error", "x")
    assert (tmp_path / "log" / NAME).exists()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o755
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_log_has_one_line_for_each_event_and_is_rotated(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir(mode=0o700)
    log = Log(tmp_path / "c", lambda: NOW)
    log("error", "first\nsecond \x1b[2J https://user:s3cret@host/x?token=s3cret é")
    path = tmp_path / "c" / "log" / NAME
    line = path.read_text()
    assert line.count("\n") == 1
    assert line.startswith("2027-01-15T08:00:00Z error [")
    assert line.isascii()
    assert "s3cret" not in line
    assert "\x1b" not in line
    path.write_bytes(b"x" * (MAX_BYTES - 10))
    log("error", "y")
    assert path.read_text().endswith(" y\n")
    assert path.stat().st_size < 100
    assert path.with_name(f"{NAME}.1").stat().st_size == MAX_BYTES - 10
    assert modes(tmp_path / "c") == {0o700, 0o600}
    Log(None)("error", "nowhere")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@h/x", "https://...@h/x"),
        ("see https://h/x?a=b&c=d now", "see https://h/x?... now"),
        ("is it right? look", "is it right? look"),
        ("plain arn:aws:iam::1:role/a@b", "plain arn:aws:iam::1:role/a@b"),
    ],
)
def test_urls_are_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_cached_token_shows_no_secret() -> None:
    assert "s3cret" not in repr(TOKEN)
    assert json.dumps(TOKEN.__dict__)
