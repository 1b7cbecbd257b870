"""The agent's introspection API: http://localhost:51678, without authentication.

Source: aws/amazon-ecs-agent ``ecs-agent/introspection``. ContainerInstanceArn is null until the
agent has registered; Tasks may be null; stopped tasks stay listed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecsauth.agent.constants import DEFAULT_URL
from ecsauth.credentials.json_text import JSONTextError, loads
from ecsauth.errors import EcsauthError

_TIMEOUT_SECONDS = 2.0
_TOTAL_SECONDS = 5.0
"""For one answer, however slowly it drips."""

_MAX_BODY = 4 * 1024 * 1024
_STOPPED = "STOPPED"


@dataclass(frozen=True)
class Metadata:
    """What the agent says of itself.

    Attributes:
        version: of the agent.
        cluster: its name.
        arn: ContainerInstanceArn; None until the agent has registered.

    """

    version: str
    cluster: str
    arn: str | None


def read_metadata(url: str) -> Metadata:
    """Ask ``/v1/metadata``.

    Raises:
        EcsauthError: the agent does not answer, or not as it should.

    """
    document = _get(f"{url.rstrip('/')}/v1/metadata")
    arn = document.get("ContainerInstanceArn")
    return Metadata(
        version=str(document.get("Version") or ""),
        cluster=str(document.get("Cluster") or ""),
        arn=arn if isinstance(arn, str) else None,
    )


def count_running_tasks(url: str) -> int:
    """Ask ``/v1/tasks`` and count those that are not stopped.

    Raises:
        EcsauthError: as `read_metadata`.

    """
    return count_tasks(_get(f"{url.rstrip('/')}/v1/tasks"))


def count_tasks(document: Mapping[str, Any]) -> int:
    """Count the tasks of ``/v1/tasks`` whose KnownStatus is not STOPPED.

    Raises:
        EcsauthError: Tasks is neither a list nor null.

    """
    tasks = document.get("Tasks") or []
    if not isinstance(tasks, list):
        raise EcsauthError("what answers is not the ECS agent: its tasks are no list")
    stopped = [
        task for task in tasks if isinstance(task, dict) and task.get("KnownStatus") == _STOPPED
    ]
    return len(tasks) - len(stopped)


def _get(url: str) -> Mapping[str, Any]:
    """Ask within `_TOTAL_SECONDS`, in a thread that is left behind if it takes longer."""
    done: list[Mapping[str, Any] | EcsauthError] = []

    def run() -> None:
        try:
            done.append(_ask(url))
        except EcsauthError as error:
            done.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_TOTAL_SECONDS)
    if not done:
        raise EcsauthError(f"the agent takes more than {_TOTAL_SECONDS:g} s to answer at {url}")
    if isinstance(done[0], EcsauthError):
        raise done[0]
    return done[0]


def _ask(url: str) -> Mapping[str, Any]:
    import urllib3
    from urllib3.exceptions import HTTPError, LocationValueError

    if not url.startswith(("http://", "https://")):
        raise EcsauthError(f"{url} is not an HTTP address", f"the usual one is {DEFAULT_URL}")
    # A manager of our own: whatever proxies are set, this is this host.
    manager = urllib3.PoolManager(timeout=_TIMEOUT_SECONDS, retries=False)
    try:
        answer = manager.request("GET", url, redirect=False, preload_content=False)
        text = answer.read(_MAX_BODY).decode("utf-8", "replace")
        document = loads(text) if answer.status == 200 else None
    except (HTTPError, LocationValueError, OSError):
        raise EcsauthError(f"the agent does not answer at {url}", "is it running?") from None
    except JSONTextError:
        document = None
    finally:
        manager.clear()
    if not isinstance(document, dict):
        raise EcsauthError(f"what answers at {url} is not the ECS agent")
    return document
