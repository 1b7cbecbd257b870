"""Many writers of one file: no registry and no line is lost, and the file is never torn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.env_file import read, read_engine_auth
from tests.builders import b64

WRITERS = 20


def test_twenty_migrations_at_once_all_count(tmp_path: Path) -> None:
    target = tmp_path / "ecs.config"
    target.write_text("ECS_CLUSTER=x\n# c\n")
    processes = []
    for number in range(WRITERS):
        login = tmp_path / f"{number}.json"
        login.write_text(json.dumps({"auths": {f"r{number}.io": {"auth": b64(f"u{number}:p")}}}))
        command = [sys.executable, "-m", "ecsauth", "migrate", str(login), "--to", str(target)]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    while any(process.poll() is None for process in processes):
        settings = read_engine_auth(target.read_bytes())
        assert not settings.is_set or not decode(settings).fault
    assert [process.wait() for process in processes] == [0] * WRITERS
    logins = {
        item.match: item.username
        for item in decode(read_engine_auth(target.read_bytes())).credentials
    }
    assert logins == {f"r{number}.io": f"u{number}" for number in range(WRITERS)}
    assert read(target.read_bytes())["ECS_CLUSTER"] == "x"
    assert "# c\n" in target.read_text()
    assert not list(tmp_path.glob("*-new")) + list(tmp_path.glob(".*-new"))
