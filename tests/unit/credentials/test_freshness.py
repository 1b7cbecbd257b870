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
    is_due_soon,
    login_digest,
    make_lease,
    owned_matches,
    refresh_at,
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
