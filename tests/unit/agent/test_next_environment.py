"""The environment of the agent's next container: the files over ecs-init's own defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecsauth.agent import paths
from ecsauth.agent.next_environment import next_environment

RUNNING = {"ECS_DATADIR": "/data", "ECS_CLUSTER": "lab", "ECS_AGENT_LABELS": "", "PATH": "/bin"}
"""What a container of ecs-init has whose files say ``ECS_CLUSTER=lab``."""

FILES = {"ECS_CLUSTER": "lab"}


@pytest.fixture
def env_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Stand in for /var/lib/ecs/ecs.config and /etc/ecs/ecs.config; neither exists yet."""
    assert paths.ENV_FILES == ("/var/lib/ecs/ecs.config", "/etc/ecs/ecs.config")
    instance, own = tmp_path / "instance.config", tmp_path / "ecs.config"
    monkeypatch.setattr(paths, "ENV_FILES", (str(instance), str(own)))
    return instance, own


def test_later_file_overrides_the_earlier_one(env_files: tuple[Path, Path]) -> None:
    instance, own = env_files
    assert paths.file_variables() == {}
    instance.write_text("ECS_CLUSTER=first\nECS_DATADIR=/first\nECS_LOGLEVEL=debug\n")
    assert paths.file_variables()["ECS_CLUSTER"] == "first"
    own.write_text(" ECS_CLUSTER=second \nECS_DATADIR=\nno variable\n")
    variables = paths.file_variables()
    assert variables == {"ECS_CLUSTER": "second", "ECS_DATADIR": "", "ECS_LOGLEVEL": "debug"}
    # An empty value is a value: ecs-init's own default does not come back.
    following = next_environment(RUNNING, variables, is_ecs_init=True)
    assert following.variables["ECS_DATADIR"] == ""
    assert following.changed == ("ECS_CLUSTER", "ECS_DATADIR", "ECS_LOGLEVEL")


def test_ecs_init_starts_from_its_own_defaults() -> None:
    following = next_environment(RUNNING, FILES, is_ecs_init=True)
    assert following.variables == {"ECS_DATADIR": "/data", "ECS_CLUSTER": "lab"}
    assert following.changed == ()
    own = next_environment(RUNNING, {**FILES, "ECS_DATADIR": "/other"}, is_ecs_init=True)
    assert own.variables["ECS_DATADIR"] == "/other"
    assert own.changed == ("ECS_DATADIR",)


def test_default_counts_as_a_change_if_the_container_has_another_value() -> None:
    running = {**RUNNING, "ECS_DATADIR": "/other"}  # its line was taken out of the file since
    following = next_environment(running, FILES, is_ecs_init=True)
    assert following.variables["ECS_DATADIR"] == "/data"
    assert following.changed == ("ECS_DATADIR",)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (("ECS_DATADIR", ""), "ECS_DATADIR"),
        (("ECS_CHECKPOINT", "false"), "ECS_CHECKPOINT"),
        (("ECS_CLUSTER", "hidden"), "ECS_CLUSTER"),
        (("HTTP_PROXY", "http://u:hidden@proxy"), "HTTP_PROXY"),
    ],
)
def test_waiting_edit_is_named_without_its_value(line: tuple[str, str], name: str) -> None:
    following = next_environment(RUNNING, {**FILES, **dict([line])}, is_ecs_init=True)
    assert following.changed == (name,)
    assert following.variables[name] == line[1]
    assert "hidden" not in repr(following)
    done = next_environment(
        {**RUNNING, **dict([line])}, {**FILES, **dict([line])}, is_ecs_init=True
    )
    assert done.changed == ()


def test_line_that_is_gone_is_a_change() -> None:
    running = {**RUNNING, "ECS_LOGLEVEL": "debug", "AWS_VPC_ID": "made by the agent's image"}
    assert next_environment(running, FILES, is_ecs_init=True).changed == ("ECS_LOGLEVEL",)
    files = {**FILES, "ECS_LOGLEVEL": "debug"}
    assert next_environment(running, files, is_ecs_init=True).changed == ()


def test_what_a_restart_is_for_is_no_other_change() -> None:
    settings = {"ECS_ENGINE_AUTH_TYPE": "docker", "ECS_ENGINE_AUTH_DATA": "{}"}
    following = next_environment(RUNNING, {**FILES, **settings}, is_ecs_init=True)
    assert following.changed == ()
    assert following.variables["ECS_ENGINE_AUTH_TYPE"] == "docker"
    gone = next_environment({**RUNNING, **settings}, FILES, is_ecs_init=True)
    assert (gone.changed, "ECS_ENGINE_AUTH_DATA" in gone.variables) == ((), False)


def test_what_ecs_init_decides_by_itself_is_no_change() -> None:
    own = {"ECS_LOGFILE": "/log/x", "ECS_UPDATES_ENABLED": "true", "ECS_ENABLE_TASK_ENI": "true"}
    assert next_environment({**RUNNING, **own}, FILES, is_ecs_init=True).changed == ()
    # It drops this one where the host has no driver for it, whatever the file says.
    files = {**FILES, "ECS_ENABLE_GPU_SUPPORT": "true"}
    assert next_environment(RUNNING, files, is_ecs_init=True).changed == ()


def test_container_run_by_hand_keeps_its_own() -> None:
    running = {"ECS_DATADIR": "/own", "ECS_LOGLEVEL": "debug", "ECS_CLUSTER": "lab"}
    following = next_environment(running, FILES, is_ecs_init=False)
    assert following.variables == running
    assert following.changed == ()
    # Without a data directory of its own there is none: the default is that of ecs-init.
    bare = next_environment({"ECS_CLUSTER": "lab"}, FILES, is_ecs_init=False)
    assert "ECS_DATADIR" not in bare.variables
    edited = next_environment(running, {"ECS_CLUSTER": "", "ECS_DATADIR": ""}, is_ecs_init=False)
    assert edited.variables == {"ECS_DATADIR": "", "ECS_LOGLEVEL": "debug", "ECS_CLUSTER": ""}
    assert edited.changed == ("ECS_CLUSTER", "ECS_DATADIR")
