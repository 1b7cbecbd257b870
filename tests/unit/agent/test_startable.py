"""Files that keep an agent from starting, each beside one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecsauth.agent import paths
from ecsauth.agent.startable import MAX_VARIABLE_BYTES, env_file_fault, json_file_fault

FINE = b"ECS_CLUSTER=lab\n"


@pytest.mark.parametrize(
    ("bad", "good", "words"),
    [
        (b"=hidden\n", b"A=hidden\n", "line 2 sets a variable without a name"),
        (b"  =hidden", b"hidden", "line 2 sets a variable without a name"),
        (b"=\n", b"A=\n", "line 2 sets a variable without a name"),
        (b"A=hid\0den\n", b"A=hidden\n", "line 2 has a NUL byte"),
        (b"A\0B=hidden\n", b"A\0B\n", "line 2 has a NUL byte"),
        (b"\n\n=hidden\n", b"\n\n# =\n", "line 4 sets a variable without a name"),
    ],
)
def test_env_file_that_dockerd_refuses(bad: bytes, good: bytes, words: str) -> None:
    assert env_file_fault(FINE + good) == ""
    fault = env_file_fault(FINE + bad)
    assert words in fault
    assert "hidden" not in fault


@pytest.mark.parametrize("filler", ["x", "ü", "\udcff"])
def test_variable_is_limited_in_bytes_name_and_all(filler: str) -> None:
    """Linux allows 128 KiB with the final NUL: 131,071 bytes of ``NAME=value``."""
    assert MAX_VARIABLE_BYTES == 131_071
    one = filler.encode("utf-8", "surrogateescape")
    count, rest = divmod(131_071 - len(b"NAME="), len(one))
    fits = b"NAME=" + one * count + b"y" * rest
    assert len(fits) == 131_071
    assert env_file_fault(FINE + fits + b"\n") == ""
    assert env_file_fault(FINE + b" \t" + fits + b" \r\n") == ""  # ecs-init trims the line
    fault = env_file_fault(FINE + fits + b"y\n")
    assert fault == "the variable in line 2 has 131,072 bytes; Linux allows 131,071"
    assert env_file_fault(FINE + fits.replace(b"=", b"_") + b"yy\n") == ""  # no variable


def test_long_file_of_short_lines_is_fine() -> None:
    assert env_file_fault(b"".join(b"NAME%d=%s\n" % (n, b"x" * 100) for n in range(3000))) == ""


@pytest.mark.parametrize(
    ("bad", "good", "words"),
    [
        (b'{"Cluster": ', b'{"Cluster": ""}', "not JSON"),
        (b'{"Cluster": "lab",}', b'{"Cluster": "lab"}', "not JSON"),
        (b" ", b"", "not JSON"),
        (b"nul", b"null", "not JSON"),
        (b'{"a": NaN}', b'{"a": 0}', "not JSON"),
        (b"\xef\xbb\xbf{}", b"{}", "byte order mark"),
        (b"[]", b"{}", "not a JSON object"),
        (b'"{}"', b" {} ", "not a JSON object"),
        (b"false", b" null\n", "not a JSON object"),
        (b'{"EngineAuthType": 1}', b'{"EngineAuthType": "docker"}', "is not a string"),
        (b'{"engineauthtype": ["x"]}', b'{"engineauthtype": null}', "is not a string"),
    ],
)
def test_json_file_that_the_agent_ends_with(bad: bytes, good: bytes, words: str) -> None:
    assert json_file_fault(good) == ""
    assert words in json_file_fault(bad)


def test_each_value_of_a_repeated_name_counts() -> None:
    fine = b'{"EngineAuthType": "dockercfg", "ENGINEAUTHTYPE": "docker"}'
    assert json_file_fault(fine) == ""
    assert json_file_fault(fine.replace(b'"dockercfg"', b"7")) == "EngineAuthType is not a string"


def test_fault_names_its_file_and_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / name for name in ("instance.config", "ecs.config", "ecs.config.json")]
    monkeypatch.setattr(paths, "ENV_FILES", tuple(map(str, files[:2])))
    monkeypatch.setattr(paths, "JSON_FILE", str(files[2]))
    assert paths.start_fault() == ""  # none of them has to exist
    for file, bad in zip(files, (b"=hidden\n", b"=hidden\n", b'{"hidden": ')):
        file.write_bytes(b"null" if file.suffix == ".json" else FINE)
        assert paths.start_fault() == ""
        file.write_bytes(bad)
        assert paths.start_fault().startswith(f"{file}: ")
        assert "hidden" not in paths.start_fault()
        file.unlink()
