"""Sessions: one for each profile and role; a role is assumed once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ecsauth.aws.failure import Call, renamed, source_error
from ecsauth.aws.metadata import Metadata, OnlyOnEc2
from ecsauth.errors import SourceError

_CONNECT_SECONDS = 4
_READ_SECONDS = 10
_ATTEMPTS = 3

_DECIDING = ("AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_REGION", "AWS_ROLE_ARN")
_DECIDING_BY_ACCOUNT = ("AWS_PROFILE_", "AWS_ROLE_ARN_")


@dataclass(frozen=True)
class Identity:
    """As whom to call: a profile, a role to assume with it; empty is the default chain."""

    profile: str = ""
    role_arn: str = ""
    external_id: str = ""


class Aws:
    """Makes clients and calls them; asks nobody before the first call.

    Args:
        environment: AWS_* variables are boto3's own; here only ``AWS_PROFILE_ACCOUNT``,
            ``AWS_ROLE_ARN_ACCOUNT`` and AWS_EC2_METADATA_DISABLED are read.

    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._metadata = Metadata(environment)
        self._sessions: dict[Identity, Any] = {}
        self._failed: dict[Identity, tuple[str, SourceError]] = {}

    def identity_for(self, account: str, given: Identity) -> Identity:
        """Return the identity for an account: as given, else as its variables say."""
        return Identity(
            profile=given.profile or self._environment.get(f"AWS_PROFILE_{account}", ""),
            role_arn=given.role_arn or self._environment.get(f"AWS_ROLE_ARN_{account}", ""),
            external_id=given.external_id,
        )

    def deciding_settings(self) -> str:
        """Return the variables that decide who calls and where, as text, to notice a change."""
        return "\n".join(
            f"{name}={value}"
            for name, value in sorted(self._environment.items())
            if name in _DECIDING or name.startswith(_DECIDING_BY_ACCOUNT)
        )

    def region(self, identity: Identity, subject: str) -> str:
        """Return the default region: 1. settings and profile, 2. the instance's own.

        Raises:
            SourceError: there is none.

        """
        session = self._session(identity, subject)
        region = session.region_name or self._metadata.region(session._session)
        if not region:
            raise SourceError(
                f"{subject}: no AWS region is set",
                "name it (ecr:REGION) or set AWS_REGION",
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
        from botocore.exceptions import BotoCoreError

        session = self._session(identity, subject)
        try:
            return session.client(service, region, config=_config(fips, dual_stack))
        except (BotoCoreError, ValueError) as error:
            raise source_error(error, Call(subject, service, region), str) from error

    def call(
        self, call: Call, identity: Identity, operation: Callable[..., Any], **parameters: Any
    ) -> Mapping[str, Any]:
        """Call an operation of a client.

        Raises:
            SourceError: it failed; says why and what to do.

        """
        return self._call(call, lambda: self._principal(identity), operation, parameters)

    def _call(
        self,
        call: Call,
        principal: Callable[[], str],
        operation: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            answer = operation(**parameters)
        except (BotoCoreError, ClientError) as error:
            raise source_error(error, call, principal) from error
        except (ResponseParserError, ValueError, TypeError, RuntimeError) as error:
            raise SourceError(
                f"{call.subject}: the answer to {call.action} is not AWS's",
                "look for a proxy or a wrong AWS_ENDPOINT_URL",
            ) from error
        return answer if isinstance(answer, Mapping) else {}

    def _session(self, identity: Identity, subject: str) -> Any:
        if identity in self._failed:
            first, known = self._failed[identity]
            raise renamed(known, first, subject)
        if identity not in self._sessions:
            try:
                self._sessions[identity] = self._new_session(identity, subject)
            except SourceError as error:
                self._failed[identity] = (subject, error)
                raise
        return self._sessions[identity]

    def _new_session(self, identity: Identity, subject: str) -> Any:
        import boto3
        import botocore.session
        from botocore.exceptions import BotoCoreError

        try:
            core = botocore.session.Session(profile=identity.profile or None)
            resolver = core.get_component("credential_provider")
            resolver.providers = [
                OnlyOnEc2(item, self._metadata, core) if item.METHOD == "iam-role" else item
                for item in resolver.providers
            ]
            session = boto3.Session(botocore_session=core)
            region = session.region_name
        except BotoCoreError as error:
            raise source_error(error, Call(subject, "session"), str) from error
        if not identity.role_arn:
            return session
        region = region or self._metadata.region(core) or "us-east-1"
        found = self._assume(session, identity, region, subject)
        return boto3.Session(
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
            region_name=region,
        )

    def _assume(self, session: Any, identity: Identity, region: str, subject: str) -> Any:
        role = {"RoleArn": identity.role_arn, "RoleSessionName": "ecsauth"}
        if identity.external_id:
            role["ExternalId"] = identity.external_id
        base = Identity(profile=identity.profile)
        self._sessions.setdefault(base, session)
        client = self.client("sts", region, base, subject)
        call = Call(subject, "sts:AssumeRole", region)
        return self.call(call, base, client.assume_role, **role)["Credentials"]

    def _principal(self, identity: Identity) -> str:
        """Return our own ARN; empty if even that is not to be had. Needs no permission."""
        session = self._sessions[identity]
        call = Call("", "sts:GetCallerIdentity")
        with contextlib.suppress(SourceError):
            client = session.client(
                "sts", session.region_name or "us-east-1", config=_config(attempts=1)
            )
            return str(self._call(call, str, client.get_caller_identity, {}).get("Arn", ""))
        return ""


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
