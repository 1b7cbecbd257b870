"""Which token is answered, and when AWS is asked: by clock, cache and failure."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ecsauth.errors import SourceError
from ecsauth.token_cache.answers import hit
from ecsauth.token_cache.cache import CachedToken, Failure, FileCache, NoCache
from ecsauth.token_cache.server import Login, Server, parse_server_url
from ecsauth.token_cache.vault import EcrVault, Outside
from tests.builders import HOST

OTHER = "999999999999.dkr.ecr.us-west-2.amazonaws.com"
FIPS = "123456789012.dkr.ecr-fips.us-west-2.amazonaws.com"
ELSEWHERE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
PUBLIC = "public.ecr.aws"
START = 1_800_000_000
LIFE = 12 * 3600


def server(host: str) -> Server:
    found = parse_server_url(host)
    assert found is not None
    return found


class Situation:
    """A vault on a real cache, with a clock and an AWS of our own."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = {"HOME": str(home), **environment}
        self.now = float(START)
        self.calls: list[str] = []
        self.logged: list[str] = []
        self.is_down = False
        self.is_cached = True
        self.hurried = False
        self.meanwhile: Callable[[], None] | None = None

    def vault(self) -> EcrVault:
        """Return the vault of a new process."""
        outside = Outside(
            self.environment,
            str(self.home),
            lambda level, text: self.logged.append(f"{level} {text}"),
            lambda: self.now,
        )
        return EcrVault(self._open, self._ask, outside)

    def login(self, host: str = HOST) -> Login:
        return self.vault().login(server(host))

    def _open(self) -> FileCache | NoCache:
        if not self.is_cached:
            return NoCache()
        return FileCache(self.home / ".ecr", self.environment, str(self.home))

    def _ask(self, wanted: Server, *, is_hurried: bool) -> CachedToken:
        self.calls.append(wanted.host)
        self.hurried = is_hurried
        if self.meanwhile is not None:
            self.meanwhile()
        if self.is_down:
            raise SourceError(f"{wanted.host}: access denied", "attach a policy")
        asked = int(self.now)
        own = HOST if wanted.registry else ""
        return CachedToken("AWS", f"s3cret{len(self.calls)}", asked, asked + LIFE, own)


@pytest.fixture
def one(tmp_path: Path) -> Situation:
    return Situation(tmp_path)


def test_token_is_asked_for_once_in_half_its_life(one: Situation) -> None:
    assert one.login() == Login("AWS", "s3cret1")
    one.now += LIFE / 2 - 1
    assert one.login() == Login("AWS", "s3cret1")
    one.now += 1
    assert one.login() == Login("AWS", "s3cret2")
    assert one.calls == [HOST, HOST]


def test_one_token_serves_all_registries_of_a_region(one: Situation) -> None:
    for host in (HOST, OTHER, f"{OTHER}/a:b"):
        assert one.login(host) == Login("AWS", "s3cret1")
    assert one.login(ELSEWHERE) == Login("AWS", "s3cret2")
    assert one.login(PUBLIC) == Login("AWS", "s3cret3")
    assert one.login(FIPS) == Login("AWS", "s3cret4")
    assert one.vault().hosts() == sorted([HOST, OTHER, ELSEWHERE, PUBLIC, FIPS])


def test_failure_of_aws_is_covered_by_a_token_that_has_not_expired(one: Situation) -> None:
    one.login()
    one.now += LIFE - 1
    one.is_down = True
    assert one.login() == Login("AWS", "s3cret1")
    assert one.logged[-1].startswith(
        "warning using the cached token, valid until 2027-01-15 20:00 UTC: "
    )
    one.now += 1
    with pytest.raises(SourceError, match="access denied"):
        one.login()
    assert one.logged[-1] == f"error no login: {HOST}: access denied; attach a policy"
    assert one.calls == [HOST] * 3


def test_token_that_expires_while_aws_fails_is_not_answered(one: Situation) -> None:
    one.login()
    one.now += LIFE - 2
    one.is_down = True

    def takes_its_time() -> None:
        one.now += 3

    one.meanwhile = takes_its_time
    with pytest.raises(SourceError, match="access denied"):
        one.login()
    assert one.logged[-1] == f"error no login: {HOST}: access denied; attach a policy"


