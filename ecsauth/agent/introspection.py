"""The agent's introspection API: http://localhost:51678, without authentication.

Source: aws/amazon-ecs-agent ``ecs-agent/introspection``. ContainerInstanceArn is null until the
agent has registered; Tasks is ``[]`` if there are none; stopped tasks stay listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecsauth.agent.constants import DEFAULT_URL
from ecsauth.credentials.json_text import JSONTextError, loads
from ecsauth.errors import EcsauthError
from ecsauth.host.deadline import DeadlineError, NoThreadError, call_within

_TIMEOUT_SECONDS = 2.0
_TOTAL_SECONDS = 5.0
"""Limit for one answer, even if it arrives byte by byte."""

_MAX_BODY = 4 * 1024 * 1024
_STOPPED = "STOPPED"


@dataclass(frozen=True)
class Metadata:
    """The agent's own description.

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


@dataclass(frozen=True)
class TaskCounts:
    """Numbers of tasks: those that are not stopped, and those that are starting."""

    running: int
    starting: int


def read_tasks(url: str) -> TaskCounts:
    """Ask ``/v1/tasks`` and count.

    Raises:
        EcsauthError: as `read_metadata`.

    """
    return count_tasks(_get(f"{url.rstrip('/')}/v1/tasks"))


def count_tasks(document: Mapping[str, Any]) -> TaskCounts:
    """Count the tasks of ``/v1/tasks``.

    A task whose KnownStatus is not STOPPED runs; it is starting if it should run and is
    PENDING or one of its containers has no KnownStatus yet.

    Raises:
        EcsauthError: Tasks is not a list.

    """
    tasks = document.get("Tasks") or []
    if not isinstance(tasks, list):
        raise EcsauthError(
            "what answers is not the ECS agent: its tasks are not a list",
            reference="agent-answer-unknown",
        )
    known = [task for task in tasks if isinstance(task, dict)]
    stopped = sum(1 for task in known if task.get("KnownStatus") == _STOPPED)
    starting = sum(1 for task in known if _is_starting(task))
    return TaskCounts(len(tasks) - stopped, starting)


def _is_starting(task: Mapping[str, Any]) -> bool:
    if task.get("DesiredStatus", "RUNNING") != "RUNNING" or task.get("KnownStatus") == _STOPPED:
        return False
    containers = task.get("Containers") or []
    return task.get("KnownStatus") in (None, "", "NONE", "PENDING") or any(
        isinstance(item, dict) and not item.get("KnownStatus") for item in containers
    )


def _get(url: str) -> Mapping[str, Any]:
    """Send a request; give up after `_TOTAL_SECONDS`."""
    try:
        return call_within(_TOTAL_SECONDS, lambda: _ask(url))
    except (DeadlineError, NoThreadError):
        raise EcsauthError(
            f"the agent takes more than {_TOTAL_SECONDS:g} s to answer at {url}",
            reference="agent-slow",
        ) from None


def _ask(url: str) -> Mapping[str, Any]:
    import urllib3
    from urllib3.exceptions import HTTPError, LocationValueError

    if not url.startswith(("http://", "https://")):
        raise EcsauthError(f"{url} is not an HTTP address", f"the usual one is {DEFAULT_URL}")
    # A manager of our own: whatever proxies are set, this is this host.
    manager = urllib3.PoolManager(timeout=_TIMEOUT_SECONDS, retries=False)
    try:
        headers = {"Accept-Encoding": "identity"}  # a packed answer could be of any size
        answer = manager.request("GET", url, headers=headers, redirect=False, preload_content=False)
        text = answer.read(_MAX_BODY, decode_content=False).decode("utf-8", "replace")
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
