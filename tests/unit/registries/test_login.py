"""verify: the flow over a strict stub, the reading of challenges, the time limit."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.verdict import ACCEPTED, REFUSED, UNREACHABLE, UNTRUSTED, Verdict
from ecsauth.registries.challenge import Challenge, parse_challenges
from ecsauth.registries.http import _proxy_for
from ecsauth.registries.login import HttpError, Response, is_loopback, log_in
from ecsauth.registries.pool import run_all
from tests.builders import HUB, b64, credential
from tests.unit.fakes import Ticks

SECRET = "hunter2"
BASIC = {"Authorization": f"Basic {b64(f'u:{SECRET}')}"}
BEARER = 'Bearer realm="https://q.io/token",service="q"'


class StubHttp:
    """Answers in order; fails on a request that was not expected, and if one did not come."""

    def __init__(self, *answers: tuple[str, Response | HttpError]) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, Mapping[str, str], bytes]] = []

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Response:
        expected, answer = self.answers.pop(0)
        assert f"{method} {url.split('?')[0]}" == expected
        self.sent.append((url, headers, body))
        if isinstance(answer, HttpError):
            raise answer
        return answer

    def log_in(self, credential: Credential, **options: bool) -> Verdict:
        verdict = log_in(credential, self, **options)
        assert self.answers == []
        assert SECRET not in repr(verdict)
        return verdict


def login_to(key: str = "q.io", **fields: Any) -> Credential:
    """Return a credential with these fields alone; without any, a user and a password."""
    fields = fields or {"username": "u", "secret": SECRET}
    return credential(key, **{"username": "", "secret": "", **fields})


def asks(*challenges: str) -> Response:
    return Response(401, challenges)


def token(**fields: Any) -> Response:
    return Response(200, body=json.dumps(fields or {"token": "t0k"}))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, ACCEPTED), (401, REFUSED), (403, REFUSED), (500, UNREACHABLE), (429, UNREACHABLE)],
)
def test_basic(status: int, outcome: str) -> None:
    http = StubHttp(
        ("GET https://q.io/v2/", asks('Basic realm="x"')),
        ("GET https://q.io/v2/", Response(status)),
    )
    assert http.log_in(login_to()).outcome == outcome
    assert [headers for _, headers, _ in http.sent] == [{}, BASIC]


@pytest.mark.parametrize("fields", [{"token": "t0k"}, {"access_token": "t0k"}])
def test_bearer_with_password(fields: dict[str, str]) -> None:
    http = StubHttp(
        ("GET https://q.io/v2/", asks(BEARER)),
        ("GET https://q.io/token", token(**fields)),
        ("GET https://q.io/v2/", Response(200)),
    )
    assert http.log_in(login_to()) == Verdict("q.io", "u", ACCEPTED)
    url, headers, _ = http.sent[1]
    assert parse_qs(urlsplit(url).query) == {
        "service": ["q"],
        "client_id": ["ecsauth"],
        "account": ["u"],
    }
    assert headers == BASIC
    assert http.sent[2][1] == {"Authorization": "Bearer t0k"}


def test_bearer_with_identity_token_refreshes() -> None:
    http = StubHttp(
        ("GET https://q.io/v2/", asks(BEARER)),
        ("POST https://q.io/token", token(access_token="t0k")),
        ("GET https://q.io/v2/", Response(200)),
    )
    assert http.log_in(login_to(identity_token=SECRET)).outcome == ACCEPTED
    url, _, body = http.sent[1]
    assert SECRET not in url
    assert parse_qs(body.decode()) == {
        "grant_type": ["refresh_token"],
        "service": ["q"],
        "client_id": ["ecsauth"],
        "refresh_token": [SECRET],
    }


def test_registry_token_is_sent_as_it_is() -> None:
    http = StubHttp(("GET https://q.io/v2/", asks(BEARER)), ("GET https://q.io/v2/", Response(200)))
    assert http.log_in(login_to(registry_token=SECRET)).outcome == ACCEPTED
    assert http.sent[1][1] == {"Authorization": f"Bearer {SECRET}"}


def test_docker_hub_is_asked_at_its_registry() -> None:
    realm = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
    http = StubHttp(
        ("GET https://registry-1.docker.io/v2/", asks(realm)),
        ("GET https://auth.docker.io/token", token()),
        ("GET https://registry-1.docker.io/v2/", Response(200)),
    )
    verdict = http.log_in(login_to(HUB))
    assert (verdict.registry, verdict.outcome, verdict.realm) == (
        "docker.io",
        ACCEPTED,
        "auth.docker.io",
    )


def test_token_server_that_refuses() -> None:
    http = StubHttp(
        ("GET https://q.io/v2/", asks(BEARER)), ("GET https://q.io/token", Response(401))
    )
    assert http.log_in(login_to()).outcome == REFUSED


@pytest.mark.parametrize("body", ["", "{}", "[]", "hunter2", '{"token": 5}', '{"token": "a\\nb"}'])
def test_token_server_without_token(body: str) -> None:
    http = StubHttp(
        ("GET https://q.io/v2/", asks(BEARER)), ("GET https://q.io/token", Response(200, body=body))
    )
    verdict = http.log_in(login_to())
    assert (verdict.outcome, verdict.detail) == (UNREACHABLE, "the token server returned no token")


@pytest.mark.parametrize(
    "realm",
    [
        "http://q.io/token",
        "ftp://q.io/",
        "//q.io/",
        "",
        "https://u@evil.io/",
        "file:///x",
        "https://:pw@q.io/",
        "https://[x/",
    ],
)
def test_nothing_is_sent_to_a_realm_that_is_not_https(realm: str) -> None:
    http = StubHttp(("GET https://q.io/v2/", asks(f'Bearer realm="{realm}"')))
    verdict = http.log_in(login_to())
    assert verdict.outcome == REFUSED
    assert "no credentials were sent" in verdict.detail


def test_insecure_registry_may_name_a_plain_realm() -> None:
    http = StubHttp(
        ("GET https://q.io/v2/", HttpError("no TLS")),
        ("GET http://q.io/v2/", asks('Bearer realm="http://q.io/token"')),
        ("GET http://q.io/token", token()),
        ("GET http://q.io/v2/", Response(200)),
    )
    assert http.log_in(login_to(), insecure=True).outcome == ACCEPTED


def test_plain_realm_on_another_host_gets_nothing() -> None:
    http = StubHttp(
        ("GET https://q.io/v2/", HttpError("no TLS")),
        ("GET http://q.io/v2/", asks('Bearer realm="http://tokens.io/t"')),
    )
    verdict = http.log_in(login_to(), insecure=True)
    assert (verdict.outcome, verdict.detail) == (
        REFUSED,
        "no credentials were sent: the token realm is on plain HTTP",
    )


def test_secure_registry_is_never_asked_on_plain_http() -> None:
    http = StubHttp(("GET https://q.io/v2/", HttpError("connection refused")))
    assert http.log_in(login_to()) == Verdict("q.io", "u", UNREACHABLE, "connection refused")


def test_untrusted_certificate_is_no_reason_to_try_plain_http() -> None:
    http = StubHttp(("GET https://q.io/v2/", HttpError("self-signed", untrusted=True)))
    assert http.log_in(login_to(), insecure=True).outcome == UNTRUSTED


def test_identity_token_is_not_sent_as_a_password() -> None:
    http = StubHttp(("GET https://q.io/v2/", asks("Basic")))
    verdict = http.log_in(login_to(identity_token=SECRET))
    assert verdict.outcome == REFUSED
    assert "passwords" in verdict.detail


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (Response(200), ACCEPTED, "requires no login"),
        (Response(404), UNREACHABLE, "HTTP 404"),
        (Response(302, location="https://evil.io/x?t=1"), UNREACHABLE, "a redirect to evil.io"),
        (asks(), UNREACHABLE, "unsupported kind"),
        (asks("Negotiate"), UNREACHABLE, "unsupported kind"),
    ],
)
def test_other_first_answers(answer: Response, outcome: str, words: str) -> None:
    verdict = StubHttp(("GET https://q.io/v2/", answer)).log_in(login_to())
    assert verdict.outcome == outcome
    assert words in verdict.detail


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Basic", [Challenge("basic", {})]),
        ('Basic realm="a, b"', [Challenge("basic", {"realm": "a, b"})]),
        (
            'Bearer realm="https://x/t",service="s",scope=""',
            [Challenge("bearer", {"realm": "https://x/t", "service": "s", "scope": ""})],
        ),
        (
            'Basic realm="a", Bearer realm="b" , service=s',
            [
                Challenge("basic", {"realm": "a"}),
                Challenge("bearer", {"realm": "b", "service": "s"}),
            ],
        ),
        ('BEARER Realm="a\\"b"', [Challenge("bearer", {"realm": 'a"b'})]),
        ("", []),
        (",,", []),
    ],
)
def test_challenges(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges([header]) == expected


@given(st.lists(st.text()))
def test_challenges_never_raise(headers: list[str]) -> None:
    assert isinstance(parse_challenges(headers), list)


@pytest.mark.parametrize(
    ("registry", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("localhost.evil.io", False),
        ("127.0.0.1.evil.io", False),
        ("10.0.0.1", False),
        ("q.io", False),
    ],
)
def test_loopback(registry: str, loopback: bool) -> None:
    assert is_loopback(registry) is loopback


def test_many_logins_come_back_in_order_and_slow_ones_are_given_up() -> None:
    items = [login_to(f"r{number}.io") for number in range(40)]
    seen: list[str] = []
    end, ticks = threading.Event(), Ticks()

    def one(item: Credential) -> Verdict:
        if item.registry == "r3.io":
            end.wait(60)
        if item.registry == "r4.io":
            raise ValueError(SECRET)
        return Verdict(item.registry, "u", ACCEPTED)

    def sleep(seconds: float) -> None:
        """Let the clock go on once all have answered but the slow one."""
        (ticks.sleep if len(seen) == 39 else time.sleep)(seconds)

    try:
        verdicts = run_all(items, one, 0.3, lambda item: seen.append(item.registry), ticks, sleep)
    finally:
        end.set()
    assert ticks.now == pytest.approx(0.3)
    assert [item.registry for item in verdicts] == [item.registry for item in items]
    assert sorted(seen) == sorted(item.registry for item in items)
    assert verdicts[3].detail == "no answer in 0.3 s"
    assert verdicts[4].outcome == UNREACHABLE
    assert sum(item.outcome == ACCEPTED for item in verdicts) == 38


def test_hostile_header_is_read_in_linear_time() -> None:
    begun = time.process_time()
    parse_challenges(["Bearer" + " " * 60_000 + '"'] * 50)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("scheme", "host", "proxy"),
    [
        ("https", "q.io", "http://127.0.0.1:3128"),
        ("https", "127.0.0.1:5000", ""),
        ("https", "localhost", ""),
        ("http", "q.io", ""),
        ("https", "direct.io", ""),
    ],
)
def test_proxy_is_for_https_to_others(
    monkeypatch: pytest.MonkeyPatch, scheme: str, host: str, proxy: str
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "127.0.0.1:3128")
    monkeypatch.setenv("no_proxy", "direct.io")
    assert _proxy_for(scheme, host) == proxy
