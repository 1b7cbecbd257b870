"""Maps an error of boto3 to ours: what it means and what to do. Its own text is never shown.

Codes and messages: the pages Common Errors, GetAuthorizationToken, AssumeRole, GetSecretValue and
GetParameter of the AWS API references.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ecsauth.errors import ClockError, SourceError

_CLOCK_WORDS = ("signature expired", "signature not yet current", "not yet valid")
_CLOCK_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException"})
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "403"}
)
_UNKNOWN_KEYS = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
    }
)
THROTTLED = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
        "429",
    }
)
_CHECK_SETUP = "check for a proxy, a wrong AWS_ENDPOINT_URL or an error in ~/.aws/config"
_MISSING = frozenset({"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"})
_HOST_FAULTS = frozenset(
    {
        *(errno.EACCES, errno.EDQUOT, errno.EINTR, errno.EIO, errno.EMFILE, errno.ENFILE),
        *(errno.ENOMEM, errno.ENOSPC, errno.EROFS),
    }
)
_ARN = re.compile(r"arn:aws[a-z-]*:(?:sts|iam)::[0-9]{12}:[\w+=,.@/-]{1,400}")
_ACTION = re.compile(r"[a-z0-9-]{2,40}:[A-Za-z]{2,60}")


class DamagedError(Exception):
    """The received body does not match its length or checksum."""


@dataclass(frozen=True)
class Call:
    """A call to AWS.

    Attributes:
        subject: the source or target, as the user names it.
        action: the IAM action.
        region: AWS region; empty if none applies.
        policy: the managed policy that allows the action; empty if none fits.

    """

    subject: str
    action: str
    region: str = ""
    policy: str = ""


def source_error(error: Exception, call: Call, principal: Callable[[], str]) -> SourceError:
    """Return our error for an error of boto3.

    Args:
        error: what boto3 raised.
        call: the call that failed.
        principal: asks AWS for our ARN, empty if unknown; used only if the answer lacks it.

    """
    from botocore import exceptions as raised

    if isinstance(error, (MemoryError, SystemError)):
        return SourceError(
            f"not enough memory for {call.action}",
            "raise the limit (MemoryMax, TasksMax)",
            subject=call.subject,
            reference="host-out-of-memory",
        )
    if isinstance(error, raised.ClientError):
        return _answered(error.response, call, principal)
    if isinstance(error, (raised.NoCredentialsError, raised.PartialCredentialsError)):
        return SourceError(
            "no AWS credentials",
            "attach an instance profile, or set AWS_PROFILE or AWS_ACCESS_KEY_ID (in a container,"
            " the metadata service needs a hop limit of 2)",
            subject=call.subject,
            reference="aws-no-credentials",
        )
    if isinstance(error, raised.ProfileNotFound):
        return SourceError(
            "no such AWS profile",
            "list them: aws configure list-profiles",
            subject=call.subject,
            reference="aws-profile-missing",
        )
    if isinstance(error, raised.ConfigParseError):
        return SourceError(
            "~/.aws/config is malformed",
            "run aws configure list to see where",
            subject=call.subject,
            reference="aws-config-malformed",
        )
    if isinstance(error, (raised.NoRegionError, raised.InvalidRegionError)):
        return SourceError(
            "no valid AWS region is set",
            "set AWS_REGION",
            subject=call.subject,
            reference="aws-region-invalid",
        )
    if isinstance(error, (raised.SSOTokenLoadError, raised.UnauthorizedSSOTokenError)):
        return SourceError(
            "the SSO session has expired",
            "run aws sso login",
            subject=call.subject,
            reference="aws-sso-expired",
        )
    if isinstance(error, raised.SSLError):
        return _tls(error, call)
    if isinstance(error, (raised.HTTPClientError, raised.ConnectionError)):
        where = f" in {call.region}" if call.region else ""
        return SourceError(
            f"no answer from AWS{where} ({type(error).__name__})",
            "check the region, the route, the proxy and the VPC endpoints",
            subject=call.subject,
            reference="aws-unreachable",
            retryable=True,
        )
    if isinstance(error, (raised.FlexibleChecksumError, raised.IncompleteReadError, DamagedError)):
        return SourceError(
            "arrived damaged: its length or checksum does not match",
            "run this again; if it stays, publish the object again",
            subject=call.subject,
            reference="object-damaged",
            retryable=True,
        )
    if isinstance(error, (raised.DataNotFoundError, ImportError)) or _is_of_host(error):
        return SourceError(
            f"{call.action} failed: a file of this host could not be opened or read"
            f" ({type(error).__name__})",
            "check the disk and ulimit -n; if it stays, reinstall ecsauth",
            subject=call.subject,
            reference="host-file-unreadable",
        )
    if isinstance(error, FileNotFoundError):
        return SourceError(
            "no AWS credentials: the file or program that provides them is missing",
            "check AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE and"
            " credential_process",
            subject=call.subject,
            reference="aws-credentials-file-missing",
        )
    if isinstance(error, raised.BotoCoreError):
        return SourceError(
            f"{call.action} failed ({type(error).__name__})",
            _CHECK_SETUP,
            subject=call.subject,
            reference="aws-call-failed",
        )
    return SourceError(
        f"{call.action} failed: unexpected AWS response or invalid AWS setting"
        f" ({type(error).__name__})",
        _CHECK_SETUP,
        subject=call.subject,
        reference="aws-unexpected-answer",
    )


def _is_of_host(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _HOST_FAULTS


def _tls(error: BaseException, call: Call) -> SourceError:
    import ssl  # botocore has loaded it

    if _is_caused_by(error, ssl.SSLCertVerificationError):
        return SourceError(
            "the certificate of AWS is not trusted",
            "check AWS_CA_BUNDLE",
            subject=call.subject,
            reference="aws-tls-untrusted",
        )
    return SourceError(
        "the TLS handshake with AWS failed",
        "check for a proxy or a wrong AWS_ENDPOINT_URL",
        subject=call.subject,
        reference="aws-tls-failed",
        retryable=True,
    )


def _is_caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    seen: list[object] = []
    todo: list[object] = [error]
    while todo:
        item = todo.pop()
        if isinstance(item, kind):
            return True
        if isinstance(item, BaseException) and item not in seen:
            seen.append(item)
            # botocore and urllib3 keep the wrapped error in attributes and arguments.
            kept = getattr(item, "kwargs", {})
            todo += [item.__cause__, item.__context__, *item.args, kept.get("error")]
            todo.append(getattr(item, "reason", None))
    return False


def _answered(response: Mapping[str, Any], call: Call, principal: Callable[[], str]) -> SourceError:
    answer = response.get("Error", {})
    code, text = str(answer.get("Code", "unknown")), str(answer.get("Message", ""))
    where = f" in {call.region}" if call.region else ""
    if code in _CLOCK_CODES or any(words in text.lower() for words in _CLOCK_WORDS):
        true_time = _date(response)
        return ClockError(
            f"the clock of this host is {_skew(true_time)}",
            "set it (chronyc makestep) and keep it synchronized (chrony, 169.254.169.123)",
            true_time,
            subject=call.subject,
        )
    if code in _DENIED:
        return _denied(text, call, principal)
    if code in _EXPIRED:
        return SourceError(
            "the AWS credentials have expired",
            "log in to AWS again",
            subject=call.subject,
            reference="aws-credentials-expired",
        )
    if code in _UNKNOWN_KEYS:
        return SourceError(
            f"AWS{where} rejected the access key or its signature",
            "check the keys; they are also rejected in a region of another partition, or in one"
            " that the account has not enabled",
            subject=call.subject,
            reference="aws-credentials-rejected",
        )
    if code in THROTTLED:
        return SourceError(
            f"AWS throttles {call.action}",
            "wait, then try again",
            subject=call.subject,
            reference="aws-throttled",
            retryable=True,
        )
    if code == "NoSuchBucket":
        return SourceError(
            "there is no such bucket",
            "check its name",
            subject=call.subject,
            reference="bucket-missing",
        )
    if code in _MISSING:
        return SourceError(
            f"there is no such name{where}",
            "check the name and its region",
            subject=call.subject,
            reference="secret-missing",
        )
    if code == "InvalidRequestException" and "delet" in text:
        return SourceError(
            "it is marked for deletion",
            "restore it, or name another",
            subject=call.subject,
            reference="secret-deleted",
        )
    safe = code if code.isalnum() and len(code) < 80 else "an unknown error"
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_theirs = isinstance(status, int) and status >= 500
    hint = "try again later; see https://health.aws.amazon.com"
    if not is_theirs:
        hint = _CHECK_SETUP if safe.isdigit() else "see this error in AWS's API reference"
    return SourceError(
        f"{call.action} failed: {safe}",
        hint,
        subject=call.subject,
        reference="aws-server-error" if is_theirs else "aws-call-refused",
        retryable=is_theirs,
    )


def _denied(text: str, call: Call, principal: Callable[[], str]) -> SourceError:
    """Name the action and the principal; AWS's answer, if it has them, is the most precise."""
    said = re.search(r"not authorized to perform:? (\S+)", text)
    action = said[1].rstrip(".,") if said else ""
    if not _ACTION.fullmatch(action):
        action = "kms:Decrypt" if "kms" in text.lower() else call.action
    found = _ARN.search(text)
    arn = found[0] if found else principal()
    who = f" for {arn}" if arn else ""
    to = _role(arn)
    if action == "sts:AssumeRole":
        hint = f"add {to} to the role's trust policy, and allow {action} to {to}"
    elif call.policy and action in call.action:
        hint = f"attach {call.policy} to {to}"
    elif action == "s3:GetObject":
        hint = f"allow {action} to {to}, and s3:ListBucket if the object does not exist yet"
    else:
        hint = f"allow {action} to {to}"
    return SourceError(
        f"access denied to {action}{who}",
        hint,
        subject=call.subject,
        reference="aws-access-denied",
    )


def _role(arn: str) -> str:
    kind, _, rest = arn.rpartition("::")[2].partition(":")[2].partition("/")
    if kind == "assumed-role":
        return f"role {rest.partition('/')[0]}"
    return f"{kind} {rest}" if rest else "the caller's role"


def _date(response: Mapping[str, Any]) -> float | None:
    """Return the date of AWS's answer (Unix seconds); None if it has none."""
    import email.utils  # takes 8 ms to load and is rarely needed

    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return email.utils.parsedate_to_datetime(str(headers.get("date", ""))).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _skew(true_time: float | None) -> str:
    """Say how wrong this host's clock is."""
    seconds = 0.0 if true_time is None else time.time() - true_time
    if abs(seconds) < 60:
        return "wrong"
    return f"{abs(seconds) / 60:,.0f} min {'fast' if seconds > 0 else 'slow'}"
