"""refresh as a process of its own, against a counted stub: calls, state, many at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.env_file import read_engine_auth
from tests.builders import HOST, b64
from tests.conftest import Result
from tests.lab.aws_stub import PRIVATE, AwsStub, error_answer, token_answer

RunProgram = Callable[..., Result]
HOSTS = [f"{number}23456789012.dkr.ecr.us-west-2.amazonaws.com" for number in range(3)]


@dataclass
class Refresh:
    """The command with a target and a state directory."""

    run: RunProgram
    target: Path
    state: Path

    def __call__(self, *arguments: object) -> Result:
        return self.run("refresh", *arguments, "--to", self.target, "--state-dir", self.state)

    def logins(self) -> dict[str, str]:
        view = decode(read_engine_auth(self.target.read_bytes()))
        return {item.match: item.secret for item in view.credentials}


@pytest.fixture
def refresh(ecsauth: RunProgram, tmp_path: Path) -> Refresh:
    return Refresh(ecsauth, tmp_path / "ecs.config", tmp_path / "state")


def test_three_hosts_cost_one_call_and_the_second_run_none(refresh: Refresh, aws: AwsStub) -> None:
    sources = [f"ecr:{host}" for host in HOSTS]
    assert refresh(*sources).code == 0
    assert set(refresh.logins()) == set(HOSTS)
    assert len(aws.calls) == 1
    before = refresh.target.stat()
    again = refresh(*sources)
    assert (again.code, len(aws.calls)) == (0, 1)
    assert "nothing is due; next at 20" in again.out
    after = refresh.target.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_twenty_processes_at_once_make_one_call(refresh: Refresh, aws: AwsStub) -> None:
    slow = aws.answers[PRIVATE]

    def answer(region: str, body: dict[str, object]) -> tuple[int, object]:
        time.sleep(0.5)
        return slow(region, body)

    aws.answers[PRIVATE] = answer
    command = [
        *(sys.executable, "-m", "ecsauth", "refresh", f"ecr:{HOST}", "--lock-timeout=120"),
        *("--to", str(refresh.target), "--state-dir", str(refresh.state)),
    ]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(20)
    ]
    said = [process.communicate(timeout=200)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 20
    assert len(aws.calls) == 1
    assert sum("written" in text for text in said) == 1
    assert sum("nothing is due" in text for text in said) == 19


def test_state_is_private_and_without_secrets(refresh: Refresh, aws: AwsStub) -> None:
    aws.answers[PRIVATE] = token_answer(HOST, password="c4n4ry")
    assert refresh(f"ecr:{HOST}?external_id=sh4red").code == 0
    path = refresh.state / "state.json"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    for secret in ("c4n4ry", "sh4red", b64("AWS:c4n4ry"), b64("AWS:c4n4ry")[4:-4]):
        assert secret not in text
    lease = next(iter(json.loads(text)["targets"][str(refresh.target)]["leases"].values()))
    assert lease["source"] == f"ecr:{HOST}"
    life = lease["logins"][HOST]["expires_at"] - lease["fetched_at"]
    assert 0.39 * life <= lease["refresh_at"] - lease["fetched_at"] <= 0.5 * life


@pytest.mark.parametrize("damage", ["gone", "torn", "other version", "odd types", "directory"])
def test_damaged_state_is_no_failure(refresh: Refresh, aws: AwsStub, damage: str) -> None:
    assert refresh(f"ecr:{HOST}").code == 0
    path = refresh.state / "state.json"
    text = path.read_text()
    path.unlink()
    if damage == "torn":
        path.write_text(text[: len(text) // 2])
    elif damage == "other version":
        path.write_text(text.replace('"version": 1', '"version": 99'))
    elif damage == "odd types":
        path.write_text(text.replace('"digest": "', '"digest": ["').replace('",\n', '"],\n'))
    elif damage == "directory":
        path.mkdir()
    aws.answers[PRIVATE] = token_answer(HOST, password="newer")
    result = refresh(f"ecr:{HOST}")
    assert result.code == 0
    assert refresh.logins() == {HOST: "newer"}
    assert ("every run fetches everything again" in result.err) is (damage == "directory")


def test_expired_login_of_a_failing_source_is_taken_out_loudly(
    refresh: Refresh, aws: AwsStub, login_file: Callable[..., Path]
) -> None:
    aws.answers[PRIVATE] = token_answer(HOST, life=4)
    file = str(login_file({"q.io": {"auth": b64("u:p")}}))
    assert refresh(f"ecr:{HOST}", file).code == 0
    aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    time.sleep(2.1)
    stale = refresh(f"ecr:{HOST}", file)
    assert stale.code == 3
    assert set(refresh.logins()) == {HOST, "q.io"}
    time.sleep(2.5)
    expired = refresh(f"ecr:{HOST}", file)
    assert expired.code == 3
    assert set(refresh.logins()) == {"q.io"}
    assert f"warning: {HOST}: its login has expired and is removed" in expired.err
    aws.answers[PRIVATE] = token_answer(HOST)
    assert refresh(f"ecr:{HOST}", file).code == 0
    assert set(refresh.logins()) == {HOST, "q.io"}


def test_migrated_login_is_noticed_and_put_right(
    refresh: Refresh, aws: AwsStub, ecsauth: RunProgram, login_file: Callable[..., Path]
) -> None:
    refresh(f"ecr:{HOST}")
    by_hand = login_file({HOST: {"auth": b64("AWS:by hand")}})
    ecsauth("migrate", by_hand, "--to", refresh.target, "--state-dir", refresh.state)
    assert refresh.logins() == {HOST: "by hand"}
    refresh(f"ecr:{HOST}")
    assert refresh.logins() == {HOST: "t0ken"}
    assert len(aws.calls) == 2


def test_status_shows_when_the_next_token_is_due(
    refresh: Refresh, aws: AwsStub, ecsauth: RunProgram
) -> None:
    refresh(f"ecr:{HOST}")
    shown = ecsauth("status", refresh.target, "--state-dir", refresh.state, "--json")
    (registry,) = json.loads(shown.out)["target"]["registries"]
    assert registry["source"] == f"ecr:{HOST}"
    now = time.time()
    assert 4.7 * 3600 < registry["next_refresh_at"] - now < 6 * 3600 + 1
    assert 11.9 * 3600 < registry["expires_at"] - now < 12 * 3600 + 1


def test_nothing_due_loads_no_aws_sdk(refresh: Refresh, aws: AwsStub) -> None:
    refresh(f"ecr:{HOST}")
    program = (
        "import sys; from ecsauth.cli.program import run; code = run(sys.argv[1:])\n"
        "print(code, *({'botocore', 'boto3', 'docker', 'requests', 'rich'} & set(sys.modules)))"
    )

    def loaded(*options: str) -> list[str]:
        command = [
            *(sys.executable, "-c", program, "refresh", f"ecr:{HOST}", *options),
            *("--to", str(refresh.target), "--state-dir", str(refresh.state)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1].split()

    assert loaded() == ["0"]
    assert len(aws.calls) == 1
    assert loaded("--force") == ["0", "botocore"]


def test_source_that_was_changed_is_asked_again(
    refresh: Refresh, aws: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.answers["secretsmanager.GetSecretValue"] = lambda _, __: (
        200,
        {"SecretString": '{"username":"u","password":"p"}', "VersionId": "v1"},
    )
    sources = [f"ecr:{HOST}", "secretsmanager:login?registry=q.io"]
    assert refresh(*sources).code == 0
    assert refresh(*sources).code == 0
    assert len(aws.calls) == 2
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")  # another caller
    assert refresh(*sources).code == 0
    assert len(aws.calls) == 4
    assert refresh(sources[0], "secretsmanager:login?registry=r.io").code == 0
    assert len(aws.calls) == 5
    assert set(refresh.logins()) == {HOST, "q.io", "r.io"}


def test_metrics_of_every_target(refresh: Refresh, aws: AwsStub, tmp_path: Path) -> None:
    metrics = tmp_path / "ecsauth.prom"
    other = tmp_path / "ecs.config.json"
    result = refresh(f"ecr:{HOST}", "--to", other, "--prometheus", metrics)
    assert result.code == 0
    text = metrics.read_text()
    for name in (str(refresh.target), str(other)):
        assert f'ecsauth_last_result{{target="{name}"}} 0' in text
        assert f'ecsauth_registries{{target="{name}"}} 1' in text
    assert text.count("# TYPE ecsauth_registries gauge") == 1
    aws.answers[PRIVATE] = error_answer(400, "AccessDeniedException")
    assert refresh(f"ecr:{HOST}", "--to", other, "--prometheus", metrics, "--force").code == 3
    assert f'ecsauth_last_result{{target="{other}"}} 3' in metrics.read_text()


def test_json_names_what_was_asked_and_written(refresh: Refresh, aws: AwsStub) -> None:
    result = refresh(f"ecr:{HOST}", "--json", "--log-format=json", "-v")
    document = json.loads(result.out)
    assert document["asked"] == [
        {
            "source": f"ecr:{HOST}",
            "why": "not asked before",
            "version": "",
            "problems": [],
            "references": [],
        }
    ]
    (target,) = document["targets"]
    assert target["registries"] == {HOST: "added"}
    events = [json.loads(line) for line in result.err.splitlines()]
    assert {"time", "level", "message"} <= set(events[0])
    assert f"ecr:{HOST}: asked, not asked before" in [event["message"] for event in events]
