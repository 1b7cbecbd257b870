"""SSM Run Command: finds the instances of a cluster or with tags, sends a document, polls it.

Limits (50 instances in a command, 100 container instances in a description, 2,500 characters of
output): AWS Systems Manager and Amazon ECS API references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecsauth.aws.failure import Call
from ecsauth.aws.session import NO_REGION, Aws, Identity
from ecsauth.errors import SourceError, UsageError
from ecsauth.fleet.values import (
    BATCH,
    NOT_LINUX,
    NOT_MANAGED,
    UNREACHABLE,
    Instance,
    Invocation,
    Order,
    Sent,
    batches,
    status_of,
)

_PAGE = 50
_DESCRIBED = 100
_DELIVERY_SECONDS = (30, 2_592_000)
_MAX_TAGS = 5
_SUBJECT = "fleet"


@dataclass(frozen=True)
class Group:
    """Selects instances: those of a cluster, or those with tags.

    Attributes:
        cluster: name or ARN of the cluster; empty for tags.
        tags: key → values; an instance must have every key, with one of its values.

    """

    cluster: str = ""
    tags: Mapping[str, tuple[str, ...]] | None = None

    def __str__(self) -> str:
        if self.cluster:
            return f"cluster {self.cluster}"
        pairs = [f"{key}={value}" for key, values in (self.tags or {}).items() for value in values]
        return f"tag {' '.join(pairs)}"


def parse_tags(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return key → values for texts KEY=VALUE.

    Raises:
        UsageError: a text is not KEY=VALUE, or there are too many tags.

    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not key or not sign:
            raise UsageError(
                "--tag is not KEY=VALUE", "write it as --tag Fleet=web", reference="usage-tag"
            )
        found[key] = (*found.get(key, ()), value)
    if len(found) > _MAX_TAGS:
        raise UsageError(
            f"SSM accepts at most {_MAX_TAGS} tags", "use fewer", reference="usage-tag"
        )
    return found


def _problem(item: Mapping[str, Any]) -> str:
    """Return why the command cannot run on an instance; SSM would skip it and report success."""
    if item.get("PlatformType", "Linux") != "Linux":
        return NOT_LINUX
    return "" if item.get("PingStatus") == "Online" else UNREACHABLE


class RunCommand:
    """A `Runner` through SSM; it also finds the instances.

    Args:
        aws: makes the calls.
        identity: the identity for the calls.
        region: AWS region; empty for the default.
        group: selects the instances.
        document: name of the SSM document.
        seconds: how long SSM tries to reach an instance.

    Raises:
        SourceError: no region is set, or the identity does not exist.

    """

    def __init__(
        self, aws: Aws, identity: Identity, region: str, group: Group, document: str, seconds: float
    ) -> None:
        self._aws = aws
        self._identity = identity
        self._group = group
        self._document = document
        least, most = _DELIVERY_SECONDS
        self._seconds = int(min(most, max(least, seconds)))
        self.region = region or _default_region(aws, identity)

    def find(self) -> list[Instance]:
        """Return the instances, each with the reason why the command cannot run on it, if any.

        Raises:
            SourceError: the call to AWS failed.

        """
        if not self._group.cluster:
            return self._managed(_tag_filters(self._group.tags or {}))
        names = self._members(self._group.cluster)
        known: dict[str, Instance] = {}
        for part in batches(names, _PAGE):
            known.update((item.name, item) for item in self._managed(_id_filter(part)))
        return [known.get(name, Instance(name, NOT_MANAGED)) for name in names]

    def send(self, order: Order) -> Sent:
        """Send the document; if SSM no longer knows some instances, send it to the others.

        Raises:
            SourceError: the call to AWS failed.

        """
        try:
            return Sent(self._send(order, order.instances))
        except SourceError as error:
            if _code(error) != "InvalidInstanceId" or not order.instances:
                raise
            managed = self._managed(_id_filter(order.instances))
            here = {item.name for item in managed if not item.problem}
            gone = tuple(name for name in order.instances if name not in here)
            if not gone:
                raise
        left = tuple(name for name in order.instances if name in here)
        return Sent(self._send(order, left) if left else "", gone)

    def observe(self, command: str, *, details: bool) -> Sequence[Invocation]:
        """Return the invocations of a command.

        Raises:
            SourceError: the call to AWS failed.

        """
        parameters = {"CommandId": command, "Details": details, "MaxResults": _PAGE}
        pages = self._pages("ssm", "ListCommandInvocations", "NextToken", parameters)
        found = [item for page in pages for item in page.get("CommandInvocations") or []]
        return [_invocation(item) for item in found]

    def cancel(self, command: str, instances: Sequence[str]) -> None:
        """Cancel a command on some instances; on all if none is named.

        Raises:
            SourceError: the call to AWS failed.

        """
        only = {"InstanceIds": list(instances)} if instances else {}
        self._call("ssm", "CancelCommand", CommandId=command, **only)

    def _send(self, order: Order, instances: Sequence[str]) -> str:
        if instances:
            to: dict[str, Any] = {"InstanceIds": list(instances[:BATCH])}
        else:
            to = {"Targets": _tag_filters(self._group.tags or {})}
        try:
            answer = self._call(
                *("ssm", "SendCommand"),
                DocumentName=self._document,
                MaxConcurrency=str(order.concurrency),
                MaxErrors=str(order.errors),
                TimeoutSeconds=self._seconds,
                Comment="ecsauth fleet refresh",
                **to,
            )
        except SourceError as error:
            if _code(error) != "InvalidDocument":
                raise
            raise SourceError(
                f"there is no document {self._document} in {self.region}",
                f"aws ssm create-document --region {self.region} --name {self._document}"
                " --document-type Command"
                " --content file://samples/ssm-refresh.json",
                subject=_SUBJECT,
                reference="ssm-document-missing",
            ) from error
        return str((answer.get("Command") or {}).get("CommandId", ""))

    def _members(self, cluster: str) -> list[str]:
        """Return the instance ids of a cluster, each once."""
        try:
            listed = self._pages("ecs", "ListContainerInstances", "nextToken", {"cluster": cluster})
            arns = [arn for page in listed for arn in page.get("containerInstanceArns") or []]
        except SourceError as error:
            if _code(error) != "ClusterNotFoundException":
                raise
            raise SourceError(
                f"there is no cluster {cluster} in {self.region}",
                "check its name and --region",
                subject=_SUBJECT,
                reference="ecs-cluster-missing",
            ) from error
        found: dict[str, None] = {}
        for part in batches(arns, _DESCRIBED):
            answer = self._call(
                *("ecs", "DescribeContainerInstances"),
                cluster=cluster,
                containerInstances=list(part),
            )
            for item in answer.get("containerInstances") or []:
                if item.get("ec2InstanceId"):
                    found[str(item["ec2InstanceId"])] = None
        return list(found)

    def _managed(self, filters: Sequence[Mapping[str, Any]]) -> list[Instance]:
        parameters = {"Filters": list(filters), "MaxResults": _PAGE}
        pages = self._pages("ssm", "DescribeInstanceInformation", "NextToken", parameters)
        found = [item for page in pages for item in page.get("InstanceInformationList") or []]
        return [Instance(str(item.get("InstanceId", "")), _problem(item)) for item in found]

    def _pages(
        self, service: str, action: str, token: str, parameters: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        more: dict[str, str] = {}
        while True:
            answer = self._call(service, action, **parameters, **more)
            yield answer
            if not answer.get(token):
                return
            more = {token: str(answer[token])}

    def _call(self, service: str, action: str, **parameters: Any) -> Mapping[str, Any]:
        call = Call(_SUBJECT, f"{service}:{action}", self.region)
        client = self._aws.client(service, self.region, self._identity, _SUBJECT)
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
        return self._aws.call(call, self._identity, getattr(client, method), **parameters)


def _default_region(aws: Aws, identity: Identity) -> str:
    try:
        return aws.region(identity, _SUBJECT)
    except SourceError as error:
        if error.reference != NO_REGION:
            raise
        raise error.as_kind(SourceError, hint="name it: --region, or set AWS_REGION") from error


def _code(error: SourceError) -> str:
    """Return AWS's error code; empty if AWS did not answer."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", "")).rpartition("#")[2]


def _tag_filters(tags: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Return tags in SSM's form for targets and filters."""
    return [{"Key": f"tag:{key}", "Values": list(values)} for key, values in tags.items()]


def _id_filter(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"Key": "InstanceIds", "Values": list(names)}]


def _invocation(item: Mapping[str, Any]) -> Invocation:
    status = status_of(str(item.get("Status", "")), str(item.get("StatusDetails", "")))
    plugins = item.get("CommandPlugins") or []
    output = "\n".join(str(plugin.get("Output") or "") for plugin in plugins)
    return Invocation(str(item.get("InstanceId", "")), status, output)
