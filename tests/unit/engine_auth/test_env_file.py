"""ecs.config: what ecs-init reads, and every other byte kept."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ecsauth.engine_auth.codec import MAX_AUTH_DATA_BYTES, MAX_ENV_FILE_LINE_BYTES, EngineAuth
from ecsauth.engine_auth.env_file import (
    check_size,
    full_value,
    read,
    read_engine_auth,
    size_warning,
    write_engine_auth,
)
from ecsauth.errors import EncodeError, TargetError

NEW = EngineAuth("docker", '{"q.io":{"username":"u"}}')
TYPE = b"ECS_ENGINE_AUTH_TYPE=docker"
DATA = b'ECS_ENGINE_AUTH_DATA={"q.io":{"username":"u"}}'


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        (b"", {}),
        (b"A=1", {"A": "1"}),
        (b"A=1\nA=2\n", {"A": "2"}),
        (b" A = 1 \r\n", {"A ": " 1"}),
        (b"A\n#B=1\nexport C=2\n", {"#B": "1", "export C": "2"}),
        (b"A=b=c\n", {"A": "b=c"}),
        (b"A='x'\n", {"A": "'x'"}),
        (b"=x\nA=\n", {"A": ""}),
        (b"\xc2\xa0A=1\xe2\x80\x89\n", {"A": "1"}),
        (b"\x1cA=1\n", {"\x1cA": "1"}),
        (b"A=\xff\n", {"A": "\udcff"}),
        ("\ufeffA=1\n".encode(), {"\ufeffA": "1"}),
    ],
)
def test_read_as_ecs_init(text: bytes, variables: dict[str, str]) -> None:
    assert read(text) == variables


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"%T\n%D\n"),
        (b"A=1\n", b"A=1\n%T\n%D\n"),
        (b"A=1", b"A=1\n%T\n%D\n"),
        (b"A=1\r\nB=2\r\n", b"A=1\r\nB=2\r\n%T\r\n%D\r\n"),
        (b"A=1\r\nB=2", b"A=1\r\nB=2\r\n%T\r\n%D\r\n"),
        (b"A=1\r\nB=2\n", b"A=1\r\nB=2\n%T\n%D\n"),
        (b"\n\n# c\n\nA=1\n\n", b"\n\n# c\n\nA=1\n\n%T\n%D\n"),
        (b"A=1\nA=1\n\xff\xfe\n", b"A=1\nA=1\n\xff\xfe\n%T\n%D\n"),
        # in place, the last line without a newline stays as it is when it is not ours
        (b"ECS_ENGINE_AUTH_TYPE=x\nECS_ENGINE_AUTH_DATA=y\nA=1", b"%T\n%D\nA=1"),
        (b"ECS_ENGINE_AUTH_DATA=y\nA=1\nECS_ENGINE_AUTH_TYPE=x", b"%D\nA=1\n%T\n"),
        # one of the two: the other goes beside it
        (b"A=1\nECS_ENGINE_AUTH_TYPE=x\nB=2\n", b"A=1\n%T\n%D\nB=2\n"),
        (b"A=1\nECS_ENGINE_AUTH_DATA=x\nB=2\n", b"A=1\n%T\n%D\nB=2\n"),
        # repeated lines collapse into the place of the last
        (
            b"ECS_ENGINE_AUTH_TYPE=x\nA=1\n ECS_ENGINE_AUTH_TYPE=y \nB=2\nECS_ENGINE_AUTH_DATA=\n",
            b"A=1\n%T\nB=2\n%D\n",
        ),
        (b"ECS_ENGINE_AUTH_DATA=x\nA=1\nECS_ENGINE_AUTH_DATA=y\n", b"A=1\n%T\n%D\n"),
        # lines that ecs-init takes for other variables are foreign
        (
            b"#ECS_ENGINE_AUTH_TYPE=x\nexport ECS_ENGINE_AUTH_DATA=y\nECS_ENGINE_AUTH_TYPE =z\n",
            b"#ECS_ENGINE_AUTH_TYPE=x\nexport ECS_ENGINE_AUTH_DATA=y\nECS_ENGINE_AUTH_TYPE =z\n"
            b"%T\n%D\n",
        ),
        # systemd would join our line to a final backslash
        (b"A=1\\\n", b"A=1\\\n\n%T\n%D\n"),
        (b"A=1\\", b"A=1\\\n\n%T\n%D\n"),
        (b"A=1\r\nB=2\\\r\n", b"A=1\r\nB=2\\\r\n\r\n%T\r\n%D\r\n"),
        # a pretty-printed value goes as a whole
        (
            b'ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={\n  "q.io": {\n    "auth":'
            b' "dTpwcA=="\n  }\n}\nA=1\n',
            b"%T\n%D\nA=1\n",
        ),
        (b"ECS_ENGINE_AUTH_DATA='{\n}'\nA=1\n", b"%T\n%D\nA=1\n"),
        (b'ECS_ENGINE_AUTH_DATA={"q.io":\\\n{}}\nA=1\n', b"%T\n%D\nA=1\n"),
        (b'ECS_ENGINE_AUTH_DATA=\n{"q.io":{}}\nA=1\n', b"%T\n%D\nA=1\n"),
        (b'ECS_ENGINE_AUTH_DATA="\n{"q.io":{}}"\nA=1\n', b"%T\n%D\nA=1\n"),
        # what only looks like the rest of a value stays
        (b"ECS_ENGINE_AUTH_DATA={\n}x\nA=1\n", b"%T\n%D\n}x\nA=1\n"),
        (b"ECS_ENGINE_AUTH_DATA={\nA=1\n", b"%T\n%D\nA=1\n"),
        (b"ECS_ENGINE_AUTH_DATA={}\n}\n", b"%T\n%D\n}\n"),
    ],
)
def test_write_changes_two_settings_and_nothing_else(before: bytes, after: bytes) -> None:
    expected = after.replace(b"%T", TYPE).replace(b"%D", DATA)
    written = write_engine_auth(before, NEW)
    assert written == expected
    assert read_engine_auth(written) == NEW
    assert write_engine_auth(written, NEW) == written


_LINE = st.sampled_from(
    [
        b"A=1",
        b"# c",
        b"",
        b"foreign",
        b"A=2\r",
        b"\xff=\xfe",
        b"ECS_ENGINE_AUTH_TYPE=x",
        b" ECS_ENGINE_AUTH_DATA={}\t",
        b"ECS_ENGINE_AUTH_DATA={",
        b"}",
        b'"a":{}',
        b"B=\\",
    ]
)


@given(st.lists(_LINE, max_size=12), st.booleans())
def test_write_keeps_foreign_lines_of_any_file(lines: list[bytes], final: bool) -> None:
    before = b"\n".join(lines) + (b"\n" if final else b"")
    written = write_engine_auth(before, NEW)
    assert read_engine_auth(written) == NEW
    ours = (b"ECS_ENGINE_AUTH_TYPE", b"ECS_ENGINE_AUTH_DATA")
    foreign = {
        name: value
        for name, value in read(before).items()
        if name.encode("utf-8", "surrogateescape") not in ours
    }
    kept = {
        name: value
        for name, value in read(written).items()
        if name.encode("utf-8", "surrogateescape") not in ours
    }
    assert kept == foreign


@given(st.binary(max_size=200))
def test_write_keeps_every_byte_of_a_file_without_our_settings(before: bytes) -> None:
    assume(not before.startswith((b"\xff\xfe", b"\xfe\xff")))
    assume(not before.lstrip().startswith(b"{"))  # may be JSON, which is refused
    written = write_engine_auth(before, NEW)
    assert written.startswith(before)
    assert read_engine_auth(written) == NEW


def test_utf16_and_json_are_refused() -> None:
    for text in ("A=1\n".encode("utf-16"), b'{"auths": {}}', b'\n{"q.io": {}}\n'):
        with pytest.raises(TargetError) as caught:
            write_engine_auth(text, NEW)
        assert caught.value.reference in ("target-encoding", "target-is-json")


def test_full_value_joins_a_value_spread_over_lines() -> None:
    spread = b'ECS_ENGINE_AUTH_DATA={\n  "q.io": {}\n}\nA=1\n'
    assert full_value(spread) == '{\n"q.io": {}\n}'
    assert full_value(b"ECS_ENGINE_AUTH_DATA={}\n") == "{}"
    assert full_value(b"ECS_ENGINE_AUTH_DATA={\nA=1\n") == "{"
    assert full_value(b"A=1\n") == ""


def test_large_spread_value_is_read_in_linear_time() -> None:
    rows = b"".join(b'"q%d.io": {\n"auth": "dTpw"\n},\n' % number for number in range(20_000))
    text = b"ECS_ENGINE_AUTH_DATA={\n" + rows + b'"z.io": {}\n}\nA=1\n'
    assert full_value(text).endswith("}")
    assert write_engine_auth(text, NEW) == TYPE + b"\n" + DATA + b"\nA=1\n"


@pytest.mark.parametrize("excess", [0, 1])
def test_value_over_the_limit_is_refused(excess: int) -> None:
    settings = EngineAuth("dockercfg", "x" * (MAX_AUTH_DATA_BYTES + excess))
    if excess:
        with pytest.raises(EncodeError, match="131,051 bytes; a variable holds 131,050") as caught:
            check_size(settings)
        assert "--format docker" in caught.value.hint
        assert "ecs.config.json" in caught.value.hint
        with pytest.raises(EncodeError) as caught:
            check_size(EngineAuth("docker", settings.auth_data))
        assert "--format docker" not in caught.value.hint
    else:
        check_size(settings)


def test_size_counts_bytes_not_characters() -> None:
    with pytest.raises(EncodeError):
        check_size(EngineAuth("docker", "é" * (MAX_AUTH_DATA_BYTES // 2 + 1)))


@pytest.mark.parametrize("excess", [0, 1])
def test_line_over_the_limit_of_docker_gives_a_warning(excess: int) -> None:
    length = MAX_ENV_FILE_LINE_BYTES - len("ECS_ENGINE_AUTH_DATA=") + excess
    warning = size_warning(EngineAuth("docker", "x" * length))
    assert bool(warning) is bool(excess)
    if excess:
        assert "65,536 bytes" in warning