def test_clock_turned_back_asks_again(one: Situation) -> None:
    one.login()
    one.now -= 86400
    assert one.login() == Login("AWS", "s3cret2")
    one.now += 86400
    assert one.login() == Login("AWS", "s3cret3"), "that of a day ago has expired"


def test_clock_turned_forward_asks_again(one: Situation) -> None:
    one.login()
    one.now += 86400
    assert one.login() == Login("AWS", "s3cret2")


def test_ready_answer_is_kept_and_renewed(one: Situation) -> None:
    import time

    one.now = time.time()
    one.login()
    past = one.now - 60
    os.utime(one.home / ".ecr/ecsauth-cache/answers", (past, past))
    assert b"s3cret1" in (hit(HOST.encode(), one.environment) or b"")
    assert hit(OTHER.encode(), one.environment) is None


def test_token_beyond_half_its_life_is_no_ready_answer(one: Situation) -> None:
    one.login()
    folder = one.home / ".ecr/ecsauth-cache/answers"
    for path in folder.iterdir():
        path.unlink()
    one.now += LIFE - 10
    one.is_down = True
    one.login()
    assert list(folder.iterdir()) == []


def test_no_cache_asks_each_time(one: Situation) -> None:
    one.is_cached = False
    one.login()
    one.login()
    assert one.calls == [HOST, HOST]
    assert one.vault().hosts() == []
    assert not (one.home / ".ecr").exists()


def test_logout_forgets_the_token_of_the_region(one: Situation) -> None:
    for host in (HOST, OTHER, ELSEWHERE, PUBLIC):
        one.login(host)
    one.vault().forget(server(OTHER))
    assert one.vault().hosts() == sorted([ELSEWHERE, PUBLIC])
    before = len(one.calls)
    one.login(ELSEWHERE)
    assert len(one.calls) == before
    one.login(HOST)
    assert len(one.calls) == before + 1


def test_waiting_process_reports_the_failure_of_the_other(one: Situation) -> None:
    one.is_down = True
    with pytest.raises(SourceError):
        one.login()
    vault = one.vault()
    cache = one._open()
    name = next(path.stem for path in (one.home / ".ecr/ecsauth-cache").glob("*.failure"))
    one.now += 10
    cache.put_failure(name, Failure("told by another", "hint", one.now))
    with pytest.raises(SourceError, match="told by another"):
        vault.login(server(HOST))
    assert one.calls == [HOST]
    cache.put_failure(name, Failure("of tomorrow", "hint", one.now + 86400))
    with pytest.raises(SourceError, match="access denied"):
        one.login()
    one.now += 1
    with pytest.raises(SourceError, match="access denied"):
        one.login()
    assert len(one.calls) == 3


def test_unexpected_error_is_shared_without_its_text(one: Situation) -> None:
    def broken(_: Server, *, is_hurried: bool) -> CachedToken:
        raise KeyError("s3cret")

    vault = EcrVault(one._open, broken, Outside(one.environment, str(one.home), lambda *_: None))
    with pytest.raises(KeyError):
        vault.login(server(HOST))
    (path,) = (one.home / ".ecr/ecsauth-cache").glob("*.failure")
    assert "the request to AWS failed" in path.read_text()
    assert "s3cret" not in path.read_text()


def test_warm_renews_ahead_of_time_and_all_answers(one: Situation) -> None:
    one.login(HOST)
    one.login(OTHER)
    one.now += LIFE / 2 - 3600 - 1
    assert not one.vault().is_due(server(HOST), 3600)
    assert one.vault().warm(server(HOST), 3600) == ([HOST, OTHER], False)
    one.now += 1
    assert one.vault().is_due(server(HOST), 3600)
    assert one.vault().warm(server(HOST), 3600) == ([HOST, OTHER], True)
    assert len(one.calls) == 2
    for host in (HOST, OTHER):
        path = one.home / ".ecr/ecsauth-cache/answers" / f"{host}@"
        assert "s3cret2" in path.read_text()


def test_warm_of_the_own_registry_learns_its_host(one: Situation) -> None:
    own = server(HOST)
    assert own.registry is not None
    nameless = Server("", replace(own.registry, host="", registry_id=""))
    assert one.vault().warm(nameless, 3600) == ([HOST], True)
    assert one.login(HOST) == Login("AWS", "s3cret1")
    assert one.calls == [""]


