"""What an error of boto3 means and what to do about it. Its own text is never shown.

Codes and messages: the Common Errors and the GetAuthorizationToken, AssumeRole, GetSecretValue
and GetParameter pages of the AWS API references.
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
_LOOK_AROUND = "look for a proxy, a wrong AWS_ENDPOINT_URL or a fault in ~/.aws/config"
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
    """What came is not what was stored."""


@dataclass(frozen=True)
class Call:
    """What was asked of AWS.

    Attributes:
        subject: the source, as the user names it.
        action: the IAM action.
        region: where.
        policy: the managed policy that allows the action, if there is a fitting one.

    """

    subject: str
    action: str
    region: str = ""
    policy: str = ""


def source_error(error: Exception, call: Call, principal: Callable[[], str]) -> SourceError:
    """Return our error for one of boto3's.

    Args:
        error: what boto3 raised.
        call: what was asked.
        principal: asks AWS who we are (an ARN, or empty); used only if AWS did not say.

    """
    from botocore import exceptions as raised

    if isinstance(error, (MemoryError, SystemError)):
        return SourceError(
            f"there is too little memory for {call.action}",
            "raise the limit (MemoryMax, TasksMax)",
            subject=call.subject,
        )
    if isinstance(error, raised.ClientError):
        return _answered(error.response, call, principal)
    if isinstance(error, (raised.NoCredentialsError, raised.PartialCredentialsError)):
        return SourceError(
            "no AWS credentials",
            "attach an instance profile, or set AWS_PROFILE or AWS_ACCESS_KEY_ID (in a container,"
            " the metadata service needs a hop limit of 2)",
            subject=call.subject,
        )
    if isinstance(error, raised.ProfileNotFound):
        return SourceError(
            "no such AWS profile", "see aws configure list-profiles", subject=call.subject
        )
    if isinstance(error, raised.ConfigParseError):
        return SourceError(
            "~/.aws/config is malformed", "see aws configure list", subject=call.subject
        )
    if isinstance(error, (raised.NoRegionError, raised.InvalidRegionError)):
        return SourceError("no valid AWS region is set", "set AWS_REGION", subject=call.subject)
    if isinstance(error, (raised.SSOTokenLoadError, raised.UnauthorizedSSOTokenError)):
        return SourceError("the SSO session has expired", "run aws sso login", subject=call.subject)
    if isinstance(error, raised.SSLError):
        return _tls(error, call)
    if isinstance(error, (raised.HTTPClientError, raised.ConnectionError)):
        where = f" in {call.region}" if call.region else ""
        return SourceError(
            f"no answer from AWS{where} ({type(error).__name__})",
            "is the region right? look at the route, the proxy and the VPC endpoints",
            subject=call.subject,
        )
    if isinstance(error, (raised.FlexibleChecksumError, raised.IncompleteReadError, DamagedError)):
        return SourceError(
            f"{call.subject} came damaged: it is not what its checksum says",
            "try again; else publish it again",
        )
    if isinstance(error, (raised.DataNotFoundError, ImportError)) or _is_of_host(error):
        return SourceError(
            f"{call.action} failed: this host could not read or open something"
            f" ({type(error).__name__})",
            "look at the disk and ulimit -n; if it stays, install ecsauth again",
            subject=call.subject,
        )
    if isinstance(error, FileNotFoundError):
        return SourceError(
            "no AWS credentials: a file or program that gives them is missing",
            "look at AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE and"
            " credential_process",
            subject=call.subject,
        )
    if isinstance(error, raised.BotoCoreError):
        return SourceError(
            f"{call.action} failed ({type(error).__name__})", _LOOK_AROUND, subject=call.subject
        )
    return SourceError(
        f"{call.action} failed: a setting or an answer is not as AWS's ({type(error).__name__})",
        _LOOK_AROUND,
        subject=call.subject,
    )


def _is_of_host(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _HOST_FAULTS


def _tls(error: BaseException, call: Call) -> SourceError:
    import ssl  # botocore has loaded it

    if _is_caused_by(error, ssl.SSLCertVerificationError):
        return SourceError(
            "the certificate of AWS is not trusted", "see AWS_CA_BUNDLE", subject=call.subject
        )
    return SourceError(
        "what answers does not speak TLS as it should",
        "look for a proxy or a wrong AWS_ENDPOINT_URL",
        subject=call.subject,
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
            # botocore and urllib3 keep what they wrap in attributes and arguments
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
            "set it (chronyc makestep) and keep it set (chrony, 169.254.169.123)",
            true_time,
            subject=call.subject,
        )
    if code in _DENIED:
        return _denied(text, call, principal)
    if code in _EXPIRED:
        return SourceError(
            "the AWS credentials have expired", "log in to AWS again", subject=call.subject
        )
    if code in _UNKNOWN_KEYS:
        return SourceError(
            f"AWS{where} does not know these credentials",
            "look at the keys; a region of another partition, or one that the account has not"
            " enabled, does not know them either",
            subject=call.subject,
        )
    if code in THROTTLED:
        return SourceError(
            f"AWS throttles {call.action}", "wait, then try again", subject=call.subject
        )
    if code == "NoSuchBucket":
        return SourceError("there is no such bucket", "look at its name", subject=call.subject)
    if code in _MISSING:
        return SourceError(
            f"there is no such name{where}", "look at its region", subject=call.subject
        )
    if code == "InvalidRequestException" and "delet" in text:
        return SourceError(
            "it is marked for deletion", "restore it, or another", subject=call.subject
        )
    safe = code if code.isalnum() and len(code) < 80 else "an unknown error"
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_theirs = isinstance(status, int) and status >= 500
    hint = "AWS has trouble: try again later; see https://health.aws.amazon.com"
    if not is_theirs:
        hint = (
            _LOOK_AROUND if safe.isdigit() else "see the errors of that action in AWS's API pages"
        )
    return SourceError(f"{call.action} failed: {safe}", hint, subject=call.subject)


def _denied(text: str, call: Call, principal: Callable[[], str]) -> SourceError:
    """Name the action and the principal: from the answer if it has them, for it is precise."""
    said = re.search(r"not authorized to perform:? (\S+)", text)
    action = said[1].rstrip(".,") if said else ""
    if not _ACTION.fullmatch(action):
        action = "kms:Decrypt" if "kms" in text.lower() else call.action
    found = _ARN.search(text)
    arn = found[0] if found else principal()
    who = f" for {arn}" if arn else ""
    to = _role(arn)
    if action == "sts:AssumeRole":
        hint = f"let the role's trust policy name {to}, and allow {action} to {to}"
    elif call.policy and action in call.action:
        hint = f"attach {call.policy} to {to}"
    elif action == "s3:GetObject":
        hint = f"allow {action} to {to}; while there is no object yet, s3:ListBucket too"
    else:
        hint = f"allow {action} to {to}"
    return SourceError(f"access denied to {action}{who}", hint, subject=call.subject)


def _role(arn: str) -> str:
    kind, _, rest = arn.rpartition("::")[2].partition(":")[2].partition("/")
    if kind == "assumed-role":
        return f"role {rest.partition('/')[0]}"
    return f"{kind} {rest}" if rest else "the caller's role"


def _date(response: Mapping[str, Any]) -> float | None:
    """Return the date in AWS's answer (Unix seconds); None if there is none."""
    import email.utils  # 8 ms, and hardly ever needed

    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return email.utils.parsedate_to_datetime(str(headers.get("date", ""))).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _skew(true_time: float | None) -> str:
    """Say how wrong our clock is."""
    seconds = 0.0 if true_time is None else time.time() - true_time
    if abs(seconds) < 60:
        return "wrong"
    return f"{abs(seconds) / 60:,.0f} min {'fast' if seconds > 0 else 'slow'}"
