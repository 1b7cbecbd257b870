"""convert --raw against jq, byte for byte."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ecsauth.app.update import raw_settings
from ecsauth.credentials.login_file import parse_document
from ecsauth.engine_auth.layouts import DATA
from tests.builders import ROOT, b64
from tests.conftest import Result, need

_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


def jq(path: Path, expression: str = ".auths") -> bytes:
    need("jq")
    done = subprocess.run(["jq", "-c", expression, path], capture_output=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "auths",
    [
        {"https://index.docker.io/v1/": {"auth": b64("my_name:my_password"), "email": "e@x"}},
        {"z.io": {"auth": b64("ü:€")}, "a.io": {"email": "ünï@cödé.example", "auth": ""}},
        {"a.io": {"password": "\" \\ / \b\f\n\r\t\x00\x1f \x7f \u2028 <>&' 😀"}},
        {},
    ],
)
@pytest.mark.parametrize("style", [{}, {"indent": "\t"}, {"ensure_ascii": False}])
def test_raw_data_is_what_jq_prints(
    ecsauth: Callable[..., Result], tmp_path: Path, auths: dict[str, Any], style: dict[str, Any]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"HttpHeaders": {}, "auths": auths}, **style), encoding="utf-8")
    result = ecsauth("convert", "--raw", "--output=data", path)
    assert result.code == 0
    assert result.out.encode() == jq(path)


def test_raw_data_of_the_samples_is_what_jq_prints(ecsauth: Callable[..., Result]) -> None:
    samples = ROOT / "samples"
    for name, options, expression in (
        ("docker-config.json", [], ".auths"),
        ("identity-token.json", [], ".auths"),
        ("dockercfg.json", ["--select=@"], "."),
    ):
        result = ecsauth("convert", "--raw", "--output=data", *options, samples / name)
        assert result.out.encode() == jq(samples / name, expression)


@given(_VALUE)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_compact_text_of_any_value_is_what_jq_prints(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "value.json"
    assume(value is not None)
    path.write_text(json.dumps({"auths": value}))
    text, _ = raw_settings(parse_document(path.read_bytes(), "f"), "auths", "auto", DATA)
    assert text == jq(path)
