"""Check a target as each of its readers sees it, and fix what is safe to fix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.json_text import go_trim
from ecsauth.credentials.registry import parse_auth_key
from ecsauth.engine_auth import agent_json
from ecsauth.engine_auth import env_file as ecs_config
from ecsauth.engine_auth.check.finding import ERROR, WARNING, Finding, error, warning
from ecsauth.engine_auth.check.lines import BOM, check_lines, intended
from ecsauth.engine_auth.check.settings import check_settings
from ecsauth.engine_auth.codec import (
    AUTH_DATA_KEY,
    AUTH_TYPE_KEY,
    DOCKER,
    DOCKERCFG,
    UNSET,
    AgentView,
    EngineAuth,
    choose_format,
    decode,
    difference,
    encode,
)
from ecsauth.engine_auth.env_file import Line
from ecsauth.engine_auth.layouts import AGENT_JSON, Layout
from ecsauth.engine_auth.salvage import read_present
from ecsauth.errors import TargetError

__all__ = [
    "ERROR",
    "WARNING",
    "Finding",
    "Surroundings",
    "check_agent_json",
    "check_env_file",
    "check_text",
    "fix",
    "fix_agent_json",
    "fix_text",
]


@dataclass(frozen=True)
class Surroundings:
    """What else affects the findings on a target.

    Attributes:
        mode: the file's permission bits; None if the target is not a file.
        is_owned_by_root: whether root owns the file; None if the target is not a file.
        instance_settings: those in ``/var/lib/ecs/ecs.config``, which ecs-init reads first.
        env_file_settings: those in ``ecs.config``, for a check of the JSON file.
        json_settings: those in ``ecs.config.json``, for a check of ``ecs.config``.

    """

    mode: int | None = None
    is_owned_by_root: bool | None = None
    instance_settings: EngineAuth = UNSET
    env_file_settings: EngineAuth = UNSET
    json_settings: EngineAuth = UNSET


_ALONE = Surroundings()


def check_env_file(data: bytes, now: float, around: Surroundings = _ALONE) -> tuple[Finding, ...]:
    """Check the text of ``ecs.config``; return findings in line order.

    Args:
        data: the file's bytes.
        now: Unix seconds.
        around: what else affects the findings.

    """
    lines = ecs_config.parse_lines(data)
    numbers = {line.name: number for number, line in enumerate(lines, 1) if line.name}
    spread = ecs_config.spread_lines(data)
    shown = [Line("") if number in spread else line for number, line in enumerate(lines, 1)]
    settings = ecs_config.merged(ecs_config.read_engine_auth(data), around.instance_settings)
    of_settings = check_settings(
        settings,
        ecs_config.full_value(data) or around.instance_settings.auth_data,
        numbers.get(AUTH_TYPE_KEY, 0),
        numbers.get(AUTH_DATA_KEY, 0),
        now,
    )
    is_split = around.instance_settings.is_set
    found = [
        *check_lines(shown),
        *(replace(item, fixable=False) if is_split else item for item in of_settings),
        *_around_env_file(ecs_config.read_engine_auth(data), around),
        *_access(settings, around),
    ]
    return tuple(sorted(found, key=lambda item: item.line or len(lines) + 1))


def check_agent_json(data: bytes, now: float, around: Surroundings = _ALONE) -> tuple[Finding, ...]:
    """Check the text of the agent's JSON file; arguments as for `check_env_file`."""
    try:
        settings = agent_json.read_engine_auth(data)
    except TargetError as fault:
        what = str(fault.message)
        return (error("json", what, "the agent ignores the whole file", fault.hint),)
    found = [*check_settings(settings, settings.auth_data, 0, 0, now), *_access(settings, around)]
    if settings.is_set and around.env_file_settings.is_set:
        found.append(
            error(
                "overruled",
                "ecs.config has these settings too",
                "the environment takes precedence: the agent ignores those in the JSON file",
                "remove them from one of the two files",
            )
        )
    return tuple(found)


def check_text(
    layout: Layout, data: bytes, now: float, around: Surroundings = _ALONE
) -> tuple[Finding, ...]:
    """Check a target's text with `check_agent_json` or `check_env_file`, by its layout."""
    check = check_agent_json if layout is AGENT_JSON else check_env_file
    return check(data, now, around)


def fix_text(layout: Layout, data: bytes) -> bytes:
    """Fix a target's text with `fix_agent_json` or `fix`, by its layout."""
    return fix_agent_json(data) if layout is AGENT_JSON else fix(data)


