"""The user data of samples/ on a host that boots: install, pull, and then the agent starts."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ecsauth.ecs_config import read_engine_auth
from ecsauth.engine_auth import decode
from tests.lab.box import PROJECT, machine
from tests.lab.conftest import Docker
from tests.lab.test_restart import CONFIG, ECS_SERVICE, wheel

__all__ = ["wheel"]

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
Environment=ECSAUTH_PACKAGE=WHEEL
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
            Bucket="BUCKET", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
        )
        break
    except Exception:
        time.sleep(0.2)
text = 'ECS_ENGINE_AUTH_TYPE=dockercfg\\nECS_ENGINE_AUTH_DATA={"q.io":{"auth":"dTpw"}}\\n'
s3.put_object(Bucket="BUCKET", Key="ecs.config", Body=text.encode())
"""


def test_first_start_of_the_agent_has_the_credentials(docker: Docker, wheel: Path) -> None:
    socket = docker.host[len("unix://") :]
    binds = [f"{socket}:/run/docker.sock", f"{sys.prefix}:/opt/packages", str(wheel.parent)]
    with machine(binds) as made:
        with made.booted() as box:
            box.shell("mkdir -p /etc/ecs")
            script = (PROJECT / "samples/user-data.sh").read_text().replace("BUCKET", "bucket")
            box.write("/srv/user-data.sh", script, 0o755)
            box.write("/srv/seed.py", SEED.replace("BUCKET", "bucket"))
            lines = " ".join(f'"{name}={value}"' for name, value in ENVIRONMENT.items())
            box.write(
                "/etc/systemd/system.conf.d/test.conf", f"[Manager]\nDefaultEnvironment={lines}\n"
            )
            units = "/etc/systemd/system"
            box.write(f"{units}/moto.service", MOTO)
            box.write(f"{units}/cloud-final.service", CLOUD_FINAL.replace("WHEEL", str(wheel)))
            box.write(f"{units}/ecs.service", ECS_SERVICE)
            box.shell("systemctl daemon-reload; systemctl enable cloud-final ecs")
        with made.booted() as box:
            end = time.monotonic() + 60
            while box.run("systemctl", "is-active", "ecs", check=False).stdout.strip() != "active":
                assert time.monotonic() < end, box.journal("cloud-final")
                time.sleep(0.2)
            found: dict[str, str] = {}
            while not found and time.monotonic() < end:
                if docker.api("GET", "/containers/ecs-agent/json")[0] == 200:
                    found = docker.environment("ecs-agent")
                time.sleep(0.2)
            journal = box.journal("cloud-final")
            assert found.get("ECS_ENGINE_AUTH_DATA") == '{"q.io":{"auth":"dTpw"}}', journal
            assert found["ECS_CLUSTER"] == "my-cluster"
            text = box.shell(f"cat {CONFIG}")
            assert {item.match for item in decode(read_engine_auth(text.encode())).credentials} == {
                "q.io"
            }
            assert box.shell(f"stat -c %a {CONFIG}").strip() == "600"
            timer = box.run("systemctl", "is-active", "ecsauth-refresh.timer", check=False)
            assert timer.stdout.strip() == "active", journal
            # It was the first start: nothing has restarted the agent.
            command = f"PYTHONPATH={SITE} /opt/ecsauth/bin/ecsauth agent status --json"
            shown = json.loads(box.shell(command))
            assert (shown["pending"], shown["last_restart"]) == (False, None)
    docker.remove("ecs-agent")
