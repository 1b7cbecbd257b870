"""Two hundred commands and an editor write one file at the same time, and nothing is lost."""

from __future__ import annotations

import ctypes
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.env_file import read_engine_auth
from tests.builders import b64
from tests.lab.faults.forks import Completed, Forks, forks
from tests.lab.faults.ground import Ground

COMMANDS = 200
AT_ONCE = 12


@pytest.fixture(scope="module")
def crowd() -> Iterator[Forks]:
    with forks(AT_ONCE) as found:
        yield found


def exchange(one: Path, other: Path) -> None:
    """Swap two files in one step (renameat2(2), RENAME_EXCHANGE)."""
    library = ctypes.CDLL(None, use_errno=True)
    failed = library.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)
    assert not failed, os.strerror(ctypes.get_errno())


def logins(text: str) -> dict[str, str]:
    view = decode(read_engine_auth(text.encode()))
    return {item.match: item.secret for item in view.credentials}


class Editor(threading.Thread):
    """Adds a line and saves by a rename, again and again, without looking at any lock.

    It does not save if the file has changed since it was read. Like any editor it cannot know of
    a change between that look and its rename; what it took out then is its own doing, and put
    right by the next refresh. It swaps the two files, so that it sees afterwards what that was.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.lines: list[str] = []
        self.taken_out: set[str] = set()
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(0.1):
            text = self.path.read_text()
            line = f"EDITED_{len(self.lines)}=1\n"
            beside = self.path.with_name("editor.swp")
            beside.write_text(line + text)
            beside.chmod(0o600)
            if self.path.read_text() == text:
                exchange(beside, self.path)
                self.lines.append(line)
                self.taken_out |= logins(beside.read_text()).keys() - logins(text).keys()
                beside.unlink()


def login(home: Path, number: int) -> Path:
    path = home / f"{number}.json"
    path.write_text(json.dumps({"auths": {f"r{number}.io": {"auth": b64(f"u:{number}")}}}))
    return path


def test_two_hundred_commands_and_an_editor_lose_nothing(
    ground: Ground, crowd: Forks, tmp_path: Path
) -> None:
    target = tmp_path / "ecs.config"
    target.write_text("ECS_CLUSTER=lab\n# kept\n")
    published = "ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=" + json.dumps(
        {"published.io": {"auth": b64("u:published")}}
    )
    ground.client.put_object(Bucket="fleet", Key="crowd", Body=f"{published}\n".encode())
    to = ("--to", str(target), "--restart=never", "--quiet", "--lock-timeout=60")
    environment = {**ground.variables, "HOME": str(tmp_path)}

    def one(number: int) -> Completed:
        state = ("--state-dir", str(tmp_path / f"state-{number % 5}"))
        command = {
            0: ("pull", "s3://fleet/crowd"),
            1: ("migrate", str(login(tmp_path, number))),
            2: ("refresh", str(login(tmp_path, number))),
            3: ("refresh", "ecr:us-west-2", str(login(tmp_path, number))),
        }[number % 4]
        return crowd.run("ecsauth", *command, *to, *state, environment=environment)

    editor = Editor(target)
    editor.start()
    done = crowd.each(one, range(COMMANDS))
    editor.is_over.set()
    editor.join()
    assert [item for item in done if item.code] == []
    text = target.read_text()
    expected = {f"r{number}.io": str(number) for number in range(COMMANDS) if number % 4}
    found = logins(text)
    lost = {*expected, "published.io"} - found.keys() - editor.taken_out
    assert len(editor.taken_out) < 5  # so that it excuses little
    assert len(editor.lines) > 20
    assert [line for line in editor.lines if line not in text] == []
    assert text.count("EDITED_") == len(editor.lines)
    assert "ECS_CLUSTER=lab\n# kept\n" in text
    assert lost == set()
    assert {name: found[name] for name in expected if name in found} == {
        name: secret for name, secret in expected.items() if name in found
    }
    assert os.stat(target).st_mode & 0o777 == 0o600
    assert not (tmp_path / ".ecs.config.ecsauth-new").exists()
    assert not (tmp_path / "ecs.config.ecsauth-conflict").exists()
