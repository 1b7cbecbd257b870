"""Parse a SOURCE in AWS: ``ecr:…``, ``secretsmanager:…`` and the like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from ecsauth.aws.ecr_tokens import EcrTokens
from ecsauth.aws.parameters import IDENTITY, REGION, identity_of, parse_parameters
from ecsauth.aws.session import Aws, Identity
from ecsauth.credentials.registry import parse_auth_key, parse_ecr_host
from ecsauth.errors import RegistryNameError, UsageError
from ecsauth.sources.ecr import EcrPublicSource, EcrSource

if TYPE_CHECKING:
    from ecsauth.sources.s3 import S3Source
    from ecsauth.sources.secret import SecretSource

AwsSource = Union[EcrSource, EcrPublicSource, "S3Source", "SecretSource"]

_ARN = re.compile(r"arn:[a-z-]+:[a-z-]+:(?P<region>[a-z0-9-]*):(?P<account>[0-9]*):.+")
_IDENTIFIER = re.compile(r"[A-Za-z0-9/_+=.@!:-]{1,2048}")
_PARAMETERS = {
    "ecr": (*IDENTITY, "region"),
    "ecr-public": IDENTITY,
    "secretsmanager": (*IDENTITY, "region", "registry", "query", "username", "version_stage"),
    "ssm": (*IDENTITY, "region", "registry", "query", "username"),
}


@dataclass(frozen=True)
class AwsAccess:
    """What the AWS sources of one command share, so that each token is requested only once."""

    aws: Aws
    tokens: EcrTokens
    environment: Mapping[str, str]


def open_access(environment: Mapping[str, str]) -> AwsAccess:
    """Return what the AWS sources of one command share; makes no request yet."""
    aws = Aws(environment)
    return AwsAccess(aws, EcrTokens(aws), environment)


def parse_aws_source(text: str, access: AwsAccess) -> AwsSource:
    """Parse a source in AWS; parameters follow a ``?``, separated by ``&``.

    Raises:
        UsageError: a name or a parameter is invalid.

    """
    scheme, _, rest = text.partition(":")
    if scheme == "s3":
        from ecsauth.aws.place import parse_place
        from ecsauth.sources.s3 import S3Source

        return S3Source(access.aws, parse_place(text, access.environment))
    name, _, query = rest.partition("?")
    parameters = _parameters(scheme, query)
    identity = identity_of(parameters)
    if scheme == "ecr-public":
        if name:
            raise UsageError(
                "ecr-public: takes only parameters",
                "such as ecr-public:?profile=NAME",
                reference="source-name-invalid",
            )
        return EcrPublicSource("ecr-public:", access.tokens, access.aws, identity)
    if scheme == "ecr":
        return _ecr(name, parameters.get("region", ""), access, identity)
    return _secret(scheme, name, parameters, access, identity)


def _ecr(name: str, region: str, access: AwsAccess, identity: Identity) -> EcrSource:
    plain = f"ecr:{name}"  # for messages: without the external id
    registry = parse_ecr_host(name)
    if name and registry is None and not REGION.fullmatch(name):
        raise UsageError(
            f"{plain} names neither a region nor an ECR host",
            "such as ecr:us-west-2 or ecr:123456789012.dkr.ecr.us-west-2.amazonaws.com",
            reference="source-name-invalid",
        )
    if name and region:
        raise UsageError(
            f"{plain} already names its region",
            "leave out ?region=",
            reference="usage-parameter",
        )
    return EcrSource(
        plain, access.tokens, access.aws, identity, "" if registry else name or region, registry
    )


def _secret(
    scheme: str, name: str, parameters: Mapping[str, str], access: AwsAccess, identity: Identity
) -> SecretSource:
    from ecsauth.sources.secret import Place, SecretSource, Wanted

    if not _IDENTIFIER.fullmatch(name):
        raise UsageError(
            f"{scheme}: is not followed by a name or an ARN",
            f"such as {scheme}:NAME?registry=HOST",
            reference="source-name-invalid",
        )
    arn = _ARN.fullmatch(name)
    region = parameters.get("region", "") or (arn["region"] if arn else "")
    place = Place(
        scheme,
        name,
        region,
        arn["account"] if arn else "",
        parameters.get("version_stage", ""),
    )
    wanted = Wanted(
        parameters.get("registry", ""), parameters.get("query", ""), parameters.get("username", "")
    )
    return SecretSource(place, wanted, access.aws, identity)


def _parameters(scheme: str, query: str) -> dict[str, str]:
    found = parse_parameters(f"{scheme}:", query, _PARAMETERS[scheme])
    if query := found.get("query", ""):
        from ecsauth.credentials.login_file import check_expression

        check_expression(query)
    if registry := found.get("registry", ""):
        try:
            parse_auth_key(registry)
        except RegistryNameError as error:
            raise error.as_kind(UsageError, hint="?registry= takes host[:port]") from error
    return found
