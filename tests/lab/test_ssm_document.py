"""The SSM document of samples/: its script is run, with stubs and with systemd; its template."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecsauth.fleet.values import last_line
from ecsauth.installation.units import Installation, unit_texts
from tests.conftest import missing
from tests.lab.box import PROJECT, Box, booted_box

SAMPLES = PROJECT / "samples"
PROGRAM = "/opt/ecsauth/bin/ecsauth"
UNIT = "ecsauth-refresh.service"
SECRET = "c4n4ry-0f-the-m1ne"


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SAMPLES / "ssm-refresh.json").read_text())
    return found


def script() -> str:
    """The script as the SSM agent puts it together."""
    (step,) = document()["mainSteps"]
    return "\n".join(step["inputs"]["runCommand"]) + "\n"


class Host:
    """A host whose systemctl, journalctl and ecsauth are stubs that note their calls."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "bin"
        self.bin.mkdir()
        for name in ("cut", "tail", "date", "sed"):
            (self.bin / name).symlink_to(str(shutil.which(name)))

    def stub(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.home}/calls\n{body}\n')
        path.chmod(0o755)

    def unit(self, code: int = 0, said: str = "", has_unit: bool = True) -> None:
        """Be a host with systemd; the unit ends with a code."""
        self.stub(
            "systemctl",
            f"""case "$*" in
            "cat {UNIT}") /bin/cat {self.home}/unit ;;
            "start {UNIT}") echo "Job for {UNIT} failed" >&2; exit {1 if code else 0} ;;
            "show --property=ExecMainStatus {UNIT}") echo ExecMainStatus={code} ;;
            *) exit 99 ;;
            esac""",
        )
        (self.home / "journal").write_text(said)
        if has_unit:
            settings = self.home / "settings"
            settings.touch()
            text = unit_texts(Installation([PROGRAM]))[UNIT]
            (self.home / "unit").write_text(text.replace("/etc/ecsauth/ecsauth.env", str(settings)))
        self.stub("journalctl", f"[ $1 = --sync ] || /bin/cat {self.home}/journal")

    def run(self) -> subprocess.CompletedProcess[str]:
        text = script().replace(PROGRAM, f"{self.bin}/ecsauth")
        return subprocess.run(
            ["/bin/sh", "-c", text],
            env={"PATH": str(self.bin)},
            capture_output=True,
            text=True,
            timeout=30,
        )

    @property
    def calls(self) -> list[str]:
        return (self.home / "calls").read_text().splitlines()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_unit_is_started_and_its_words_are_shown(host: Host) -> None:
    host.unit(said="ecsauth: note: one\necsauth: note: 2 updated\n")
    host.stub("ecsauth", "exit 1")
    done = host.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ecsauth: note: one\necsauth: note: 2 updated\n"
    assert f"systemctl start {UNIT}" in host.calls
    journal = next(call for call in host.calls if "_SYSTEMD_UNIT" in call)
    assert re.fullmatch(
        rf"journalctl _SYSTEMD_UNIT={UNIT} --since=@\d+ --lines=20 --no-pager --quiet --output=cat",
        journal,
    )
    assert not any(call.startswith("ecsauth") for call in host.calls)


@pytest.mark.parametrize("code", [3, 5, 6])
def test_exit_code_of_the_unit_is_that_of_the_command(host: Host, code: int) -> None:
    host.unit(code, said="ecsauth: error: it was not done\n")
    done = host.run()
    assert done.returncode == code
    assert done.stdout.splitlines() == [
        "ecsauth: error: it was not done",
        f"{UNIT}: ecsauth refresh ended with {code}",
    ]


def test_unit_that_cannot_be_started_at_all_is_a_failure(host: Host) -> None:
    host.unit(1)
    text = (host.bin / "systemctl").read_text().replace("ExecMainStatus=1", "ExecMainStatus=0")
    (host.bin / "systemctl").write_text(text)
    assert host.run().returncode == 1


def test_unit_whose_condition_is_not_met_is_a_failure(host: Host) -> None:
    host.unit()
    (host.home / "settings").unlink()
    done = host.run()
    assert done.returncode == 2
    assert done.stdout == f"{UNIT} cannot run: there is no {host.home}/settings\n"
    assert f"systemctl start {UNIT}" not in host.calls


@pytest.mark.parametrize("has_systemd", [True, False])
@pytest.mark.parametrize("code", [0, 3])
def test_without_the_unit_the_program_is_run(host: Host, code: int, has_systemd: bool) -> None:
    if has_systemd:
        host.unit(has_unit=False)
    host.stub("ecsauth", f"echo out; echo err >&2; exit {code}")
    done = host.run()
    assert (done.returncode, done.stdout) == (code, "out\nerr\n")
    assert "ecsauth refresh" in host.calls
    assert f"systemctl start {UNIT}" not in host.calls


def test_host_without_ecsauth_says_so(host: Host) -> None:
    done = host.run()
    assert done.returncode == 127
    assert done.stdout.startswith(f"there is no ecsauth: neither {UNIT} nor ")


@pytest.mark.parametrize("with_unit", [True, False])
def test_last_line_is_in_the_2500_characters_that_ssm_keeps(host: Host, with_unit: bool) -> None:
    text = "x" * 5000 + "\nthe last line\n"
    if with_unit:
        host.unit(said=text)
    else:
        (host.home / "text").write_text(text)
        host.stub("ecsauth", f"/bin/cat {host.home}/text")
    done = host.run()
    assert done.returncode == 0
    assert 1000 < len(done.stdout) <= 2400
    assert last_line(done.stdout[:2500]) == "the last line"


