"""What instances start with (user data, cloud-config, a baked image), on a host that boots."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecsauth.engine_auth.codec import decode
from ecsauth.engine_auth.env_file import read_engine_auth
from tests.conftest import missing, need, need_root
from tests.lab.box import PROJECT, Box, machine
from tests.lab.conftest import Docker
from tests.lab.test_restart import CONFIG, ECS_SERVICE, wheel

__all__ = ["wheel"]

SAMPLES = PROJECT / "samples"
UNITS = "/etc/systemd/system"
SITE = f"/opt/packages/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
ENVIRONMENT = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:4777",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "s",
    "AWS_REGION": "us-west-2",
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_EC2_METADATA_DISABLED": "true",
    "PYTHONPATH": SITE,
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PATH": "/opt/packages/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
MOTO = """\
[Service]
ExecStart=/opt/packages/bin/python -m moto.server -p 4777
"""
CLOUD_FINAL = """\
[Unit]
Requires=moto.service
After=moto.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre=/opt/packages/bin/python /srv/seed.py
ExecStart=/srv/user-data.sh
[Install]
WantedBy=multi-user.target
"""
SEED = """\
import time
import boto3
for _ in range(100):
    try:
        s3 = boto3.client("s3")
        s3.create_bucket(
            Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
        )
        break
    except Exception:
        time.sleep(0.2)
