"""check and its fix on texts put together at random."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecsauth.engine_auth import env_file as ecs_config
from ecsauth.engine_auth.check import (
    check_env_file,
    fix,
)
from ecsauth.engine_auth.codec import decode

NOW = 1_800_000_000


_PIECE = st.sampled_from(
    [
        b"ECS_ENGINE_AUTH_TYPE=",
        b"ECS_ENGINE_AUTH_DATA=",
        b"dockercfg",
        b"docker",
        b"\n",
        b"\r\n",
        b"export ",
        b" ",
        b"'",
        b'"',
        b"{",
        b"}",
        b'{"q.io":{"auth":"dTpw"}}',
        b'{"auths":',
        b"\\",
        b"#",
        b"A=1",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\0",
        b'"a.io":{"username":"u"}',
        b",",
    ]
)


@given(st.lists(_PIECE, max_size=14))
def test_check_and_mend_never_raise_and_mending_is_stable(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    check_env_file(data, NOW)
    if data.lstrip().startswith(b"{"):
        return
    before = decode(ecs_config.read_engine_auth(data))
    repaired = fix(data)
    after = decode(ecs_config.read_engine_auth(repaired))
    assert fix(repaired) == repaired
    read = {item.login for item in before.credentials if any(item.login)}
    assert read <= {item.login for item in after.credentials}
