"""The settings that the agent gets out of its files: which file counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecsauth.agent import paths
from ecsauth.agent.datadir import SAFE, RestartVerdict
from ecsauth.agent.restart.ports import Observation
from ecsauth.engine_auth.codec import UNSET, EngineAuth
from ecsauth.engine_auth.layouts import AGENT_JSON, ENV_FILE

SETTINGS = "ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={}\n"


@pytest.fixture
def env_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Stand in for /var/lib/ecs/ecs.config and /etc/ecs/ecs.config; neither exists yet."""
    instance, own = tmp_path / "instance.config", tmp_path / "ecs.config"
    monkeypatch.setattr(paths, "ENV_FILES", (str(instance), str(own)))
    monkeypatch.setattr(paths, "JSON_FILE", f"{own}.json")
    return instance, own


def test_empty_setting_is_a_value_too(env_files: tuple[Path, Path]) -> None:
    instance, own = env_files
    instance.write_text(SETTINGS)

    def expected() -> EngineAuth:
        return paths.expected_settings(own, ENV_FILE)

    assert expected() == EngineAuth("docker", "{}")
    own.write_text("ECS_CLUSTER=lab\n")
    assert expected() == EngineAuth("docker", "{}")
    own.write_text("ECS_ENGINE_AUTH_DATA=\n")
    assert expected() == EngineAuth("docker", "")
    own.write_text("ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=[]\n")
    assert expected() == EngineAuth("dockercfg", "[]")


def test_file_that_ecs_init_does_not_read_stands_alone(env_files: tuple[Path, Path]) -> None:
    instance, own = env_files
    instance.write_text(SETTINGS)
    other = own.with_name("other.config")
    assert paths.expected_settings(other, ENV_FILE) == UNSET
    other.write_text(SETTINGS.replace("docker", "dockercfg"))
    assert paths.expected_settings(other, ENV_FILE) == EngineAuth("dockercfg", "{}")


@pytest.mark.parametrize("index", [0, 1])
def test_either_env_file_comes_before_the_json_file(
    env_files: tuple[Path, Path], index: int
) -> None:
    json_file = Path(paths.JSON_FILE)
    json_file.write_text('{"EngineAuthType": "docker", "EngineAuthData": {}}')
    seen = Observation(RestartVerdict(SAFE, ""), settings=EngineAuth("docker", "{}"))
    assert paths.overruled_by(json_file, AGENT_JSON) is None
    assert paths.is_in_sync(json_file, AGENT_JSON, UNSET, seen) is False  # it was, and is no more
    env_files[index].write_text("ECS_CLUSTER=lab\n")
    assert paths.overruled_by(json_file, AGENT_JSON) is None
    env_files[index].write_text(SETTINGS)
    assert paths.overruled_by(json_file, AGENT_JSON) == env_files[index]
    assert paths.is_in_sync(json_file, AGENT_JSON, UNSET, seen) is True
    assert paths.overruled_by(env_files[1], ENV_FILE) is None


def test_json_file_elsewhere_has_the_file_beside_it_before_it(
    env_files: tuple[Path, Path], tmp_path: Path
) -> None:
    json_file = tmp_path / "mine" / "agent.config.json"
    json_file.parent.mkdir()
    env_files[0].write_text(SETTINGS)
    assert paths.overruled_by(json_file, AGENT_JSON) is None
    beside = json_file.with_suffix("")
    beside.write_text(SETTINGS)
    assert paths.overruled_by(json_file, AGENT_JSON) == beside


@pytest.mark.parametrize(("seconds", "is_later"), [(-1, False), (0, False), (1, True)])
def test_agent_has_read_a_json_file_that_is_older_than_it(
    env_files: tuple[Path, Path], seconds: float, is_later: bool
) -> None:
    json_file = Path(paths.JSON_FILE)
    json_file.write_text("{}")
    started_at = json_file.stat().st_mtime + seconds
    seen = Observation(RestartVerdict(SAFE, ""), settings=UNSET, started_at=started_at)
    assert paths.is_in_sync(json_file, AGENT_JSON, UNSET, seen) is is_later
