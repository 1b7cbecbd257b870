"""The units' text for an installation, and what install and uninstall do with systemctl."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ecsauth.app.requests import DEFAULT_STATE_DIR
from ecsauth.errors import TargetError, UsageError
from ecsauth.host.programs import Completed
from ecsauth.host.settings_file import DEFAULT_ENV_FILE
from ecsauth.installation.units import UNITS, Installation, install, render, uninstall, unit_texts
from tests.builders import ROOT
from tests.conftest import need

REFRESH = (ROOT / "systemd" / "ecsauth-refresh.service").read_text()
USUAL = Installation(["/opt/ecsauth/bin/ecsauth"])


@dataclass
class Systemctl:
    """Knows which units are enabled and up."""

    enabled: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    failing: str = ""

    def __call__(self, command: Sequence[str]) -> Completed:
        verb, *names = [item for item in command[1:] if item != "--now"]
        if verb in ("is-enabled", "is-active"):
            known = self.enabled if verb == "is-enabled" else self.active
            on = "enabled" if verb == "is-enabled" else "active"
            return Completed(0, on) if names[0] in known else Completed(1, "no")
        self.commands.append(" ".join(command))
        if verb == self.failing:
            return Completed(1, "Access denied")
        if verb == "enable":
            self.enabled.update(names)
            self.active.update(names if "--now" in command else ())
        if verb == "disable":
            self.enabled.difference_update(names)
            self.active.difference_update(names)
        return Completed(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for units."""
    path = tmp_path / "units"
    path.mkdir()
    return path


def test_usual_installation_fills_every_placeholder() -> None:
    texts = unit_texts(USUAL)
    assert set(texts) == set(UNITS)
    assert not [
        name
        for name, text in texts.items()
        if "@" in text.replace("SystemCallFilter=~@", "").replace(" @", "")
    ]
    text = texts["ecsauth-refresh.service"]
    assert "\nExecStart=/opt/ecsauth/bin/ecsauth refresh\n" in text
    assert f"\nConditionPathExists={DEFAULT_ENV_FILE}\n" in text
    assert f"\nEnvironmentFile=-{DEFAULT_ENV_FILE}\n" in text
    assert "\nReadWritePaths=-/etc/ecs\n" in text
    assert {path.name for path in (ROOT / "systemd").iterdir()} == set(UNITS)


def test_paths_of_another_installation_are_put_in() -> None:
    installation = Installation(
        ["/srv/py/bin/python", "-m", "ecsauth"],
        settings="/etc/other.env",
        writable=["/etc/ecs", "/srv/agent"],
        state="/srv/state",
    )
    text = render(REFRESH, installation)
    assert "\nExecStart=/srv/py/bin/python -m ecsauth refresh --env-file /etc/other.env\n" in text
    assert "\nConditionPathExists=/etc/other.env\n" in text
    assert "\nEnvironmentFile=-/etc/other.env\n" in text
    assert "\nReadWritePaths=-/etc/ecs -/srv/agent -/srv/state\n" in text
    assert "/opt/ecsauth" not in text
    run = unit_texts(installation)["ecsauth-run.service"]
    assert "\nExecStart=/srv/py/bin/python -m ecsauth run --env-file /etc/other.env\n" in run


def test_usual_paths_are_those_of_the_program() -> None:
    assert USUAL.settings == DEFAULT_ENV_FILE
    assert USUAL.state == str(DEFAULT_STATE_DIR)


@pytest.mark.parametrize(
    "path", ["/a b/x", "/a%n", "/a$HOME", "/a\nExecStart=/evil", '/a"', "/a;b"]
)
def test_path_that_could_mean_something_else_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="cannot be written in a systemd unit"):
        render(REFRESH, Installation([path]))
    with pytest.raises(UsageError, match="cannot be written in a systemd unit"):
        render(REFRESH, Installation(["/x"], writable=[path]))
    with pytest.raises(UsageError, match="cannot be written in a systemd unit"):
        render(REFRESH, Installation(["/x"], settings=path))


