"""When a login is due: edges before, at and after the instant."""

from __future__ import annotations

import pytest

from ecsauth.credentials.credential import Credential, Fetched
from ecsauth.credentials.freshness import (
    CLOCK_SECONDS,
    TOGETHER_SECONDS,
    Lease,
    Leases,
    LoginRecord,
    RunningLogin,
    is_due_soon,
    login_digest,
    make_lease,
    owned_matches,
    quiet_until,
    refresh_at,
    restart_due_at,
    running_login,
    source_key,
    why_due,
)
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.errors import SourceError

NOW = 1_800_000_000
HOUR = 3600
LIFE = 12 * HOUR


def token(life: int = LIFE, host: str = "a.io", secret: str = "s") -> Credential:
    key = parse_auth_key(host)
    return Credential(key, "AWS", secret, expires_at=NOW + life, requested_at=NOW)


LASTING = Credential(parse_auth_key("b.io"), "u", "p")


@pytest.mark.parametrize(("spread", "hours"), [(0.0, 6.0), (0.5, 5.4), (1.0, 4.8)])
def test_token_is_due_at_half_its_life_or_up_to_a_tenth_of_it_before(
    spread: float, hours: float
) -> None:
    assert refresh_at([token()], NOW, spread, HOUR) == NOW + hours * HOUR


def test_secret_without_expiry_is_due_after_the_recheck_interval() -> None:
    assert refresh_at([LASTING], NOW, 0.0, HOUR) == NOW + HOUR
    assert refresh_at([LASTING], NOW, 1.0, HOUR) == NOW + HOUR * 0.8
    assert refresh_at([], NOW, 0.0, HOUR) == NOW + HOUR


def test_earliest_due_time_of_several_credentials_wins() -> None:
    assert refresh_at([token(), token(2 * HOUR)], NOW, 0.0, HOUR) == NOW + HOUR
    assert refresh_at([token(), LASTING], NOW, 0.0, HOUR) == NOW + HOUR
    assert refresh_at([token(HOUR), LASTING], NOW, 0.0, HOUR) == NOW + HOUR // 2


def test_token_of_unknown_age_is_due_at_half_of_the_remaining_time() -> None:
    old = Credential(parse_auth_key("a.io"), "u", "p", expires_at=NOW + HOUR)
    assert refresh_at([old], NOW, 0.0, HOUR) == NOW + HOUR // 2


def test_answer_with_a_problem_is_due_at_once() -> None:
    whole = Fetched((token(),))
    partial = Fetched((token(),), (SourceError("b.io: no login"),))
    options = {"now": NOW, "spread": 0.0, "recheck": HOUR}
    assert make_lease("salt", "s", whole, **options).refresh_at == NOW + LIFE // 2
    assert make_lease("salt", "s", partial, **options).refresh_at == NOW


LEASE = make_lease("salt", "s", Fetched((token(),)), now=NOW, spread=0.0, recheck=HOUR)
PRESENT = {"a.io": login_digest("salt", token())}