@pytest.mark.parametrize("is_writable", [True, False])
def test_nothing_secret_is_printed_with_the_real_program(host: Host, is_writable: bool) -> None:
    login, target = host.home / "config.json", host.home / "ecs.config"
    auth = base64.b64encode(f"u:{SECRET}".encode()).decode()
    login.write_text(json.dumps({"auths": {"q.io": {"auth": auth}}}))
    if not is_writable:
        target.mkdir()
    arguments = f"{login} --to {target} --state-dir {host.home}/state --env-file="
    host.stub(
        "ecsauth",
        f'export PYTHONPATH={PROJECT}; exec {sys.executable} -m ecsauth "$@" -v {arguments}',
    )
    done = host.run()
    assert done.returncode == (0 if is_writable else 4)
    assert last_line(done.stdout)
    for form in (SECRET, auth):
        assert form not in done.stdout
        assert not is_writable or auth in target.read_text()


def test_document_takes_nothing_from_who_sends_it() -> None:
    found = document()
    assert found["schemaVersion"] == "2.2"
    assert "parameters" not in found
    assert "{{" not in script()
    (step,) = found["mainSteps"]
    assert step["action"] == "aws:runShellScript"
    # The unit itself may take 20 minutes.
    assert int(step["inputs"]["timeoutSeconds"]) > 20 * 60


# With systemd as it is.

STUB = """\
#!/bin/sh
[ ! -e /etc/ecsauth/slow ] || { echo "slow began"; sleep 4; }
echo "ecsauth: note: run as $(id -un) with $*"
. /etc/ecsauth/ecsauth.env
exit $CODE
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with booted_box() as made:
        made.write(PROGRAM, STUB, 0o755)
        made.write(f"/etc/systemd/system/{UNIT}", unit_texts(Installation([PROGRAM]))[UNIT])
        made.write("/srv/_script.sh", script(), 0o755)
        made.shell("mkdir -p /etc/ecs; systemctl daemon-reload")
        yield made


def in_box(box: Box, settings: str | None) -> subprocess.CompletedProcess[str]:
    box.shell("rm -rf /etc/ecsauth; mkdir -p /etc/ecsauth")
    if settings is not None:
        box.write("/etc/ecsauth/ecsauth.env", settings)
    return box.run("sh", "/srv/_script.sh", check=False)


@pytest.mark.parametrize(
    ("code", "last"), [(0, "ecsauth: note: run as root with refresh"), (5, "")]
)
def test_systemd_runs_the_hardened_unit(box: Box, code: int, last: str) -> None:
    done = in_box(box, f"CODE={code}\n")
    assert done.returncode == code, done.stdout
    assert "ecsauth: note: run as root with refresh" in done.stdout.splitlines()
    assert last_line(done.stdout) == (last or f"{UNIT}: ecsauth refresh ended with {code}")
    assert "Finished" not in done.stdout  # what systemd itself says of it


def test_systemd_without_settings_is_a_failure(box: Box) -> None:
    done = in_box(box, None)
    assert done.returncode == 2
    assert last_line(done.stdout) == f"{UNIT} cannot run: there is no /etc/ecsauth/ecsauth.env"


def test_unit_that_is_at_work_is_waited_for_and_not_run_twice(box: Box) -> None:
    box.shell("rm -rf /etc/ecsauth; mkdir -p /etc/ecsauth; touch /etc/ecsauth/slow")
    box.write("/etc/ecsauth/ecsauth.env", "CODE=3\n")
    began = box.journal(UNIT).count("slow began")
    box.shell(f"systemctl start --no-block {UNIT}; sleep 1")
    done = box.run("sh", "/srv/_script.sh", check=False)
    assert done.returncode == 3
    assert "run as root" in done.stdout
    assert box.journal(UNIT).count("slow began") == began + 1


# The template.


_Loader = type("_Loader", (yaml.SafeLoader,), {})
"""Reads CloudFormation's short forms as their text."""

yaml.add_multi_constructor(
    "!", lambda loader, suffix, node: {f"!{suffix}": node.value}, Loader=_Loader
)


def template() -> dict[str, Any]:
    text = (SAMPLES / "ssm-association.yaml").read_text()
    found: dict[str, Any] = yaml.load(text, Loader=_Loader)
    return found


def test_document_in_the_template_is_that_of_the_sample() -> None:
    assert template()["Resources"]["RefreshDocument"]["Properties"]["Content"] == document()


def test_association_goes_by_tag_with_limits() -> None:
    found = template()
    association = found["Resources"]["RefreshAssociation"]["Properties"]
    assert association["Name"] == {"!Ref": "RefreshDocument"}
    assert association["Targets"][0]["Key"] == {"!Sub": "tag:${TagKey}"}
    for name in ("MaxConcurrency", "MaxErrors"):
        assert association[name] == {"!Ref": name}
        assert re.fullmatch(found["Parameters"][name]["AllowedPattern"], "10%")
    assert found["Parameters"]["Schedule"]["Default"] == "rate(30 minutes)"


def lint(path: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    here = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = shutil.which("cfn-lint", path=here)
    if program is None:
        missing("needs cfn-lint (extra: lab)")
    assert program
    return subprocess.run(
        [program, path], capture_output=True, text=True, env=environment, timeout=120
    )


def test_cfn_lint_has_nothing_to_say_of_the_template(tmp_path: Path) -> None:
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}
    path = SAMPLES / "ssm-association.yaml"
    done = lint(path, environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    bad = tmp_path / "bad.yaml"
    bad.write_text(path.read_text().replace("DocumentType: Command", "DocumentType: Commando"))
    done = lint(bad, environment)
    assert done.returncode != 0
    assert "Commando" in done.stdout