def fix(data: bytes) -> bytes:
    """Fix what is safe to fix in ``ecs.config``; return the same bytes if nothing is.

    A line that was meant to set one of our settings is corrected unless another line sets it, a
    byte order mark is removed, and the logins that the author meant are written as the agent
    reads them. Other lines stay. If an entry that may hold a login would be lost, nothing changes.
    """
    lines = ecs_config.parse_lines(_without_bom(data))
    is_set = {line.name for line in lines}
    corrected = [_corrected(line, is_set) for line in lines]
    text = "".join(line.text + line.end for line in corrected).encode("utf-8", "surrogateescape")
    current = ecs_config.read_engine_auth(text)
    settings = _meant(current, ecs_config.full_value(text))
    if settings is not None and _is_equivalent(current, settings):
        settings = current if ecs_config.is_untidy(text) else None
    repaired = text if settings is None else ecs_config.write_engine_auth(text, settings)
    before = decode(ecs_config.read_engine_auth(data))
    after = decode(ecs_config.read_engine_auth(repaired))
    return repaired if _keeps_logins(before, after) else data


def fix_agent_json(data: bytes) -> bytes:
    """Fix the settings in the agent's JSON file, as `fix` does.

    Raises:
        TargetError: the text is not valid JSON for the agent.

    """
    current = agent_json.read_engine_auth(data)
    settings = _meant(current, current.auth_data)
    if settings is not None and _is_equivalent(current, settings):
        settings = None
    return data if settings is None else agent_json.write_engine_auth(data, settings)


def _meant(current: EngineAuth, lenient_data: str) -> EngineAuth | None:
    """Return the settings as their author meant them; None if they cannot be recovered in full."""
    present_ = read_present(current, lenient_data)
    found = present_.credentials
    if not found or present_.dropped:
        return None
    keys = Counter(item.registry for item in found)
    present = [_with_plain_key(item) if keys[item.registry] == 1 else item for item in found]
    named = go_trim(current.auth_type).strip("'\"").lower()
    is_docker = named == DOCKER or (named != DOCKERCFG and _in_docker_form(present))
    return encode(present, choose_format(present, DOCKER if is_docker else DOCKERCFG))


def _with_plain_key(item: Credential) -> Credential:
    """Drop a meaningless path from the key of a registry that has no other key."""
    return replace(item, auth_key=parse_auth_key(item.auth_key.text))


def _in_docker_form(present: Sequence[Credential]) -> bool:
    return any(item.needs_docker_format for item in present)


def _is_equivalent(current: EngineAuth, lenient: EngineAuth) -> bool:
    """Return whether the agent reads the same from both, so that nothing needs fixing."""
    view = decode(current)
    is_same = not difference(decode(lenient).credentials, view)
    return is_same and current.auth_type == lenient.auth_type and not view.skipped


def _keeps_logins(before: AgentView, after: AgentView) -> bool:
    """Return whether the agent still reads every login that it read before."""
    have = {item.login for item in before.credentials if any(item.login[1:])}
    return not after.fault and have <= {item.login for item in after.credentials}


def _corrected(line: Line, is_set: Set[str]) -> Line:
    lenient = intended(line)
    if lenient is None or lenient[0] in is_set:
        return line
    end = "\r" if line.text.endswith("\r") else ""
    return replace(line, text=f"{lenient[0]}={lenient[1]}{end}")


def _without_bom(data: bytes) -> bytes:
    mark = BOM.encode()
    while data.startswith(mark):
        data = data[len(mark) :]
    return data


def _around_env_file(settings: EngineAuth, around: Surroundings) -> Iterator[Finding]:
    if around.instance_settings.is_set:
        yield warning(
            "elsewhere",
            "/var/lib/ecs/ecs.config has these settings too",
            "ecs-init reads it first, then /etc/ecs/ecs.config overrides it"
            if settings.is_set
            else "ecs-init uses them",
            "keep them in one file",
        )
    if settings.is_set and around.json_settings.is_set:
        yield warning(
            "elsewhere",
            "ecs.config.json has these settings too",
            "the environment takes precedence: the agent ignores those in the JSON file",
            "keep them in one file",
        )


def _access(settings: EngineAuth, around: Surroundings) -> Iterator[Finding]:
    if not settings.auth_data:
        return
    if around.mode is not None and around.mode & 0o077:
        yield warning(
            "mode",
            f"the file's mode is {around.mode:04o}",
            "other users of this host can read the secrets in it"
            if around.mode & 0o044
            else "other users of this host have access to it",
            "chmod 600",
            fixable=True,
        )
    if around.is_owned_by_root is False:
        yield warning(
            "owner",
            "the file is not owned by root",
            "its owner can read the secrets in it, and change how the agent runs",
            "chown root",
        )