def test_install_is_idempotent(folder: Path) -> None:
    systemctl = Systemctl()
    first = install(USUAL, systemctl, directory=folder)
    assert {path.name for path in folder.glob("ecsauth*")} == set(UNITS)
    assert all((folder / name).stat().st_mode & 0o777 == 0o644 for name in UNITS)
    assert (
        systemctl.commands
        == first.commands
        == [
            "systemctl daemon-reload",
            "systemctl enable ecsauth-refresh.service",
            "systemctl enable --now ecsauth-refresh.timer",
        ]
    )
    again = install(USUAL, systemctl, directory=folder)
    assert again.lines == []
    assert len(systemctl.commands) == 3


def test_changed_path_is_written_again(folder: Path) -> None:
    systemctl = Systemctl()
    install(USUAL, systemctl, directory=folder)
    other = Installation(["/srv/bin/ecsauth"])
    done = install(other, systemctl, directory=folder)
    assert {Path(item).name for item in done.written} == set(UNITS) - {"ecsauth-refresh.timer"}
    assert done.commands == ["systemctl daemon-reload"]
    assert "/srv/bin" in (folder / "ecsauth-run.service").read_text()


def test_dry_run_changes_nothing(folder: Path) -> None:
    systemctl = Systemctl()
    done = install(USUAL, systemctl, directory=folder, dry_run=True)
    assert list(folder.iterdir()) == []
    assert systemctl.commands == []
    assert len(done.lines) == 6
    install(USUAL, systemctl, directory=folder)
    before = list(systemctl.commands)
    assert len(uninstall(systemctl, directory=folder, dry_run=True).removed) == 3
    assert systemctl.commands == before
    assert {path.name for path in folder.glob("ecsauth*")} == set(UNITS)


def test_uninstall_leaves_what_is_not_ours(folder: Path) -> None:
    systemctl = Systemctl()
    install(USUAL, systemctl, directory=folder)
    drop_in = folder / "ecsauth-refresh.timer.d" / "mine.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("x")
    (folder / "ecsauth-run.service").write_text("[Service]\n")
    done = uninstall(systemctl, directory=folder)
    left = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert left == {"ecsauth-run.service", "ecsauth-refresh.timer.d"}
    assert drop_in.exists()
    assert systemctl.enabled == set()
    assert any("ecsauth-run.service was not installed by ecsauth" in note for note in done.notes)
    assert any("ecsauth-refresh.timer.d holds your own changes" in note for note in done.notes)
    assert uninstall(systemctl, directory=folder).lines == []


def test_foreign_unit_of_the_same_name_is_kept_beside(folder: Path) -> None:
    (folder / "ecsauth-run.service").write_text("[Service]\n# mine\n")
    done = install(USUAL, Systemctl(), directory=folder)
    kept = folder / "ecsauth-run.service.ecsauth-previous"
    assert "mine" in kept.read_text()
    assert len(done.notes) == 1


def test_timer_is_not_enabled_beside_the_run_service(folder: Path) -> None:
    systemctl = Systemctl(enabled={"ecsauth-run.service"})
    done = install(USUAL, systemctl, directory=folder)
    assert done.commands == ["systemctl daemon-reload"]
    assert "the timer is not needed" in done.notes[0]


@pytest.mark.parametrize("failing", ["daemon-reload", "enable"])
def test_systemctl_that_fails_is_an_error(folder: Path, failing: str) -> None:
    with pytest.raises(TargetError, match=rf"{failing}.*Access denied"):
        install(USUAL, Systemctl(failing=failing), directory=folder)
    with pytest.raises(TargetError, match="Access denied"):
        uninstall(Systemctl(failing="disable"), directory=folder)


def test_units_are_sound_and_hardened(folder: Path) -> None:
    need("systemd-analyze")
    program = folder / "ecsauth"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name, text in unit_texts(Installation([str(program)])).items():
        (folder / name).write_text(text)
    paths = [str(folder / name) for name in UNITS]
    verify = ["systemd-analyze", "verify", "--recursive-errors=yes", "--man=no", *paths]
    done = subprocess.run(verify, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    security = ["systemd-analyze", "security", "--offline=true", "--threshold=30"]
    for path in (item for item in paths if item.endswith(".service")):
        done = subprocess.run([*security, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        loose = Path(path)
        loose.write_text(loose.read_text().replace("CapabilityBoundingSet", "#"))
        assert subprocess.run([*security, path], capture_output=True).returncode != 0
