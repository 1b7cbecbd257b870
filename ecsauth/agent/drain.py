"""Drain the container instance before a restart, through the ECS API.

A DRAINING instance gets no new tasks, and its services start theirs elsewhere and stop those here.
Tasks that belong to no service stay (Amazon ECS Developer Guide, "Draining container instances").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ecsauth.aws.failure import Call
from ecsauth.aws.session import Aws, Identity
from ecsauth.errors import RestartRefusedError, SourceError

_ARN = re.compile(
    r"arn:aws[a-z-]*:ecs:(?P<region>[a-z0-9-]+):[0-9]{12}:container-instance/"
    r"(?:(?P<cluster>[\w-]+)/)?(?P<id>[0-9a-f-]+)"
)
_POLL_SECONDS = 5.0
_SUBJECT = "draining"
_ME = Identity()


class EcsDrainer:
    """A `restart.Drainer`.

    Args:
        environment: for the AWS SDK.
        timeout: seconds until the instance must be empty.
        monotonic: seconds.
        sleep: waits that many seconds.
        note: takes a line of progress.
        warn: takes what must not be missed.
        remember: takes the ARN of the instance that is ours to activate, empty for none; it
            outlives this run.
        remembered: the ARN that it was given last.
        poll: seconds between two looks.

    """

    def __init__(
        self,
        environment: Mapping[str, str],
        timeout: float,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        note: Callable[[str], None],
        warn: Callable[[str], None],
        remember: Callable[[str], None] = lambda _: None,
        remembered: str = "",
        poll: float = _POLL_SECONDS,
    ) -> None:
        self._aws = Aws(environment)
        self._timeout = timeout
        self._monotonic = monotonic
        self._sleep = sleep
        self._note = note
        self._warn = warn
        self._poll = poll
        self._remember = remember
        self._ours = remembered

    def drain(self, cluster: str, arn: str) -> Sequence[str]:
        """Set the instance to DRAINING and wait until its services have left.

        Returns:
            The tasks that stay, each by its id and family.

        Raises:
            RestartRefusedError: AWS refuses, or tasks are left at the end of the time.

        """
        try:
            return self._drain(_cluster(cluster, arn), arn)
        except SourceError as error:
            raise RestartRefusedError(
                f"the instance was not drained: {error.message}",
                error.hint,
                reference=error.reference,
            ) from error

    def activate(self, cluster: str, arn: str) -> None:
        """Set the instance to ACTIVE again if `drain` set it to DRAINING."""
        if self._ours != arn:
            return
        try:
            if self._instance(_cluster(cluster, arn), arn).get("status") != "DRAINING":
                self._remember("")
                return
            self._set_state(_cluster(cluster, arn), arn, "ACTIVE")
        except (SourceError, RestartRefusedError) as error:
            self._warn(
                f"the instance is still DRAINING ({error.message}); make it active:"
                " aws ecs update-container-instances-state --status ACTIVE"
                f" --cluster {_cluster(cluster, arn)} --container-instances {arn}"
            )
        else:
            self._ours = ""
            self._remember("")
            self._note("the instance is ACTIVE again")

    def _drain(self, cluster: str, arn: str) -> Sequence[str]:
        instance = self._instance(cluster, arn)
        if instance.get("status") == "ACTIVE":
            # From now on it may be ours to undo, also if the answer never comes.
            self._ours = arn
            self._remember(arn)
            self._set_state(cluster, arn, "DRAINING")
        end = self._monotonic() + self._timeout
        shown = -1
        while True:
            tasks = self._tasks(cluster, arn)
            alone = [item for item in tasks if not _is_of_service(item)]
            left = len(tasks) - len(alone)
            if left == 0:
                return [_task_name(item) for item in alone]
            if left != shown:
                self._note(f"draining: {left} task{'' if left == 1 else 's'} of services left")
                shown = left
            if self._monotonic() >= end:
                still = "task of services is" if left == 1 else "tasks of services are"
                raise RestartRefusedError(
                    f"not restarting the agent: {left} {still} still running after"
                    f" {self._timeout:g} s of draining",
                    "check that they can run elsewhere (capacity, minimumHealthyPercent), or raise"
                    " --drain-timeout",
                    reference="drain-timeout",
                )
            self._sleep(self._poll)

    def _instance(self, cluster: str, arn: str) -> Mapping[str, Any]:
        answer = self._call(
            "DescribeContainerInstances", arn, cluster=cluster, containerInstances=[arn]
        )
        found = answer.get("containerInstances") or []
        if not found:
            raise RestartRefusedError(
                f"the instance was not drained: cluster {cluster} does not know it",
                "check the cluster and the region",
                reference="drain-unknown-instance",
            )
        return dict(found[0])

    def _tasks(self, cluster: str, arn: str) -> list[Mapping[str, Any]]:
        """Return the tasks on the instance, including those that are stopping."""
        names: list[str] = []
        for status in ("RUNNING", "STOPPED"):
            more: dict[str, str] = {}
            while True:
                answer = self._call(
                    *("ListTasks", arn),
                    cluster=cluster,
                    containerInstance=arn,
                    desiredStatus=status,
                    **more,
                )
                names += answer.get("taskArns") or []
                if not answer.get("nextToken"):
                    break
                more = {"nextToken": answer["nextToken"]}
        found: list[Mapping[str, Any]] = []
        for start in range(0, len(names), 100):
            part = names[start : start + 100]
            answer = self._call("DescribeTasks", arn, cluster=cluster, tasks=part)
            found += answer.get("tasks") or []
        return [item for item in found if item.get("lastStatus") != "STOPPED"]

    def _set_state(self, cluster: str, arn: str, status: str) -> None:
        answer = self._call(
            *("UpdateContainerInstancesState", arn),
            cluster=cluster,
            containerInstances=[arn],
            status=status,
        )
        failures = answer.get("failures") or []
        if failures:
            reason = failures[0].get("reason", "unknown")
            raise RestartRefusedError(
                f"the instance was not set to {status}: ECS says {reason}",
                "check its state in the ECS console",
                reference="drain-refused",
            )

    def _call(self, action: str, arn: str, **parameters: Any) -> Mapping[str, Any]:
        """Call ECS in the region of the instance; raise SourceError."""
        found = _ARN.fullmatch(arn)
        region = found["region"] if found else self._aws.region(_ME, _SUBJECT)
        call = Call(_SUBJECT, f"ecs:{action}", region)
        client = self._aws.client("ecs", region, _ME, _SUBJECT)
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
        return self._aws.call(call, _ME, getattr(client, method), **parameters)


def _cluster(cluster: str, arn: str) -> str:
    """Return the cluster that the agent names, else the one in the ARN (its long form)."""
    found = _ARN.fullmatch(arn)
    return cluster or (found["cluster"] if found else "") or "default"


def _is_of_service(task: Mapping[str, Any]) -> bool:
    return str(task.get("group") or "").startswith("service:")


def _task_name(task: Mapping[str, Any]) -> str:
    number = str(task.get("taskArn", "")).rpartition("/")[2]
    family = str(task.get("taskDefinitionArn", "")).rpartition("/")[2]
    return f"{number} ({family})" if family else number
