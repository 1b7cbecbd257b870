"""What ecs-init and the agent do, as far as ecsauth can see it: ``python -m tests.lab.ecs_init``.

Removes and re-creates the container ``ecs-agent`` from /etc/ecs/ecs.config, then answers as the
agent's introspection does. An ARN is kept in the agent's data directory, if it has one. An agent
whose credentials are for ``poison.example.com`` ends at once. /srv/tasks has the number of tasks.
"""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

CONFIG = Path("/etc/ecs/ecs.config")
DATA = Path("/var/lib/ecs/data/arn")
TASKS = Path("/srv/tasks")
POISON = "poison.example.com"
IMAGE = "lab/busybox"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    if done.returncode and arguments[0] != "rm":
        print(done.stderr, file=sys.stderr, flush=True)
        sys.exit(1)
    return done.stdout


def create() -> dict[str, str]:
    """Create the container and return its environment."""
    docker("rm", "-f", "ecs-agent")
    text = CONFIG.read_text()
    default = [] if "ECS_DATADIR=" in text else ["-e", "ECS_DATADIR=/data"]
    docker(
        *("run", "-d", "--name=ecs-agent", "--network=none", f"--env-file={CONFIG}", *default),
        *("-e", "ECS_AGENT_LABELS=", "-v", "lab-agent-data:/data", IMAGE, "sleep", "100000"),
    )
    (found,) = json.loads(docker("inspect", "ecs-agent"))
    return dict(line.partition("=")[::2] for line in found["Config"]["Env"])


def arn(environment: dict[str, str]) -> str:
    """Return the ARN that the agent knows, or that of a new registration."""
    prefix = "arn:aws:ecs:us-west-2:123456789012:container-instance/lab/"
    if not environment.get("ECS_DATADIR"):
        return prefix + uuid.uuid4().hex
    if not DATA.exists():
        DATA.parent.mkdir(parents=True, exist_ok=True)
        DATA.write_text(prefix + uuid.uuid4().hex)
    return DATA.read_text()


def main() -> None:
    environment = create()
    if POISON in environment.get("ECS_ENGINE_AUTH_DATA", ""):
        docker("rm", "-f", "ecs-agent")
        sys.exit(1)
    metadata = {
        "Cluster": "lab",
        "ContainerInstanceArn": arn(environment),
        "Version": "Amazon ECS Agent - v1.105.1",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            count = int(TASKS.read_text()) if TASKS.exists() else 0
            tasks = [{"Arn": str(number), "KnownStatus": "RUNNING"} for number in range(count)]
            answer = metadata if self.path == "/v1/metadata" else {"Tasks": tasks or None}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 51678), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    docker("rm", "-f", "ecs-agent")


if __name__ == "__main__":
    main()
