"""Draining against moto's ECS: the state before, during and after; progress; permissions."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from ecsauth.agent.drain import EcsDrainer
from ecsauth.errors import RestartRefusedError
from tests.lab.moto import Moto


@dataclass
class Cluster:
    """A cluster in moto with one container instance."""

    ecs: Any
    arn: str
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def start(self, group: str) -> str:
        """Start a task; its ARN."""
        (task,) = self.ecs.start_task(
            cluster="lab", taskDefinition="app", containerInstances=[self.arn], group=group
        )["tasks"]
        return str(task["taskArn"])

    def stop(self, task: str) -> None:
        self.ecs.stop_task(cluster="lab", task=task)

    @property
    def status(self) -> str:
        answer = self.ecs.describe_container_instances(cluster="lab", containerInstances=[self.arn])
        return str(answer["containerInstances"][0]["status"])

    def drainer(self, environment: dict[str, str], timeout: float = 10, **more: Any) -> EcsDrainer:
        return EcsDrainer(
            environment,
            timeout,
            monotonic=time.monotonic,
            sleep=time.sleep,
            note=self.said.append,
            warn=self.warned.append,
            poll=0.05,
            **more,
        )


@pytest.fixture
def cluster(moto: Moto) -> Cluster:
    # Tasks stay as they are until they are stopped: moto lets them end after some looks.
    moto.set_transition("ecs::task", times=1_000_000)
    ec2, ecs = moto.client("ec2"), moto.client("ecs")
    ecs.create_cluster(clusterName="lab")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    (instance,) = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"]
    document = {"instanceId": instance["InstanceId"], "region": "us-west-2"}
    registered = ecs.register_container_instance(
        cluster="lab", instanceIdentityDocument=json.dumps(document)
    )
    ecs.register_task_definition(
        family="app", containerDefinitions=[{"name": "a", "image": "a", "memory": 1, "cpu": 1}]
    )
    return Cluster(ecs, registered["containerInstance"]["containerInstanceArn"])


def test_drained_when_the_tasks_of_services_are_gone(cluster: Cluster) -> None:
    tasks = [cluster.start("service:web") for _ in range(2)]
    drainer = cluster.drainer({})
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(drainer.drain("lab", cluster.arn)))
    thread.start()
    for _ in range(200):
        if cluster.said:
            break
        time.sleep(0.05)
    assert cluster.said == ["draining: 2 tasks of services left"]
    assert cluster.status == "DRAINING"
    cluster.stop(tasks[0])
    for _ in range(200):
        if len(cluster.said) > 1:
            break
        time.sleep(0.05)
    assert thread.is_alive()
    cluster.stop(tasks[1])
    thread.join(20)
    assert found == [[]]
    assert cluster.said[1] == "draining: 1 task of services left"
    drainer.activate("lab", cluster.arn)
    assert cluster.status == "ACTIVE"
    assert cluster.said[-1] == "the instance is ACTIVE again"


def test_task_without_a_service_is_named_and_not_waited_for(cluster: Cluster) -> None:
    task = cluster.start("family:app")
    stay = cluster.drainer({}).drain("lab", cluster.arn)
    assert stay == [f"{task.rpartition('/')[2]} (app:1)"]


def test_time_that_is_over_is_an_error(cluster: Cluster) -> None:
    cluster.start("service:web")
    drainer = cluster.drainer({}, timeout=0.3)
    with pytest.raises(
        RestartRefusedError, match=r"1 task of services is still running after 0\.3 s"
    ):
        drainer.drain("lab", cluster.arn)
    drainer.activate("lab", cluster.arn)
    assert cluster.status == "ACTIVE"


def test_instance_that_somebody_else_drains_stays_so(cluster: Cluster) -> None:
    cluster.ecs.update_container_instances_state(
        cluster="lab", containerInstances=[cluster.arn], status="DRAINING"
    )
    drainer = cluster.drainer({})
    assert drainer.drain("lab", cluster.arn) == []
    drainer.activate("lab", cluster.arn)
    assert cluster.status == "DRAINING"


def test_cluster_is_in_the_arn_if_the_agent_does_not_say(cluster: Cluster) -> None:
    assert "container-instance/lab/" in cluster.arn
    drainer = cluster.drainer({})
    assert drainer.drain("", cluster.arn) == []
    assert cluster.status == "DRAINING"


def test_instance_that_nobody_knows_is_an_error(cluster: Cluster) -> None:
    with pytest.raises(RestartRefusedError, match="was not drained"):
        cluster.drainer({}).drain("lab", f"{cluster.arn[:-8]}00000000")


ACTIONS = (
    "ecs:DescribeContainerInstances",
    "ecs:UpdateContainerInstancesState",
    "ecs:ListTasks",
    "ecs:DescribeTasks",
)


@pytest.mark.parametrize("missing", [None, *ACTIONS])
def test_missing_permission_is_named(
    cluster: Cluster, moto: Moto, monkeypatch: pytest.MonkeyPatch, missing: str | None
) -> None:
    cluster.start("family:app")
    variables = moto.user("drainer", *(item for item in ACTIONS if item != missing))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    drainer = cluster.drainer({})
    if missing is None:
        assert len(drainer.drain("lab", cluster.arn)) == 1
        drainer.activate("lab", cluster.arn)
        assert cluster.warned == []
        return
    with pytest.raises(RestartRefusedError, match=missing):
        drainer.drain("lab", cluster.arn)
    drainer.activate("lab", cluster.arn)
    assert cluster.warned == []


def test_instance_that_cannot_be_made_active_is_said_and_remembered(
    cluster: Cluster, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto.user("drainer", *ACTIONS).items():
        monkeypatch.setenv(name, value)
    remembered: list[str] = []
    drainer = cluster.drainer({}, remember=remembered.append)
    assert drainer.drain("lab", cluster.arn) == []
    moto.post("reset-auth", "1000000000")
    moto.client("iam").delete_user_policy(UserName="drainer", PolicyName="p")
    moto.post("reset-auth", "0")
    drainer.activate("lab", cluster.arn)
    assert "make it active: aws ecs update-container-instances-state" in cluster.warned[0]
    assert remembered == [cluster.arn]
    moto.post("reset-auth", "1000000000")
    again = cluster.drainer({}, remember=remembered.append, remembered=remembered[-1])
    again.activate("", cluster.arn)  # a later run, which knows nothing but the ARN
    assert cluster.status == "ACTIVE"
    assert remembered == [cluster.arn, ""]
