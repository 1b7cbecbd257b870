"""SSM Run Command and ECS on loopback for real boto3, as strict as AWS: limits, pages, errors.

moto has no ListCommandInvocations, DescribeInstanceInformation or CancelCommand, and no pages of
container instances; hence this. What is answered follows the API references.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

ACCOUNT = "123456789012"
_FINAL = frozenset({"Success", "Failed", "ExecutionTimedOut", "Undeliverable", "Cancelled"})


class AwsError(Exception):
    """An error that AWS answers with."""


@dataclass
class World:
    """An account with one cluster, `lab`, and one document.

    Attributes:
        members: instances of the cluster.
        managed: instance → its PingStatus, those that SSM knows.
        tagged: instances with the tag Fleet=web.
        windows: instances that run Windows.
        ends: instance → StatusDetails at its end; by default Success.
        output: instance → what it prints.
        vanish: instances that are gone when they are sent to.
        looks: how often a command must be looked at until it moves.
        send_seconds: how long SendCommand takes.
        denied: actions that are not allowed.
        throttle: so many calls are answered with ThrottlingException.

    """

    members: list[str] = field(default_factory=list)
    managed: dict[str, str] = field(default_factory=dict)
    tagged: list[str] = field(default_factory=list)
    windows: set[str] = field(default_factory=set)
    ends: dict[str, str] = field(default_factory=dict)
    output: dict[str, str] = field(default_factory=dict)
    vanish: set[str] = field(default_factory=set)
    documents: set[str] = field(default_factory=lambda: {"ecsauth-refresh"})
    looks: int = 0
    send_seconds: float = 0.0
    denied: set[str] = field(default_factory=set)
    throttle: int = 0
    url: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    commands: dict[str, dict[str, str]] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)

    def add(self, *names: str) -> None:
        """Add instances that are as they should be."""
        self.members += names
        self.tagged += names
        self.managed.update(dict.fromkeys(names, "Online"))

    @property
    def actions(self) -> set[str]:
        """The actions that were asked for."""
        return {action for action, _ in self.calls}

    def sent(self) -> list[dict[str, Any]]:
        """Return what was asked of SendCommand."""
        return [body for action, body in self.calls if action == "ssm:SendCommand"]

    def answer(self, action: str, text: bytes) -> dict[str, Any]:
        """Answer one call."""
        if action.endswith(":"):  # sts:GetCallerIdentity, for the name in an error
            raise AwsError("InvalidAction")
        body = json.loads(text)
        self.calls.append((action, body))
        if action in self.denied:
            raise AwsError("AccessDeniedException")
        if self.throttle:
            self.throttle -= 1
            raise AwsError("ThrottlingException")
        methods = {
            "ecs:ListContainerInstances": self._list,
            "ecs:DescribeContainerInstances": self._describe,
            "ssm:DescribeInstanceInformation": self._information,
            "ssm:SendCommand": self._send,
            "ssm:ListCommandInvocations": self._invocations,
            "ssm:CancelCommand": self._cancel,
        }
        return methods[action](body)

    def _list(self, body: dict[str, Any]) -> dict[str, Any]:
        self._check_cluster(body)
        prefix = f"arn:aws:ecs:us-west-2:{ACCOUNT}:container-instance/lab/"
        page, more = _page([prefix + name for name in self.members], body.get("nextToken"), 100)
        return {"containerInstanceArns": page, **({"nextToken": more} if more else {})}

    def _describe(self, body: dict[str, Any]) -> dict[str, Any]:
        self._check_cluster(body)
        asked = body["containerInstances"]
        if not 1 <= len(asked) <= 100:
            raise AwsError("InvalidParameterException")
        found = [{"ec2InstanceId": arn.rpartition("/")[2], "status": "ACTIVE"} for arn in asked]
        return {"containerInstances": found, "failures": []}

    def _check_cluster(self, body: dict[str, Any]) -> None:
        if body["cluster"].rpartition("/")[2] != "lab":
            raise AwsError("ClusterNotFoundException")

    def _information(self, body: dict[str, Any]) -> dict[str, Any]:
        if not 5 <= body["MaxResults"] <= 50:
            raise AwsError("ValidationException")
        found = [name for name in self.managed if name not in self._gone()]
        for item in body["Filters"]:
            if not 1 <= len(item["Values"]) <= 100:
                raise AwsError("ValidationException")
            found = [name for name in found if self._fits(name, item)]
        page, more = _page(found, body.get("NextToken"), body["MaxResults"])
        rows = [
            {
                "InstanceId": name,
                "PingStatus": self.managed[name],
                "PlatformType": "Windows" if name in self.windows else "Linux",
            }
            for name in page
        ]
        return {"InstanceInformationList": rows, **({"NextToken": more} if more else {})}

    def _gone(self) -> set[str]:
        return self.vanish if self.sent() else set()

    def _fits(self, name: str, item: dict[str, Any]) -> bool:
        if item["Key"] == "InstanceIds":
            return name in item["Values"]
        return name in self.tagged and item["Key"] == "tag:Fleet" and "web" in item["Values"]

    def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.send_seconds)
        if body["DocumentName"] not in self.documents:
            raise AwsError("InvalidDocument")
        names = body.get("InstanceIds") or []
        if bool(names) == bool(body.get("Targets")) or len(names) > 50:
            raise AwsError("ValidationException")
        if not 30 <= body["TimeoutSeconds"] <= 2_592_000:
            raise AwsError("ValidationException")
        if any(name not in self.managed or name in self.vanish for name in names):
            raise AwsError("InvalidInstanceId")
        if not names:
            names = [
                name
                for name in self.managed
                if all(self._fits(name, item) for item in body["Targets"])
            ]
        command = f"00000000-0000-4000-8000-{len(self.commands):012}"
        self.commands[command] = dict.fromkeys(names, "Pending")
        return {"Command": {"CommandId": command, "Status": "Pending"}}

    def _invocations(self, body: dict[str, Any]) -> dict[str, Any]:
        if not 1 <= body["MaxResults"] <= 50:
            raise AwsError("ValidationException")
        command = body["CommandId"]
        if command not in self.commands:
            raise AwsError("InvalidCommandId")
        if "NextToken" not in body:
            self._move(command)
        rows = self.commands[command]
        page, more = _page(list(rows), body.get("NextToken"), body["MaxResults"])
        found = [self._invocation(command, name, body["Details"]) for name in page]
        return {"CommandInvocations": found, **({"NextToken": more} if more else {})}

    def _invocation(self, command: str, name: str, details: bool) -> dict[str, Any]:
        status = self.commands[command][name]
        coarse = {"ExecutionTimedOut": "TimedOut", "Undeliverable": "Failed"}.get(status, status)
        row: dict[str, Any] = {"CommandId": command, "InstanceId": name, "CommandPlugins": []}
        row.update({"Status": coarse, "StatusDetails": status})
        if details:
            output = self.output.get(name, "there is nothing to do\n")
            row["CommandPlugins"] = [{"Name": "refresh", "Output": output[:2500]}]
        return row

    def _move(self, command: str) -> None:
        self.looked[command] = self.looked.get(command, 0) + 1
        if self.looked[command] <= self.looks:
            return
        rows = self.commands[command]
        for name, status in rows.items():
            if status not in _FINAL and self.managed[name] == "Online":
                rows[name] = self.ends.get(name, "Success")

    def _cancel(self, body: dict[str, Any]) -> dict[str, Any]:
        if len(body.get("InstanceIds") or []) > 50:
            raise AwsError("ValidationException")
        rows = self.commands[body["CommandId"]]
        for name in body.get("InstanceIds") or list(rows):
            if rows[name] not in _FINAL:
                rows[name] = "Cancelled"
        return {}


def _page(names: list[str], token: str | None, size: int) -> tuple[list[str], str]:
    start = int(token or 0)
    end = start + size
    return names[start:end], str(end) if end < len(names) else ""


@contextlib.contextmanager
def fleet_world() -> Iterator[World]:
    """Serve until the end of the ``with`` block."""
    world = World()
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            service, _, action = self.headers.get("X-Amz-Target", "").rpartition(".")
            prefix = "ssm" if service == "AmazonSSM" else "ecs"
            status, answer = 200, {}
            try:
                with lock:
                    answer = world.answer(f"{prefix}:{action}", body)
            except AwsError as error:
                status, answer = 400, {"__type": str(error), "message": "no"}
            data = json.dumps(answer).encode()
            self.send_response_only(status)
            self.send_header("Date", self.date_time_string(time.time()))
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that went away."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    world.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