def test_warm_failure_is_raised_although_the_cached_token_is_still_valid(one: Situation) -> None:
    one.login()
    one.now += LIFE / 2
    one.is_down = True
    with pytest.raises(SourceError):
        one.vault().warm(server(HOST), 3600)
    assert not one.hurried
    assert one.login() == Login("AWS", "s3cret1")


def test_config_that_cannot_be_read_means_no_cache(tmp_path: Path) -> None:
    one = Situation(tmp_path, AWS_CONFIG_FILE=str(tmp_path))
    one.login()
    one.login()
    assert len(one.calls) == 2
    assert not (tmp_path / ".ecr").exists()


def write_config(one: Situation, text: str, age: float) -> None:
    path = one.home / ".aws" / "credentials"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (one.now - age, one.now - age))


def test_changed_credentials_make_another_principal(one: Situation) -> None:
    write_config(one, "aws_access_key_id=AKIA1", 100)
    one.login()
    write_config(one, "aws_access_key_id=AKIA2", 50)
    assert one.login(OTHER) == Login("AWS", "s3cret2")
    assert one.vault().hosts() == [OTHER]
    assert one.login() == Login("AWS", "s3cret2")
    write_config(one, "aws_access_key_id=AKIA1", 25)
    assert one.login() == Login("AWS", "s3cret1")


def test_token_is_not_kept_if_the_credentials_changed_meanwhile(one: Situation) -> None:
    write_config(one, "aws_access_key_id=AKIA1", 100)
    one.meanwhile = lambda: write_config(one, "aws_access_key_id=AKIA2", 50)
    assert one.login() == Login("AWS", "s3cret1")
    one.meanwhile = None
    write_config(one, "aws_access_key_id=AKIA1", 25)
    assert one.login() == Login("AWS", "s3cret2")


def test_credentials_that_were_just_written_make_no_ready_answer(one: Situation) -> None:
    write_config(one, "aws_access_key_id=AKIA1", 1)
    one.login()
    assert list((one.home / ".ecr/ecsauth-cache/answers").iterdir()) == []
    write_config(one, "aws_access_key_id=AKIA1", 3)
    one.login()
    assert (one.home / ".ecr/ecsauth-cache/answers" / f"{HOST}@").exists()
    assert len(one.calls) == 1


def test_renewal_of_a_valid_token_is_hurried_and_waits_after_a_failure(one: Situation) -> None:
    one.login()
    assert not one.hurried
    one.now += LIFE / 2
    one.is_down = True
    assert one.login() == Login("AWS", "s3cret1")
    assert one.hurried
    assert len(one.calls) == 2
    one.now += 59
    one.login()
    assert len(one.calls) == 2
    one.now += 2
    one.login()
    assert len(one.calls) == 3
    one.is_down = False
    one.now += 61
    assert one.login() == Login("AWS", "s3cret4")


def test_login_with_a_cached_token_does_not_wait_for_another_renewal(one: Situation) -> None:
    import fcntl

    one.login()
    one.now += LIFE / 2
    name = next(path.stem for path in (one.home / ".ecr/ecsauth-cache").glob("*.token"))
    lock = one._open().lock(name)
    assert lock is not None
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert one.login() == Login("AWS", "s3cret1")
    assert len(one.calls) == 1
    os.close(lock)
    assert one.login() == Login("AWS", "s3cret2")


def test_warm_keeps_the_tokens_of_principals_apart(tmp_path: Path) -> None:
    one = Situation(tmp_path, AWS_PROFILE_123456789012="other")
    own = server(HOST)
    assert own.registry is not None
    nameless = Server("", replace(own.registry, host="", registry_id=""))
    assert one.vault().warm(nameless, 3600) == ([HOST], True)
    assert one.calls == ["", HOST], "that account is asked for as its profile"
    assert one.login() == Login("AWS", "s3cret2")


def test_warm_refuses_a_host_of_another_region(one: Situation) -> None:
    there = server(ELSEWHERE)
    assert there.registry is not None
    nameless = Server("", replace(there.registry, host="", registry_id=""))
    with pytest.raises(SourceError) as caught:
        one.vault().warm(nameless, 3600)
    assert caught.value.reference == "aws-unexpected-answer"
    assert one.vault().hosts() == []