@pytest.mark.parametrize(
    ("after", "is_due"),
    [
        (0, False),
        (LIFE // 2 - 1, False),
        (LIFE // 2, True),
        (LIFE, True),
        (-CLOCK_SECONDS, False),
        (-CLOCK_SECONDS - 1, True),
    ],
)
def test_why_due_by_time(after: int, is_due: bool) -> None:
    assert bool(why_due(LEASE, PRESENT, {"a.io"}, NOW + after)) is is_due


def test_why_due_by_content_of_the_target() -> None:
    assert why_due(None, PRESENT, {"a.io"}, NOW) == "not asked before"
    assert why_due(LEASE, {}, {"a.io"}, NOW) == "a.io is missing from the target"
    changed = {"a.io": login_digest("salt", token(secret="other"))}
    assert why_due(LEASE, changed, {"a.io"}, NOW) == "a.io was changed in the target"
    assert why_due(LEASE, changed, set(), NOW) == ""  # another source counts for it
    assert why_due(LEASE, {**PRESENT, "c.io": "x"}, {"a.io"}, NOW) == ""


def test_due_soon_is_half_an_hour_before() -> None:
    due = NOW + LIFE // 2
    assert not is_due_soon(LEASE, due - TOGETHER_SECONDS - 1)
    assert is_due_soon(LEASE, due - TOGETHER_SECONDS)


def test_digest_tells_logins_apart_and_needs_the_salt() -> None:
    assert login_digest("salt", token()) == login_digest("salt", token(life=1))
    others = [login_digest("salt", token(secret="t")), login_digest("pepper", token())]
    assert login_digest("salt", token()) not in others
    assert "s" * 2 not in login_digest("salt", token(secret="ss"))
    joined = Credential(parse_auth_key("a.io"), "AWSs", "")
    assert login_digest("salt", joined) != login_digest("salt", token())


def test_source_key_changes_with_name_and_fingerprint() -> None:
    key = source_key("salt", "ecr:", "ecr: role")
    assert key == source_key("salt", "ecr:", "ecr: role")
    assert key != source_key("salt", "ecr:", "ecr: other role")
    assert key != source_key("salt", "ecr:x", "ecr: role")


def lease(at: int, *matches: str) -> Lease:
    return Lease("s", at, at, "", {match: LoginRecord("d") for match in matches})


def test_registry_of_two_sources_is_owned_by_the_later() -> None:
    owned = owned_matches([lease(1, "a.io", "b.io"), None, lease(1, "b.io")])
    assert [set(item) for item in owned] == [{"a.io"}, set(), {"b.io"}]


def test_lease_of_a_key_is_the_latest_with_that_key() -> None:
    leases = Leases("salt", {"1": lease(1, "a.io"), "2": lease(2, "a.io"), "3": lease(3, "b.io")})
    found = leases.of("a.io")
    assert found
    assert found.fetched_at == 2
    assert leases.of("c.io") is None


def running(
    digest: str = "old", life: int | None = LIFE, user: str = "AWS", begun: int = NOW
) -> RunningLogin:
    """Return a login that the agent runs with; without a life, it tells no end."""
    return RunningLogin(user, digest, begun, None if life is None else begun + life)


@pytest.mark.parametrize(("chance", "hours"), [(0.0, 9.0), (0.25, 9.15), (0.5, 9.3), (1.0, 9.6)])
def test_late_restart_leaves_a_quarter_to_a_fifth_of_the_life(chance: float, hours: float) -> None:
    assert running().late_at(chance) == NOW + hours * HOUR
    assert running(begun=NOW - HOUR).late_at(chance) == NOW + (hours - 1) * HOUR


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_late_restart_of_a_life_of_no_length_is_at_its_end(chance: float) -> None:
    assert running(life=0).late_at(chance) == NOW
    backwards = running(life=-HOUR)  # a token that ends before it was issued
    assert (backwards.life, backwards.late_at(chance)) == (0, NOW - HOUR)


def test_login_without_an_end_or_a_beginning_is_never_late() -> None:
    assert running(life=None).late_at(0.0) is None
    unborn = RunningLogin("AWS", "old", None, NOW + LIFE)
    assert (unborn.life, unborn.late_at(0.0)) == (None, None)


@pytest.mark.parametrize(("chance", "hours"), [(0.0, 9.0), (1.0, 9.6)])
def test_renewal_waits_for_the_late_restart_of_what_runs(chance: float, hours: float) -> None:
    new = running("new", begun=NOW + 6 * HOUR)
    assert restart_due_at({"a.io": running()}, {"a.io": new}, chance) == NOW + hours * HOUR
    assert restart_due_at({"a.io": running()}, {"a.io": running("new", None)}, chance)


def test_first_of_several_renewals_decides() -> None:
    old = {"a.io": running(), "b.io": running(life=2 * HOUR), "c.io": running(life=HOUR)}
    new = {"a.io": running("new"), "b.io": running("new"), "c.io": running(life=HOUR)}
    # c.io ends first, but it is the same login as before.
    assert restart_due_at(old, new, 0.0) == NOW + 1.5 * HOUR


@pytest.mark.parametrize(
    "wanted",
    [
        {"a.io": running("new", user="other")},
        {"a.io": running("new"), "b.io": running()},
        {"b.io": running("new")},
        {},
    ],
)
def test_more_than_a_renewal_does_not_wait(wanted: dict[str, RunningLogin]) -> None:
    assert restart_due_at({"a.io": running()}, {"a.io": running("new")}, 0.0) is not None
    assert restart_due_at({"a.io": running()}, wanted, 0.0) is None


def test_login_that_tells_no_end_does_not_wait() -> None:
    old, new = running(life=None), running("new")
    assert restart_due_at({"a.io": old}, {"a.io": new}, 0.0) is None
    both = {"a.io": old, "b.io": running()}
    assert restart_due_at(both, {"a.io": new, "b.io": running("new")}, 0.0) is None
    # It may stay: what is renewed is another one.
    assert restart_due_at(both, {"a.io": old, "b.io": running("new")}, 0.0) == NOW + 9 * HOUR


def test_change_of_no_login_does_not_wait() -> None:
    """The settings may be others although each login is the same: another format."""
    assert restart_due_at({"a.io": running()}, {"a.io": running()}, 0.0) is None
    assert restart_due_at({}, {}, 0.0) is None


def test_quiet_moment_is_waited_for_until_an_eighth_is_left() -> None:
    assert quiet_until({"a.io": running()}) == NOW + 10.5 * HOUR
    late = running().late_at(1.0)
    assert late is not None
    assert late < quiet_until({"a.io": running()})
    both = {"a.io": running(), "b.io": running(life=HOUR), "c.io": running(life=None)}
    assert quiet_until(both) == NOW + HOUR * 7 / 8
    assert quiet_until({"a.io": running(life=0)}) == NOW


def test_nothing_that_ends_waits_for_no_quiet_moment() -> None:
    assert quiet_until({}) == 0
    assert quiet_until({"a.io": running(life=None)}) == 0
    assert quiet_until({"a.io": RunningLogin("AWS", "old", None, NOW)}) == 0


def test_user_of_a_running_login_is_its_name_and_kind() -> None:
    first = running_login("salt", token(), None)
    assert (first.issued_at, first.expires_at) == (NOW, NOW + LIFE)
    renewed = running_login("salt", token(secret="t"), None)
    assert (renewed.user, renewed.digest == first.digest) == (first.user, False)
    key = parse_auth_key("a.io")
    others = [Credential(key, "other", "s"), Credential(key, "AWS", identity_token="s")]
    assert first.user not in [running_login("salt", item, None).user for item in others]


def test_life_of_a_running_login_is_that_of_its_lease() -> None:
    ended = Credential(parse_auth_key("a.io"), "AWS", "s")
    digest = login_digest("salt", ended)

    def times(record: LoginRecord) -> tuple[int | None, int | None]:
        found = running_login("salt", ended, Lease("s", NOW, NOW, "", {"a.io": record}))
        return found.issued_at, found.expires_at

    assert times(LoginRecord(digest, NOW + LIFE, NOW - HOUR)) == (NOW - HOUR, NOW + LIFE)
    assert times(LoginRecord(digest, NOW + LIFE)) == (NOW, NOW + LIFE)  # from when it was asked
    assert times(LoginRecord(digest)) == (None, None)
    assert times(LoginRecord("of another login", NOW + LIFE, NOW)) == (None, None)
