"""The only importer of boto3: sessions per profile and role, time limits, errors mapped once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecsauth.errors import SourceError

_CONNECT_SECONDS = 5
_READ_SECONDS = 10
_METADATA_SECONDS = 0.4
"""For each of the two calls that the metadata service takes: off EC2, under a second in all."""

_CLOCK_WORDS = ("signature expired", "signature not yet current", "not yet valid")
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"})
_UNKNOWN_KEYS = frozenset(
    {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException"}
)
_THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException"})


@dataclass(frozen=True)
class Identity:
    """As whom to call: a profile, a role to assume with it; empty is the default chain."""

    profile: str = ""
    role_arn: str = ""
    external_id: str = ""


class Aws:
    """Makes clients; one session for each identity.

    Args:
        environment: AWS_* variables are boto3's own; here only ``AWS_PROFILE_ACCOUNT`` and
            ``AWS_ROLE_ARN_ACCOUNT`` are read.

    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._sessions: dict[Identity, Any] = {}

    def identity_for(self, account: str, given: Identity) -> Identity:
        """Return the identity for an account: as given, else as its variables say."""
        return Identity(
            profile=given.profile or self._environment.get(f"AWS_PROFILE_{account}", ""),
            role_arn=given.role_arn or self._environment.get(f"AWS_ROLE_ARN_{account}", ""),
            external_id=given.external_id,
        )

    def region(self, identity: Identity, subject: str) -> str:
        """Return the default region: settings and profile, then the instance's own.

        Raises:
            SourceError: there is none.

        """
        region = self._session(identity, subject).region_name or _instance_region()
        if not region:
            raise SourceError(
                f"{subject}: no AWS region is set", "name it (ecr:REGION) or set AWS_REGION"
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
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 3},
            use_fips_endpoint=fips,
            use_dualstack_endpoint=dual_stack,
            user_agent_extra="ecsauth",
        )
        try:
            return self._session(identity, subject).client(
                service, region_name=region, config=config
            )
        except BotoCoreError as error:
            raise aws_error(error, subject, service) from error

    def _session(self, identity: Identity, subject: str) -> Any:
        if identity not in self._sessions:
            self._sessions[identity] = self._new_session(identity, subject)
        return self._sessions[identity]

    def _new_session(self, identity: Identity, subject: str) -> Any:
        import boto3
        import botocore.session
        from botocore.exceptions import BotoCoreError, ClientError

        core = botocore.session.Session(profile=identity.profile or None)
        core.set_config_variable("metadata_service_timeout", _METADATA_SECONDS)
        core.set_config_variable("metadata_service_num_attempts", 1)
        try:
            session = boto3.Session(botocore_session=core)
            if not identity.role_arn:
                return session
            role = {"RoleArn": identity.role_arn, "RoleSessionName": "ecsauth"}
            if identity.external_id:
                role["ExternalId"] = identity.external_id
            region = session.region_name or _instance_region() or "us-east-1"
            sts: Any = session.client("sts", region_name=region)
            answer = sts.assume_role(**role)
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, subject, "sts:AssumeRole") from error
        found = answer["Credentials"]
        return boto3.Session(
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
            region_name=region,
        )


def aws_error(error: Exception, subject: str, action: str, policy: str = "") -> SourceError:
    """Say what an error of boto3 means and what to do; its own text is never shown.

    Args:
        error: a BotoCoreError or ClientError.
        subject: the source, as the user names it.
        action: the IAM action that was called.
        policy: the managed policy that allows it, if there is one.

    """
    from botocore import exceptions as raised

    if isinstance(error, raised.ClientError):
        return _client_error(error.response.get("Error", {}), subject, action, policy)
    if isinstance(error, (raised.NoCredentialsError, raised.PartialCredentialsError)):
        return SourceError(
            f"{subject}: no AWS credentials",
            "attach an instance profile, or set AWS_PROFILE or AWS_ACCESS_KEY_ID",
        )
    if isinstance(error, raised.ProfileNotFound):
        return SourceError(f"{subject}: no such AWS profile", "see aws configure list-profiles")
    if isinstance(error, raised.NoRegionError):
        return SourceError(f"{subject}: no AWS region is set", "set AWS_REGION")
    if isinstance(error, raised.SSLError):
        return SourceError(f"{subject}: the certificate of AWS is not trusted", "see AWS_CA_BUNDLE")
    if isinstance(error, (raised.HTTPClientError, raised.ConnectionError)):
        return SourceError(
            f"{subject}: no answer from AWS ({type(error).__name__})",
            "look at the route, the proxy and the VPC endpoints",
        )
    return SourceError(f"{subject}: {action} failed ({type(error).__name__})")


def _client_error(answer: Mapping[str, Any], subject: str, action: str, policy: str) -> SourceError:
    code = str(answer.get("Code", "unknown"))
    text = str(answer.get("Message", "")).lower()
    if any(words in text for words in _CLOCK_WORDS):
        return SourceError(
            f"{subject}: the clock of this host is wrong", "chronyc makestep sets it"
        )
    if code in _DENIED:
        hint = f"attach {policy} to it" if policy else f"allow {action} to it"
        return SourceError(f"{subject}: access denied to {action}", f"{hint}, the caller's role")
    if code in _EXPIRED:
        return SourceError(f"{subject}: the AWS credentials have expired", "log in to AWS again")
    if code in _UNKNOWN_KEYS:
        return SourceError(f"{subject}: AWS does not know these credentials", "look at the keys")
    if code in _THROTTLED:
        return SourceError(f"{subject}: AWS throttles {action}", "wait, then run this again")
    safe = code if code.isalnum() and len(code) < 80 else "an unknown error"
    return SourceError(f"{subject}: {action} failed: {safe}")


def _instance_region() -> str:
    """Return the region of the EC2 instance that this is; empty elsewhere, in under a second."""
    from botocore.utils import InstanceMetadataRegionFetcher

    fetcher: Any = InstanceMetadataRegionFetcher
    fetcher = fetcher(timeout=_METADATA_SECONDS, num_attempts=1)
    return fetcher.retrieve_region() or ""