text = 'ECS_ENGINE_AUTH_TYPE=dockercfg\\nECS_ENGINE_AUTH_DATA={"q.io":{"auth":"dTpw"}}\\n'
s3.put_object(Bucket="bucket", Key="ecs.config", Body=text.encode())
"""
SETTINGS_ONLY = """\
#!/bin/sh
echo ECS_CLUSTER=my-cluster >>/etc/ecs/ecs.config
echo ECSAUTH_SOURCES=s3://bucket/ecs.config >/etc/ecsauth/ecsauth.env
"""

# cloud-init as Debian has it, in the machine only: where its data are, and no more modules than our
# file uses, for the others would set up users, disks and packages.
CLOUD_UNITS = "cloud-init-local cloud-init cloud-config cloud-final"
CLOUD_CONFIG = """\
datasource_list: [NoCloud]
network: {config: disabled}
users: []
cloud_init_modules: [write-files]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
"""
CLOUD_INIT_UNIT = "[Service]\nUnsetEnvironment=PYTHONPATH\n"
CLOUD_FINAL_MORE = f"""\
[Unit]
Requires=moto.service
After=moto.service
{CLOUD_INIT_UNIT}ExecStartPre=/opt/packages/bin/python /srv/seed.py
"""


def prepare(box: Box) -> None:
    """Put in place what is AWS's: its API, the agent's service."""
    box.shell("mkdir -p /etc/ecs")
    box.write("/srv/seed.py", SEED)
    lines = " ".join(f'"{name}={value}"' for name, value in ENVIRONMENT.items())
    box.write("/etc/systemd/system.conf.d/test.conf", f"[Manager]\nDefaultEnvironment={lines}\n")
    box.write(f"{UNITS}/moto.service", MOTO)
    box.write(f"{UNITS}/ecs.service", ECS_SERVICE)
    box.shell("systemctl daemon-reload; systemctl enable ecs")


def set_user_data(box: Box, script: str) -> None:
    """Let a script be run as cloud-init runs user data."""
    box.write("/srv/user-data.sh", script, 0o755)
    box.write(f"{UNITS}/cloud-final.service", CLOUD_FINAL)
    box.shell("systemctl daemon-reload; systemctl enable cloud-final")


def check_first_start(box: Box, docker: Docker) -> None:
    """Wait for the agent: its first start must have the credentials, the timer be at work."""
    end = time.monotonic() + 60
    while box.run("systemctl", "is-active", "ecs", check=False).stdout.strip() != "active":
        assert time.monotonic() < end, box.journal("cloud-final")
        time.sleep(0.2)
    found: dict[str, str] = {}
    while not found and time.monotonic() < end:
        if docker.api("GET", "/containers/ecs-agent/json")[0] == 200:
            found = docker.environment("ecs-agent")
        time.sleep(0.2)
    journal = box.journal("cloud-final") + box.journal("ecsauth-refresh")
    assert found.get("ECS_ENGINE_AUTH_DATA") == '{"q.io":{"auth":"dTpw"}}', journal
    assert found["ECS_CLUSTER"] == "my-cluster"
    settings = read_engine_auth(box.shell(f"cat {CONFIG}").encode())
    assert {item.match for item in decode(settings).credentials} == {"q.io"}
    assert box.shell(f"stat -c %a {CONFIG}").strip() == "600"
    timer = box.run("systemctl", "is-active", "ecsauth-refresh.timer", check=False)
    assert timer.stdout.strip() == "active", journal
    # It was the first start: nothing has restarted the agent.
    command = f"PYTHONPATH={SITE} /opt/ecsauth/bin/ecsauth agent status --json"
    shown = json.loads(box.shell(command))
    assert (shown["pending"], shown["last_restart"]) == (False, None)
    assert "dTpw" not in journal


@pytest.fixture
def binds(docker: Docker, wheel: Path) -> Iterator[list[str]]:
    """What a machine sees of this one."""
    socket = docker.host[len("unix://") :]
    yield [f"{socket}:/run/docker.sock", f"{sys.prefix}:/opt/packages", str(wheel.parent)]
    docker.remove("ecs-agent")


def test_first_start_of_the_agent_has_the_credentials(
    docker: Docker, wheel: Path, binds: list[str]
) -> None:
    script = (SAMPLES / "user-data.sh").read_text().replace("BUCKET", "bucket")
    script = re.sub(r"(?m)^package=.*$", f"package={wheel}", script)
    with machine(binds) as made:
        with made.booted() as box:
            prepare(box)
            set_user_data(box, script)
        with made.booted() as box:
            check_first_start(box, docker)


def files(box: Box) -> set[str]:
    """Return what differs from the machine as it was, its logs and the program apart."""
    upper = box.root.parent / "upper"
    changed = [path for path in upper.rglob("*") if path.is_file() or path.is_symlink()]
    found = {f"/{path.relative_to(upper)}" for path in changed}
    return {path for path in found if not path.startswith(("/var/log/", "/opt/ecsauth/"))}


def test_baked_image_has_no_more_than_the_program_and_serves_the_first_start(
    docker: Docker, wheel: Path, binds: list[str]
) -> None:
    bake = f"{PROJECT}/samples/bake-ami.sh {wheel}"
    environment = " ".join(f"{name}='{value}'" for name, value in ENVIRONMENT.items())
    with machine(binds) as made:
        with made.booted() as box:
            prepare(box)
            box.write("/etc/ecs/ecs.config", "ECS_ENGINE_AUTH_TYPE=dockercfg\n")
            refused = box.run("sh", "-c", f"{environment} {bake}", check=False)
            assert "they would be in the image" in refused.stderr
            box.shell("rm /etc/ecs/ecs.config")
            box.write("/etc/ecsauth/ecsauth.env", "ECSAUTH_SOURCES=ecr:\n")
            refused = box.run("sh", "-c", f"{environment} {bake}", check=False)
            assert (refused.returncode, "the timer would fetch" in refused.stderr) == (1, True)
            box.shell("rm -r /etc/ecsauth; test ! -e /opt/ecsauth")
            box.write("/var/lib/ecs/data/agent.db", "of the build instance")
            before = files(box)
            box.shell(f"{environment} {bake}")
            names = ("ecsauth-refresh.service", "ecsauth-refresh.timer", "ecsauth-run.service")
            locks = {f"{UNITS}/.{name}.ecsauth-lock" for name in names}
            assert files(box) - before - locks == {
                *(f"{UNITS}/{name}" for name in names),
                f"{UNITS}/ecs.service.wants/ecsauth-refresh.service",
                f"{UNITS}/timers.target.wants/ecsauth-refresh.timer",
            }
            assert box.shell("ls -A /etc/ecs /var/lib/ecs/data").split() == [
                *("/etc/ecs:", "/var/lib/ecs/data:")
            ]
            assert box.run("test", "-e", "/var/lib/ecsauth", check=False).returncode == 1
            set_user_data(box, SETTINGS_ONLY)
        with made.booted() as box:
            check_first_start(box, docker)


@pytest.fixture(scope="module")
def cloud_init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's packages of cloud-init and of what it needs; nothing is installed here."""
    need_root()
    need("apt-get", "dpkg")
    directory = tmp_path_factory.mktemp("packages")
    if shutil.which("cloud-init"):  # then the machine has it as well
        return directory
    command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "--download-only"]
    options = [f"-o=Dir::Cache::archives={directory}", "-o=APT::Sandbox::User=root"]
    done = subprocess.run(
        [*command, *options, "cloud-init"],
        capture_output=True,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode or not list(directory.glob("cloud-init_*.deb")):
        missing(f"needs Debian's package cloud-init (apt-get update): {done.stderr.strip()[-200:]}")
    return directory


def test_cloud_config_is_valid_and_serves_the_first_start(
    docker: Docker, wheel: Path, binds: list[str], cloud_init: Path
) -> None:
    text = (SAMPLES / "user-data.yaml").read_text().replace("BUCKET", "bucket")
    text = re.sub(r"-version-check, .*\]", f"-version-check, {wheel}]", text)
    text = text.replace("runcmd:\n", f"runcmd:\n  - export PYTHONPATH={SITE}\n")
    assert (str(wheel) in text, SITE in text) == (True, True)
    with machine([*binds, str(cloud_init)]) as made:
        with made.booted() as box:
            prepare(box)
            box.shell(  # without their scripts, which take half a minute
                f"set -e; for file in {cloud_init}/python3-*.deb {cloud_init}/cloud-init_*.deb; do"
                ' [ -e "$file" ] || continue;'
                ' dpkg-deb --fsys-tarfile "$file" | tar -x -C / --keep-directory-symlink; done'
            )
            check = f"cloud-init schema --config-file {SAMPLES}/user-data.yaml"
            assert "Valid cloud-config" in box.shell(check)
            box.write("/srv/wrong.yaml", text.replace("  - path:", "  - pfad:"))
            wrong = box.run("cloud-init", "schema", "--config-file", "/srv/wrong.yaml", check=False)
            assert wrong.returncode
            box.write("/etc/cloud/cloud.cfg.d/99_lab.cfg", CLOUD_CONFIG)
            box.write("/var/lib/cloud/seed/nocloud/meta-data", "instance-id: i-1\n")
            box.write("/var/lib/cloud/seed/nocloud/user-data", text)
            for unit in CLOUD_UNITS.split()[:-1]:
                box.write(f"{UNITS}/{unit}.service.d/lab.conf", CLOUD_INIT_UNIT)
            box.write(f"{UNITS}/cloud-final.service.d/lab.conf", CLOUD_FINAL_MORE)
            # On Debian, not on Amazon Linux, it waits for multi-user.target, which has ecs.service.
            away = "/^After=multi-user.target/d"
            unit = "cloud-final.service"
            box.shell(f"sed {away} /lib/systemd/system/{unit} > {UNITS}/{unit}")
            box.shell(f"systemctl daemon-reload; systemctl enable {CLOUD_UNITS}")
        with made.booted() as box:
            check_first_start(box, docker)
            box.shell("test -s /var/lib/cloud/instance/scripts/runcmd")
