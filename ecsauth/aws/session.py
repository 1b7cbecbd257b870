"""AWS sessions: one per profile and role; a role is assumed once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ecsauth.aws.deciding import BY_ACCOUNT, PRINCIPAL, REGION
from ecsauth.aws.failure import Call, source_error
from ecsauth.aws.metadata import Metadata, OnlyOnEc2
from ecsauth.errors import SourceError
from ecsauth.host.deadline import DeadlineError, NoThreadError, call_within

_CONNECT_SECONDS = 4
_READ_SECONDS = 10
_ATTEMPTS = 3
_STACK_BYTES = 2 * 1024 * 1024
"""Of a thread; the default 8 MB would count against a memory limit without being used."""

NO_REGION = "aws-no-region"
"""Reference of the error that no region is set."""

TOTAL_SECONDS = 60.0
"""Limit for one call, including its retries."""


@dataclass(frozen=True)
class Identity:
    """The identity for calls: a profile, and a role to assume; empty is the default chain."""

    profile: str = ""
    role_arn: str = ""
    external_id: str = ""


class Aws:
    """Makes clients and calls them; sends nothing before the first call.

    Args:
        environment: boto3 reads the AWS_* variables itself; here only ``AWS_PROFILE_ACCOUNT``,
            ``AWS_ROLE_ARN_ACCOUNT``, AWS_REGION and AWS_EC2_METADATA_DISABLED are read.
        all_seconds: limit for all calls together, from the first one on; None for the limit of
            each call alone, `TOTAL_SECONDS`.

    """

    def __init__(self, environment: Mapping[str, str], all_seconds: float | None = None) -> None:
        self._environment = environment
        self._all_seconds = all_seconds
        self._end: float | None = None
        self._metadata = Metadata(environment)
        self._cores: dict[Identity, Any] = {}
        self._sessions: dict[Identity, Any] = {}
        self._failed: dict[Identity, SourceError] = {}

    def identity_for(self, account: str, given: Identity) -> Identity:
        """Return the identity for an account: the given one, else that of its variables."""
        return Identity(
            profile=given.profile or self._environment.get(f"AWS_PROFILE_{account}", ""),
            role_arn=given.role_arn or self._environment.get(f"AWS_ROLE_ARN_{account}", ""),
            external_id=given.external_id,
        )

    def deciding_settings(self) -> str:
        """Return the variables that decide identity and region as text, to detect a change."""
        return "\n".join(
            f"{name}={value}"
            for name, value in sorted(self._environment.items())
            if name in (*PRINCIPAL, *REGION) or name.startswith(BY_ACCOUNT)
        )

    def region(self, identity: Identity, subject: str) -> str:
        """Return the default region: 1. settings and profile, 2. the instance's own.

        Raises:
            SourceError: no region is set.

        """
        session = self._session(identity, subject) if identity.role_arn else None
        region = self._guarded(
            Call(subject, "the region"),
            str,
            lambda: self._region_of(session._session if session else self._core(identity)),
        )
        if not region:
            raise SourceError(
                "no AWS region is set",
                "name it (ecr:REGION) or set AWS_REGION",
                subject=subject,
                reference=NO_REGION,
            )
        return str(region)

    def client(
        self,
        service: str,
        region: str,
        identity: Identity,
        subject: str,
        *,
        fips: bool = False,
        dual_stack: bool = False,
    ) -> Any:
        """Return a client; `subject` names the source in errors.

        Raises:
            SourceError: the profile is unknown, or the role cannot be assumed.

        """
        session = self._session(identity, subject)
        config = _config(fips, dual_stack)
        return self._guarded(
            Call(subject, service, region),
            str,
            lambda: session.client(service, region, config=config),
        )

    def call(
        self, call: Call, identity: Identity, operation: Callable[..., Any], **parameters: Any
    ) -> Mapping[str, Any]:
        """Call an operation of a client.

        Raises:
            SourceError: the call failed; it says why and what to do.

        """
        who = lambda: self._principal(identity)  # noqa: E731
        answer = self._guarded(call, who, lambda: operation(**parameters))
        return answer if isinstance(answer, Mapping) else {}

    def call_directly(
        self,
        call: Call,
        identity: Identity,
        target: str,
        service: str,
    ) -> Mapping[str, Any] | None:
        """Call an operation without parameters, faster than through a client.

        Returns None if a client must be used.

        Args:
            call: the call.
            identity: the identity; a role to assume needs a client.
            target: value of X-Amz-Target.
            service: botocore's name of the service.

        Raises:
            SourceError: as `call`.

        """
        # Loads parts of botocore that a client does not need.
        from ecsauth.aws.direct import call_directly

        if identity.role_arn:
            return None

        def work() -> list[Mapping[str, Any] | None]:
            answer = call_directly(
                self._core(identity),
                self._environment,
                call.action,
                target,
                service=service,
                region=call.region,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            )
            return [answer]

        who = lambda: self._principal(identity)  # noqa: E731
        found: Mapping[str, Any] | None = self._guarded(call, who, work)[0]
        return found

    def _session(self, identity: Identity, subject: str) -> Any:
        if identity in self._failed:
            raise self._failed[identity].of_subject(subject)
        if identity not in self._sessions:
            try:
                self._sessions[identity] = self._new_session(identity, subject)
            except SourceError as error:
                self._failed[identity] = error
                raise
        return self._sessions[identity]

    def _new_session(self, identity: Identity, subject: str) -> Any:
        import boto3

        call = Call(subject, "session")
        session = self._guarded(call, str, lambda: self._base_session(identity))
        if not identity.role_arn:
            return session
        region = self._guarded(
            call, str, lambda: session.region_name or self._metadata.region(session._session)
        )
        region = region or "us-east-1"
        found = self._assume(session, identity, region, subject)
        return boto3.Session(
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
            region_name=region,
        )

    def _base_session(self, identity: Identity) -> Any:
        import boto3

        session = boto3.Session(botocore_session=self._core(identity))
        _ = session.region_name  # raises if the profile is unknown
        return session

    def _core(self, identity: Identity) -> Any:
        """Return a botocore session that uses the metadata service only if it answers."""
        import botocore.session

        if identity in self._cores:
            return self._cores[identity]
        core = botocore.session.Session(profile=identity.profile or None)
        if region := self._environment.get("AWS_REGION"):  # botocore reads AWS_DEFAULT_REGION only
            core.set_config_variable("region", region)
        resolver = core.get_component("credential_provider")
        resolver.providers = [
            OnlyOnEc2(item, self._metadata, core) if item.METHOD == "iam-role" else item
            for item in resolver.providers
        ]
        return self._cores.setdefault(identity, core)

    def _region_of(self, core: Any) -> str:
        return str(core.get_config_variable("region") or self._metadata.region(core))

    def _assume(self, session: Any, identity: Identity, region: str, subject: str) -> Any:
        role = {"RoleArn": identity.role_arn, "RoleSessionName": "ecsauth"}
        if identity.external_id:
            role["ExternalId"] = identity.external_id
        base = Identity(profile=identity.profile)
        self._sessions.setdefault(base, session)
        client = self.client("sts", region, base, subject)
        call = Call(subject, "sts:AssumeRole", region)
        found = self.call(call, base, client.assume_role, **role).get("Credentials")
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        if not isinstance(found, Mapping) or not all(found.get(name) for name in names):
            raise SourceError(
                f"AWS answered {call.action} without credentials",
                "check for a proxy or a wrong AWS_ENDPOINT_URL",
                subject=subject,
                reference="aws-unexpected-answer",
            )
        return found

    def _principal(self, identity: Identity) -> str:
        """Return our own ARN, which needs no permission; empty if it cannot be determined."""
        call = Call("", "sts:GetCallerIdentity")
        with contextlib.suppress(SourceError):
            session = self._session(identity, "")
            answer = self._guarded(
                call,
                str,
                lambda: session.client(
                    "sts", session.region_name or "us-east-1", config=_config(attempts=1)
                ).get_caller_identity(),
            )
            return str(answer.get("Arn", ""))
        return ""

    def _guarded(self, call: Call, principal: Callable[[], str], work: Callable[[], Any]) -> Any:
        """Run a piece of work with boto3 within the time limit, and map any error it raises.

        boto3's timeouts apply to each packet, and a ``credential_process`` has none. So the work
        runs in a thread, which is abandoned if it takes too long.

        Raises:
            SourceError: it failed or took too long; it says why and what to do.

        """
        try:
            return call_within(self._seconds_left(), work, _STACK_BYTES)
        except DeadlineError:
            raise SourceError(
                f"no answer to {call.action} within {self._limit:g} s",
                "check the route, the proxy, and credential_process in ~/.aws/config",
                subject=call.subject,
                reference="aws-no-answer",
                retryable=True,
            ) from None
        except NoThreadError as error:
            raise source_error(MemoryError(), call, principal) from error
        except Exception as error:  # malformed answers and settings can raise anything
            raise source_error(error, call, principal) from error

    @property
    def _limit(self) -> float:
        return TOTAL_SECONDS if self._all_seconds is None else self._all_seconds

    def _seconds_left(self) -> float:
        if self._all_seconds is None:
            return TOTAL_SECONDS
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._all_seconds
        return max(0.0, self._end - now)


def _config(fips: bool = False, dual_stack: bool = False, attempts: int = _ATTEMPTS) -> Any:
    from botocore.config import Config

    return Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": attempts},
        use_fips_endpoint=fips or None,
        use_dualstack_endpoint=dual_stack or None,
        user_agent_extra="ecsauth",
    )
