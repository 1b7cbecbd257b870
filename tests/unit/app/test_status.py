"""status: its facts, its screens at two widths, its metrics."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from ecsauth.app.facts import AgentStatus, RegistryStatus, TargetStatus, is_older, target_status
from ecsauth.app.metrics import metrics
from ecsauth.cli.render.screen import plain_lines, print_screen
from ecsauth.engine_auth.codec import EngineAuth, is_same_logins
from ecsauth.state.records import RunHistory, TargetRecord
from tests.builders import HOST, HUB, ROOT, b64, ecr_password
from tests.conftest import Result
from tests.unit.agent.test_container import agent_api

NOW = 1_795_248_000
ARN = "arn:aws:ecs:us-west-2:123456789012:container-instance/prod/0f1e2d3c4b5a"
FIRST_ECR = HOST.replace("us-west-2", "us-west-1")
AGENT = AgentStatus(
    True,
    "Amazon ECS Agent - v1.105.1 (*c6a1c4e)",
    "prod",
    ARN,
    7,
    NOW - 7200,
    False,
    "safe",
    "ECS_DATADIR is /data, and bind holds it",
)


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("ECSAUTH_INTROSPECTION_URL", f"http://127.0.0.1:{closed_port}")


def settings(*expiries: int) -> EngineAuth:
    entries = {
        HUB: {"auth": b64("my_name:hunter2")},
        **{
            HOST.replace("us-west-2", f"us-west-{number}"): {
                "auth": b64("AWS:" + ecr_password(expiry))
            }
            for number, expiry in enumerate(expiries, 1)
        },
    }
    return EngineAuth("dockercfg", json.dumps(entries))


def example() -> TargetStatus:
    return target_status(
        "/etc/ecs/ecs.config",
        settings(NOW + 11 * 3600, NOW + 4 * 3600, NOW - 60),
        TargetRecord(
            RunHistory(
                NOW - 3600,
                0,
                NOW - 3600,
                sources={"index.docker.io/v1/": "/root/.docker/config.json"},
            )
        ),
        mode=0o600,
        written_at=NOW - 3600,
    )


def screen(width: int, target: TargetStatus, agent: AgentStatus) -> tuple[str, str]:
    console = Console(
        file=io.StringIO(), record=True, width=width, force_terminal=True, color_system="truecolor"
    )
    print_screen(console, target, agent, NOW)
    text = console.export_text(clear=False)
    return text, console.export_svg(title="ecsauth status", unique_id="ecsauth")


def test_facts_of_registries() -> None:
    hub, fresh, due, over = example().registries
    assert (hub.registry, hub.expires_at, hub.life_left(NOW)) == ("docker.io", None, None)
    assert hub.source == "/root/.docker/config.json"
    assert fresh.expires_at == NOW + 11 * 3600
    assert fresh.issued_at == NOW - 3600
    assert fresh.next_refresh_at == NOW + 5 * 3600
    assert fresh.life_left(NOW) == pytest.approx(11 / 12)
    assert due.next_refresh_at == NOW - 2 * 3600
    assert over.life_left(NOW) == 0


@pytest.mark.parametrize("width", [80, 100, 160])
def test_screen_fits_its_width_and_says_all(width: int) -> None:
    text, _ = screen(width, example(), AGENT)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    flat = "".join(text.split())
    for words in (
        "/etc/ecs/ecs.config",
        "4registries",
        "my_name",
        "11h00min",
        "expired",
        "refreshduenow",
        "v1.105.1",
        "clusterprod",
        "7tasksrunning",
        ARN,
        "restartissafe",
        "runswiththelogins",
        "exitcode0",
    ):
        assert words in flat, words
    assert "hunter2" not in text


def test_screen_in_the_readme_is_the_program_s() -> None:
    _, svg = screen(100, example(), AGENT)
    kept = ROOT / "samples" / "status.svg"
    assert kept.read_text() == svg, "regenerate it: python -m tests.unit.app.test_status"
    assert "samples/status.svg" in (ROOT / "README.md").read_text()


def test_plain_lines() -> None:
    lines = plain_lines(example(), AGENT, NOW)
    assert lines[0].startswith("/etc/ecs/ecs.config: dockercfg, 4 registries, mode 0600")
    assert any("expires in 4 h 00 min, refresh due now" in line for line in lines)
    assert any(line.endswith("password, expired, refresh due now") for line in lines)
    assert "hunter2" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (AgentStatus(False, "", "", None, None, None, None, "unknown", "no Docker"), "not answer"),
        (AgentStatus(True, "1", "c", None, 0, None, True, "unsafe", "x"), "RESTART PENDING"),
        (AgentStatus(True, "1", "c", None, 0, None, True, "unsafe", "x"), "UNSAFE"),
        (AgentStatus(True, "1", "c", None, 0, None, None, "safe", "x"), "not registered"),
    ],
)
def test_states_of_the_agent(agent: AgentStatus, words: str) -> None:
    assert words in "\n".join(plain_lines(example(), agent, NOW))
    assert words in screen(100, example(), agent)[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "no such file"),
        (EngineAuth("", ""), "settings are missing"),
        (EngineAuth("Docker", '{"a.io":{}}'), "the agent reads no login"),
    ],
)
def test_states_of_the_target(given: EngineAuth | None, words: str) -> None:
    target = target_status("f", given, TargetRecord(), mode=None, written_at=None)
    assert words in plain_lines(target, AGENT, NOW)[0]
    assert words in screen(100, target, AGENT)[0]


def test_same_logins_are_what_the_agent_sends() -> None:
    assert is_same_logins(settings(), settings())
    spaced = EngineAuth("dockercfg", json.dumps(json.loads(settings().auth_data), indent=2))
    assert is_same_logins(spaced, settings())
    assert not is_same_logins(settings(), EngineAuth("", ""))


def test_metrics_are_prometheus_text() -> None:
    text = metrics([example()], AGENT)
    lines = text.splitlines()
    assert text.endswith("\n")
    labels = f'target="/etc/ecs/ecs.config",registry="{FIRST_ECR}",key="{FIRST_ECR}"'
    assert f"ecsauth_expiry_timestamp_seconds{{{labels}}} {NOW + 11 * 3600}" in lines
    assert 'ecsauth_restart_pending{target="/etc/ecs/ecs.config"} 0' in lines
    assert "ecsauth_agent_running_tasks 7" in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) == 12
    assert all(line.startswith("#") or len(line.rsplit(" ", 1)) == 2 for line in lines)
    odd = target_status('a"b\\c\nd', None, TargetRecord(), mode=None, written_at=None)
    assert 'target="a\\"b\\\\c\\nd"' in metrics([odd], AGENT)


def test_command_on_a_target(
    ecsauth: Callable[..., Result],
    login_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    target = tmp_path / "ecs.config"
    path = login_file({"q.io": {"auth": b64("u:hunter2")}})
    ecsauth("migrate", path, "--to", target)
    with agent_api(metadata='{"Cluster": "lab", "Version": "1"}', tasks='{"Tasks": []}') as url:
        result = ecsauth("status", target, "--json", "--introspection-url", url)
    document = json.loads(result.out)
    assert document["agent"]["cluster"] == "lab"
    assert document["agent"]["restart"] == "unknown"
    (registry,) = document["target"]["registries"]
    assert (registry["registry"], registry["source"]) == ("q.io", str(path))
    assert document["target"]["last_code"] == 0
    assert "hunter2" not in result.out + result.err


def test_prometheus_file_is_readable_and_has_the_last_result(
    ecsauth: Callable[..., Result], login_file: Callable[..., Path], tmp_path: Path
) -> None:
    target, file = tmp_path / "ecs.config", tmp_path / "ecsauth.prom"
    ecsauth("migrate", login_file({"q.io": {"auth": b64("u:p")}, "a.io": {}}), "--to", target)
    for _ in range(2):
        result = ecsauth("status", target, "--prometheus", file)
        assert (result.code, result.out, result.err) == (0, "", "")
        assert file.stat().st_mode & 0o7777 == 0o644
    assert f'ecsauth_last_result{{target="{target}"}} 3' in file.read_text()
    assert ecsauth("status", target, "--prometheus", tmp_path / "no" / "x").code == 4


def test_failed_runs_are_remembered_too(
    ecsauth: Callable[..., Result], login_file: Callable[..., Path], tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    good = login_file({"q.io": {"auth": b64("u:p")}})
    ecsauth("migrate", good, "--to", target)
    (tmp_path / ".ecs.config.ecsauth-new").mkdir()

    def last_code() -> int:
        """Return the code of the last run; a success was before it."""
        found = json.loads(ecsauth("status", target, "--json").out)
        assert found["target"]["last_success"]
        return int(found["target"]["last_code"])

    assert last_code() == 0
    other = login_file({"a.io": {"auth": b64("u:p")}}, "other.json")
    assert ecsauth("migrate", other, "--to", target).code == 4
    assert last_code() == 4
    assert ecsauth("migrate", tmp_path / "absent", "--to", target).code == 3
    assert last_code() == 3
    assert ecsauth("migrate", good, "--to", target, "--dry-run").code == 0
    assert last_code() == 3


def test_namespaces_of_one_host_are_metrics_of_their_own() -> None:
    password = ecr_password(NOW)
    data = {f"{HOST}/{name}": {"auth": b64(f"AWS:{password}")} for name in ("a", "b")}
    given = EngineAuth("dockercfg", json.dumps(data))
    text = metrics([target_status("t", given, TargetRecord(), mode=None, written_at=None)], AGENT)
    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))
    assert sum("expiry" in item for item in series) == 2


def test_metrics_replace_nothing_but_metrics(
    ecsauth: Callable[..., Result], login_file: Callable[..., Path], tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    ecsauth("migrate", login_file({"q.io": {"auth": b64("u:p")}}), "--to", target)
    before = target.read_bytes()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "real.prom").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real.prom")
    base = ("status", target, "--prometheus")
    for name in ("ecs.config", "fifo", "notes", ""):
        assert ecsauth(*base, tmp_path / name).code == 4
    assert target.read_bytes() == before
    assert (tmp_path / "notes").read_text() == "mine"
    assert ecsauth(*base, "/dev/null").code == 4
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert ecsauth(*base, tmp_path / "link").code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real.prom").read_text().startswith("# HELP ecsauth_")


def test_failure_of_status_leaves_no_green_metrics(
    ecsauth: Callable[..., Result], tmp_path: Path
) -> None:
    target, file = tmp_path / "ecs.config.json", tmp_path / "x.prom"
    base = ("status", target, "--prometheus", file)
    target.write_text(
        '{"EngineAuthType": "dockercfg", "EngineAuthData": {"q.io": {"auth": "dTpw"}}}'
    )
    assert ecsauth(*base).code == 0
    assert f'ecsauth_target_readable{{target="{target}"}} 1' in file.read_text()
    target.write_text("{")
    assert ecsauth(*base).code == 4
    assert f'ecsauth_target_readable{{target="{target}"}} 0' in file.read_text()


def test_pending_by_time_for_the_json_file() -> None:
    assert is_older(10.0, 11) is True
    assert is_older(11.0, 11) is False
    assert is_older(None, 11) is None
    assert is_older(10.0, None) is None


def test_fault_is_printed_without_terminal_escapes() -> None:
    given = EngineAuth("dockercfg", json.dumps({"\x1b[2Jx": "str"}))
    target = target_status("f", given, TargetRecord(), mode=None, written_at=None)
    assert "\x1b[2J" not in screen(100, target, AGENT)[0]


@pytest.mark.parametrize("last_run", [10**20, -(10**17), -1, 2**40])
def test_odd_times_in_the_state_are_unknown(
    ecsauth: Callable[..., Result], tmp_path: Path, last_run: int
) -> None:
    target = tmp_path / "ecs.config"
    target.write_text("")
    (tmp_path / "state").mkdir()
    document = {"version": 1, "targets": {str(target): {"last_run": last_run}}}
    (tmp_path / "state" / "state.json").write_text(json.dumps(document))
    result = ecsauth("status", target)
    assert result.code == 0
    assert "last run" not in result.out


def test_target_that_is_not_there(ecsauth: Callable[..., Result], tmp_path: Path) -> None:
    absent = ecsauth("status", tmp_path / "ecs.config")
    assert absent.code == 0
    assert "there is no such file" in absent.out
    nowhere = ecsauth("status", tmp_path / "no" / "ecs.config")
    assert nowhere.code == 4
    assert "is the ECS agent installed here?" in nowhere.err


def test_registry_status_without_expiry_has_no_life() -> None:
    item = RegistryStatus("a", "a", "u", "password", "", None, NOW, None)
    assert item.life_left(NOW) is None


if __name__ == "__main__":
    (ROOT / "samples" / "status.svg").write_text(screen(100, example(), AGENT)[1])
    for columns in (80, 120):
        print(screen(columns, example(), AGENT)[0])
