"""A login file as a source: which helper is asked for what, and what is made of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecsauth.credentials.credential import Fetched
from ecsauth.errors import SourceError
from ecsauth.sources.login_file import LoginFileSource
from tests.builders import HUB, b64


class FakeStore:
    """A credential store in memory that logs what it is asked."""

    def __init__(self, logins: dict[str, tuple[str, str]], can_list: bool = True) -> None:
        self.logins = logins
        self.can_list = can_list
        self.asked: list[str] = []

    def get(self, server_url: str) -> tuple[str, str] | None:
        self.asked.append(server_url)
        return self.logins.get(server_url)

    def list(self) -> dict[str, str]:
        if not self.can_list:
            raise SourceError("cannot list")
        return {url: login[0] for url, login in self.logins.items()}


def fetch(document: dict[str, Any], selected: str = "", **stores: FakeStore) -> Fetched:
    def open_store(name: str) -> FakeStore:
        if name not in stores:
            raise SourceError(f"no {name}")
        return stores[name]

    data = json.dumps(document).encode()
    return LoginFileSource("f", lambda: data, open_store, selected).fetch()


def users(fetched: Fetched) -> dict[str, str]:
    return {item.match: item.username for item in fetched.credentials}


def test_own_helper_beats_store_beats_entry() -> None:
    own = FakeStore({"a.io": ("own", "1")})
    common = FakeStore({"b.io": ("common", "2")})
    document = {
        "auths": {
            "a.io": {"auth": b64("file:0")},
            "b.io": {"auth": b64("file:0")},
            "c.io": {"auth": b64("file:0")},
        },
        "credHelpers": {"a.io": "own"},
        "credsStore": "common",
    }
    fetched = fetch(document, own=own, common=common)
    assert users(fetched) == {"a.io": "own", "b.io": "common", "c.io": "file"}
    assert own.asked == ["a.io"]
    assert common.asked == ["b.io", "c.io"]
    assert any("c.io: docker-credential-common has no login" in note for note in fetched.notes)


def test_registries_known_only_to_the_helpers_are_found() -> None:
    own = FakeStore({"a.io": ("own", "1")})
    common = FakeStore({HUB: ("common", "2"), "a.io": ("wrong", "3")})
    fetched = fetch(
        {"credHelpers": {"a.io": "own"}, "credsStore": "common"}, own=own, common=common
    )
    assert users(fetched) == {"a.io": "own", "index.docker.io/v1/": "common"}


def test_empty_entries_are_filled_by_the_store_and_keep_their_email() -> None:
    store = FakeStore({HUB: ("u", "p")})
    fetched = fetch({"auths": {HUB: {"email": "e@x"}}, "credsStore": "s"}, s=store)
    assert [(item.username, item.email) for item in fetched.credentials] == [("u", "e@x")]
    assert store.asked == [HUB]


def test_token_user_name_makes_an_identity_token() -> None:
    fetched = fetch(
        {"credHelpers": {"x.azurecr.io": "acr"}},
        acr=FakeStore({"x.azurecr.io": ("<token>", "refresh")}),
    )
    assert [item.login for item in fetched.credentials] == [("", "", "refresh", "")]


def test_helper_of_another_spelling_of_the_key_is_the_same_registry() -> None:
    own = FakeStore({"a.io": ("own", "1")})
    fetched = fetch({"auths": {"https://a.io": {}}, "credHelpers": {"a.io": "own"}}, own=own)
    assert users(fetched) == {"a.io": "own"}
    assert own.asked == ["a.io"]


def test_store_that_cannot_list_is_asked_for_the_registries_of_the_file() -> None:
    store = FakeStore({"a.io": ("u", "p")}, can_list=False)
    fetched = fetch({"auths": {"a.io": {}}, "credsStore": "s"}, s=store)
    assert users(fetched) == {"a.io": "u"}
    assert fetched.problems == ()
    assert any("cannot list" in note for note in fetched.notes)


def test_store_that_cannot_list_without_entries_is_a_problem() -> None:
    fetched = fetch({"credsStore": "s"}, s=FakeStore({}, can_list=False))
    assert [str(problem) for problem in fetched.problems] == ["cannot list"]


def test_missing_store_is_one_problem_for_all_its_registries() -> None:
    document = {
        "auths": {"a.io": {}, "b.io": {}, "c.io": {"auth": b64("u:p")}},
        "credHelpers": {"a.io": "absent", "b.io": "absent"},
    }
    fetched = fetch(document)
    assert users(fetched) == {"c.io": "u"}
    assert [str(problem) for problem in fetched.problems] == ["no absent"]


def test_selected_entries_are_all_there_is() -> None:
    store = FakeStore({"a.io": ("u", "p"), "b.io": ("u", "p")})
    document = {"auths": {"a.io": {}, "b.io": {}}, "credsStore": "s", "credHelpers": {"c.io": "s"}}
    assert users(fetch(document, 'auths.{"a.io": "a.io"}', s=store)) == {"a.io": "u"}


def test_empty_entry_without_store_says_where_the_secret_is() -> None:
    fetched = fetch({"auths": {"a.io": {}, "b.io": {"auth": b64("u:p")}}})
    assert users(fetched) == {"b.io": "u"}
    (problem,) = fetched.problems
    assert "credential store" in str(problem)
    assert "docker login a.io" in str(problem)


def test_store_without_login_is_a_problem() -> None:
    (problem,) = fetch({"auths": {"a.io": {}}, "credsStore": "s"}, s=FakeStore({})).problems
    assert "docker-credential-s has no login" in str(problem)


def test_file_without_logins_is_an_error() -> None:
    session = {f"{HUB}access-token": {"auth": b64("u:p")}}
    documents: list[dict[str, Any]] = [{"auths": {}}, {"auths": session}]
    for document in documents:
        with pytest.raises(SourceError, match="holds no logins"):
            fetch(document)


def test_session_entries_are_left_out_and_said() -> None:
    auths = {HUB: {"auth": b64("u:p")}, f"{HUB}access-token": {"auth": b64("u:jwt")}}
    fetched = fetch({"auths": auths})
    assert users(fetched) == {"index.docker.io/v1/": "u"}
    assert any("session entry" in note for note in fetched.notes)


@pytest.mark.parametrize(
    "keys",
    [("https://a.io", "a.io"), ("http://a.io", "https://a.io"), ("docker.io", "index.docker.io")],
)
def test_two_logins_that_the_agent_cannot_tell_apart_are_refused(keys: tuple[str, str]) -> None:
    auths = {
        keys[0]: {"auth": b64("a:1")},
        keys[1]: {"auth": b64("b:2")},
        "c.io": {"auth": b64("u:p")},
    }
    fetched = fetch({"auths": auths})
    assert users(fetched) == {"c.io": "u"}
    (problem,) = fetched.problems
    assert "two entries" in str(problem)


def test_equal_logins_under_two_schemes_are_one() -> None:
    auths = {"https://a.io": {"auth": b64("a:1")}, "a.io": {"auth": b64("a:1")}}
    fetched = fetch({"auths": auths})
    assert users(fetched) == {"a.io": "a"}
    assert fetched.problems == ()


def test_real_key_wins_over_an_alias_in_either_order() -> None:
    auths = {"docker.io": {"auth": b64("alias:1")}, HUB: {"auth": b64("real:2")}}
    for entries in auths, dict(reversed(auths.items())):
        fetched = fetch({"auths": entries})
        assert users(fetched) == {"index.docker.io/v1/": "real"}
        assert any("docker.io is skipped" in note for note in fetched.notes)


def test_real_key_wins_over_two_aliases_that_differ() -> None:
    keys = ["docker.io", "index.docker.io", HUB, "docker.io/org"]
    auths = {key: {"auth": b64(f"u{number}:p")} for number, key in enumerate(keys)}
    fetched = fetch({"auths": auths})
    assert users(fetched) == {"index.docker.io/v1/": "u2"}
    assert fetched.problems == ()


def test_alias_of_docker_hub_wins_over_a_namespace_of_it() -> None:
    auths = {"docker.io/org": {"auth": b64("org:p")}, "docker.io": {"auth": b64("all:p")}}
    assert users(fetch({"auths": auths})) == {"index.docker.io/v1/": "all"}
    alone = fetch({"auths": {"docker.io/org": {"auth": b64("org:p")}}})
    assert users(alone) == {"index.docker.io/v1/": "org"}
    assert any("one login for all of Docker Hub" in note for note in alone.notes)


def test_names_of_members_and_fields_are_read_in_any_case() -> None:
    fetched = fetch(
        {"Auths": {"a.io": {"Auth": b64("u:p")}, "b.io": {}}, "CredsStore": "s"},
        s=FakeStore({"b.io": ("v", "q")}),
    )
    assert users(fetched) == {"a.io": "u", "b.io": "v"}


def test_user_name_without_password_is_a_problem() -> None:
    for entry in {"auth": b64("u:")}, {"username": "u"}:
        (problem,) = fetch({"auths": {"a.io": entry}}).problems
        assert "without a password" in str(problem)


def test_mended_keys_and_base64_are_said() -> None:
    fetched = fetch({"auths": {"docker.io": {"auth": "dTpwcA"}}})
    assert [item.auth_key.text for item in fetched.credentials] == [HUB]
    assert any("docker.io becomes" in note for note in fetched.notes)
    assert any("base64" in note for note in fetched.notes)


def test_control_character_from_a_helper_is_refused() -> None:
    store = FakeStore({"a.io": ("u", "hunter2\nX=1")})
    (problem,) = fetch({"credHelpers": {"a.io": "s"}}, s=store).problems
    assert "control character" in str(problem)
    assert "hunter2" not in str(problem)
