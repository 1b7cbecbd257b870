"""A host that loses its power in the middle of a write, and boots again."""

from __future__ import annotations

import sys
import time

from tests.lab.box import machine

CONFIG = "/etc/ecs/ecs.config"
SLOW = """\
import os, sys, time
from pathlib import Path

before = os.fsync
def fsync(descriptor):
    Path("/srv/in-the-middle").touch()
    time.sleep(600)
os.fsync = fsync
from ecsauth.cli.program import run
sys.exit(run(sys.argv[1:]))
"""
UNIT = """\
[Unit]
Before=ecs.service
[Service]
Type=oneshot
Environment=ECSAUTH_SOURCES=/root/login.json
ExecStart=/opt/packages/bin/python -m ecsauth refresh --env-file=
[Install]
WantedBy=multi-user.target
"""
AGENT = f"""\
[Service]
Type=oneshot
ExecStart=/bin/cp {CONFIG} /srv/what-the-agent-read
[Install]
WantedBy=multi-user.target
"""


def test_file_is_whole_after_a_loss_of_power_and_the_next_start_finishes_the_write() -> None:
    with machine([f"{sys.prefix}:/opt/packages"]) as made:
        with made.booted() as box:
            box.write(CONFIG, "ECS_CLUSTER=lab\n", 0o600)
            box.write("/root/login.json", '{"auths":{"q.io":{"auth":"dTpw"}}}', 0o600)
            box.write("/srv/slow.py", SLOW)
            box.write("/etc/systemd/system/ecsauth-refresh.service", UNIT)
            box.write("/etc/systemd/system/ecs.service", AGENT)
            box.shell("systemctl daemon-reload; systemctl enable ecsauth-refresh ecs")
            box.shell(
                "/opt/packages/bin/python /srv/slow.py migrate /root/login.json --quiet"
                " >/dev/null 2>&1 &"
            )
            end = time.monotonic() + 30
            while box.run("test", "-e", "/srv/in-the-middle", check=False).returncode:
                assert time.monotonic() < end
                time.sleep(0.05)
            names = box.shell("ls -A /etc/ecs").split()
            assert ".ecs.config.ecsauth-new" in names  # written, and not yet in its place
            box.cut_off()
        root = made.home / "root"
        assert (root / CONFIG[1:]).read_text() == "ECS_CLUSTER=lab\n"
        with made.booted() as box:
            box.run("systemctl", "start", "ecs")
            seen = box.shell("cat /srv/what-the-agent-read")
            assert seen.startswith("ECS_CLUSTER=lab\nECS_ENGINE_AUTH_TYPE=dockercfg\n")
            assert '{"q.io":{"auth":"dTpw"}}' in seen
            names = box.shell("ls -A /etc/ecs").split()
            assert ".ecs.config.ecsauth-new" not in names
            assert box.shell(f"stat -c %a {CONFIG}").strip() == "600"
