"""A SOURCE as it is typed: ``?ttl=``, how long the logins of a file or a variable live."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth.errors import UsageError
from ecsauth.sources.schemes import Context, parse_source
from tests.builders import b64

LOGIN = f'{{"auths": {{"q.io": {{"auth": "{b64("u:p")}"}}}}}}'
CONTEXT = Context({"LOGIN": LOGIN}, io.BytesIO())
TIMES = [
    *(("1s", 1), ("90s", 90), ("30m", 1800), ("6h", 21_600), ("12h", 43_200), ("1d", 86_400)),
    *(("365d", 31_536_000), ("8760h", 31_536_000), ("007h", 25_200)),
]


@pytest.fixture
def path(login_file: Callable[..., Path]) -> Path:
    return login_file({"q.io": {"auth": b64("u:p")}})


@pytest.mark.parametrize(("text", "seconds"), TIMES)
def test_life_of_logins_is_told(path: Path, text: str, seconds: int) -> None:
    sources = {f"docker-config:{path}": str(path), "env:LOGIN": "env:LOGIN"}
    for source, name in sources.items():
        plain, timed = (parse_source(item, CONTEXT) for item in (source, f"{source}?ttl={text}"))
        assert (plain.name, timed.name) == (name, name)
        plainly, timely = plain.fetch(), timed.fetch()
        assert (plainly.ttl, timely.ttl) == (0, seconds)
        assert [item.match for item in timely.credentials] == ["q.io"]
        assert timely.credentials == plainly.credentials


@pytest.mark.parametrize(
    "value",
    [
        *("", "6", "h", "0h", "0s", "-6h", "+6h", "6 h", " 6h", "6h ", "6H", "6w", "1.5h", "6hh"),
        *("366d", "8761h", "99999999d", "999999999s", "6h&x=y", "٦h", "6h\0"),
    ],
)
@pytest.mark.parametrize("source", ["docker-config:/srv/config.json", "env:LOGIN"])
def test_life_of_no_sense_is_refused(source: str, value: str) -> None:
    assert parse_source(f"{source}?ttl=6h", CONTEXT)
    with pytest.raises(UsageError, match=r"\?ttl= is how long") as caught:
        parse_source(f"{source}?ttl={value}", CONTEXT)
    assert "?ttl=12h" in caught.value.hint


@pytest.mark.parametrize("text", ["docker-config:?ttl=6h", "env:?ttl=6h", "env:A-B?ttl=6h"])
def test_life_alone_names_no_source(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(text, CONTEXT)
    assert caught.value.reference == "source-name-invalid"


def test_path_without_its_scheme_has_no_life(path: Path) -> None:
    odd = path.with_name("config.json?ttl=6h")
    path.rename(odd)
    found = parse_source(str(odd), CONTEXT)
    assert found.name == str(odd)
    assert found.fetch().ttl == 0


def test_last_of_several_marks_counts(path: Path) -> None:
    odd = path.with_name("config.json?ttl=1h")
    path.rename(odd)
    assert parse_source(f"docker-config:{odd}?ttl=6h", CONTEXT).fetch().ttl == 6 * 3600
