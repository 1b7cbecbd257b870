"""Settings, and the settings file.

If a setting has several values, the first of these wins:

1. the option on the command line (``--lock-timeout``);
2. the environment variable (``ECSAUTH_LOCK_TIMEOUT``);
3. the same name in the settings file, by default ``/etc/ecsauth/ecsauth.env``;
4. the default that ``--help`` shows.

The file is read by python-dotenv without interpolation, and also by systemd as an
``EnvironmentFile`` (systemd.exec(5)). Both read a line ``NAME=value`` or ``NAME="value"`` without
backslashes the same way; any other line causes a warning. Other names (``AWS_PROFILE``) are put
into the environment too.
"""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ecsauth.errors import EcsauthError, UsageError
from ecsauth.host.atomic_file import read_regular

DEFAULT_ENV_FILE = "/etc/ecsauth/ecsauth.env"
PREFIX = "ECSAUTH_"
NAMES = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "BASE",
        "BIN_DIR",
        "BUCKET_KEY",
        "CA_FILE",
        "CLUSTER",
        "DOCUMENT",
        "DRAIN",
        "DRAIN_TIMEOUT",
        "DRY_RUN",
        "ENV_FILE",
        "EVERY",
        "EXPECTED_BUCKET_OWNER",
        "FIX",
        "FLEET_TIMEOUT",
        "FORCE",
        "FORCE_RESTART",
        "FORMAT",
        "FROM",
        "HELPER_TIMEOUT",
        "INSECURE_REGISTRY",
        "INTROSPECTION_URL",
        "JITTER",
        "JSON",
        "KMS_KEY_ID",
        "LOCK_TIMEOUT",
        "LOGOUT",
        "LOG_FORMAT",
        "MAX_CONCURRENCY",
        "MAX_ERRORS",
        "MIN_RESTART_INTERVAL",
        "OUTPUT",
        "PRINT",
        "PROFILE",
        "PROMETHEUS",
        "PRUNE_EXPIRED",
        "QUIET",
        "RAW",
        "RECHECK",
        "REGION",
        "REPLACE",
        "RESTART",
        "RESTART_AFTER_RENEWAL",
        "ROLE_ARN",
        "SELECT",
        "SERVICE_MANAGER",
        "SOURCES",
        "SSE",
        "STATE_DIR",
        "STORE",
        "TAG",
        "TARGETS",
        "TIMEOUT",
        "UNINSTALL",
        "USER",
        "VERBOSE",
        "VERIFY",
        "VERIFY_TIMEOUT",
        "WHOLE_FILE",
    )
)
"""Every variable that a command reads."""

HELPER_NAMES = frozenset({f"{PREFIX}DEBUG", f"{PREFIX}STRICT", f"{PREFIX}TRUSTED_UIDS"})
"""Variables without an option; docker-credential-ecr-login reads the first two."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_LINE = re.compile(
    r"""\s*[A-Za-z_][A-Za-z0-9_]*=('[^'\\\n]*'|"[^"\\\n]*"|[^\s'"\\#][^'"\\\n]*)?\s*"""
)
_COMMENT_BEHIND = re.compile(r"=[^'\"]*\s#")


@dataclass(frozen=True)
class SettingsFile:
    """The contents of a settings file.

    Attributes:
        values: name → value.
        lines: name → line number.
        warnings: one line each; none contains a value.

    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def load_settings(path: Path, *, required: bool) -> SettingsFile:
    """Read a settings file.

    Args:
        path: the file.
        required: whether a missing file is an error, because it was named explicitly.

    Raises:
        UsageError: it cannot be read, others can write it, or a line is not a setting.

    """
    if "{" in str(path) or "\n" in str(path):
        raise UsageError(
            "the settings file is named by its path, not by text",
            "check --env-file",
            reference="settings-file-missing",
        )
    try:
        mode = path.stat().st_mode
        text = read_regular(path).decode("utf-8")
    except FileNotFoundError:
        if not required:
            return SettingsFile()
        raise UsageError(
            "no such settings file",
            "check --env-file",
            subject=str(path),
            reference="settings-file-missing",
        ) from None
    except OSError as error:
        raise UsageError(
            f"the settings file {path} cannot be read: {error.strerror}",
            "run it with sudo, or run without it: --env-file ''",
            reference="settings-file-unreadable",
        ) from error
    except UnicodeDecodeError:
        raise UsageError(
            f"the settings file {path} is not UTF-8 text",
            "save it as UTF-8",
            reference="settings-file-encoding",
        ) from None
    except EcsauthError as error:
        raise error.as_kind(UsageError, hint="check --env-file") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"others can write the settings file {path} (mode {stat.S_IMODE(mode):04o})",
            f"chmod go-w {path}",
            reference="settings-file-writable",
        )
    return _parse(path, text)


def unknown_names(names: Iterable[str], where: str) -> list[str]:
    """Return a warning for each unknown ``ECSAUTH_`` name, with the nearest known one."""
    warnings = []
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in NAMES | HELPER_NAMES:
            from difflib import get_close_matches

            known = [item[len(PREFIX) :] for item in NAMES]
            near = get_close_matches(name[len(PREFIX) :].upper(), known, 1)
            guess = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            warnings.append(f"{where}: {name} is not a setting of ecsauth and is ignored{guess}")
    return warnings


def _parse(path: Path, text: str) -> SettingsFile:
    from dotenv.parser import parse_stream

    if text.startswith("\ufeff"):
        raise UsageError(
            "the file starts with a byte order mark",
            "save it as UTF-8 without BOM",
            subject=f"{path}:1",
            reference="settings-file-encoding",
        )
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    warnings: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _leading_lines(binding.original.string)
        if binding.error or (binding.key is not None and not _is_setting(binding.key)):
            raise _invalid_line(path, line, "not a line NAME=value", "start comments with #")
        if binding.key is None:
            continue
        if binding.value is None:
            raise _invalid_line(
                path, line, f"{binding.key} has no value", f"write {binding.key}=VALUE"
            )
        if "\0" in binding.value:
            raise _invalid_line(
                path, line, f"the value of {binding.key} contains a NUL character", "remove it"
            )
        spelled = binding.original.string
        if not _PLAIN_LINE.fullmatch(spelled) or _COMMENT_BEHIND.search(spelled):
            warnings.append(
                f"{path}:{line}: systemd reads this line differently; write {binding.key}=value or"
                f' {binding.key}="value", without export, backslashes or a comment after it'
            )
        if binding.key in values:
            warnings.append(f"{path}:{line}: {binding.key} is set twice; the last value is used")
        values[binding.key] = binding.value
        lines[binding.key] = line
    return SettingsFile(values, lines, (*warnings, *unknown_names(values, str(path))))


def _invalid_line(path: Path, line: int, what: str, hint: str) -> UsageError:
    return UsageError(what, hint, subject=f"{path}:{line}", reference="settings-line-invalid")


def _is_setting(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _leading_lines(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n")
