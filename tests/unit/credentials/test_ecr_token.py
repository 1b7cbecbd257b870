"""When a token found in a file ends: JSON Web Tokens, good ones and what only looks like one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ecsauth.credentials.ecr_token import jwt_times, with_known_expiry
from tests.builders import HOST, credential

ISSUED, EXPIRES = 1_800_000_000, 1_800_043_200


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt(claims: Any) -> str:
    """Return a token with these claims, as text or as what becomes JSON."""
    text = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return ".".join([b64url(b'{"alg":"RS256"}'), b64url(text), b64url(b"\xff\xfe signed")])


@pytest.mark.parametrize("subject", ["", "a", "ab", "abc", "ü?>~ÿ"])
def test_times_of_a_token(subject: str) -> None:
    """Whatever the length of its claims is, for their base64 has no padding."""
    token = jwt({"sub": subject, "iat": ISSUED, "exp": EXPIRES})
    assert jwt_times(token) == (ISSUED, EXPIRES)


def test_fraction_of_a_second_is_dropped() -> None:
    assert jwt_times(jwt({"iat": ISSUED + 0.9, "exp": EXPIRES + 0.9})) == (ISSUED, EXPIRES)


@pytest.mark.parametrize(
    "issued", [{}, {"iat": None}, {"iat": str(ISSUED)}, {"iat": True}, {"iat": -1}, {"iat": []}]
)
def test_token_may_not_say_when_it_was_issued(issued: dict[str, Any]) -> None:
    assert jwt_times(jwt({**issued, "exp": EXPIRES})) == (None, EXPIRES)


NO_TIMES: list[Any] = [
    *(None, str(EXPIRES), True, [EXPIRES], {}),
    *(0, -EXPIRES, 2**40, 1e300),
]


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": ISSUED},
        *({"iat": ISSUED, "exp": value} for value in NO_TIMES),
        b'{"exp": 1e999}',
        b'{"exp": NaN}',
        b'{"exp": ' + b"9" * 5000 + b"}",
        [EXPIRES],
        EXPIRES,
        None,
        "exp",
        b"",
        b'{"exp": 18000',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_token_without_a_time_that_makes_sense(claims: Any) -> None:
    assert jwt_times(jwt(claims)) == (None, None)


GOOD = jwt({"iat": ISSUED, "exp": EXPIRES})


@pytest.mark.parametrize(
    "text",
    [
        *("", "eyJ", "eyJ.", "eyJ..", "eyJ.a.b", "eyJ.ü.b", "eyJ.====.b", "password"),
        GOOD.rpartition(".")[0],
        f"{GOOD}.more",
        GOOD[1:],
        f" {GOOD}",
    ],
)
def test_text_that_is_no_token(text: str) -> None:
    assert jwt_times(GOOD) == (ISSUED, EXPIRES)
    assert jwt_times(text) == (None, None)


@pytest.mark.parametrize("field", ["secret", "identity_token", "registry_token"])
def test_login_lives_as_long_as_its_token(field: str) -> None:
    known = with_known_expiry(credential("q.io", **{"secret": "", field: GOOD}))
    assert (known.requested_at, known.expires_at) == (ISSUED, EXPIRES)
    plain = with_known_expiry(credential("q.io", **{"secret": "", field: "no token"}))
    assert (plain.requested_at, plain.expires_at) == (None, None)


def test_what_is_known_of_a_login_comes_first() -> None:
    known = with_known_expiry(credential("q.io", secret=GOOD, expires_at=ISSUED + 9))
    assert (known.requested_at, known.expires_at) == (None, ISSUED + 9)


def test_token_of_ecr_says_its_end_in_its_own_way() -> None:
    text = json.dumps({"payload": "x", "expiration": EXPIRES})
    token = base64.b64encode(text.encode()).decode()
    known = with_known_expiry(credential(HOST, "AWS", token))
    assert (known.requested_at, known.expires_at) == (EXPIRES - 12 * 3600, EXPIRES)
    other = with_known_expiry(credential("q.io", "AWS", token))
    assert (other.requested_at, other.expires_at) == (None, None)
