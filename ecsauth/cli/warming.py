"""The target ``helper:`` of refresh: the credential helper's cache is kept warm."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ecsauth.aws import Identity
from ecsauth.cli.console import say
from ecsauth.errors import EcsauthError, TargetError, UsageError
from ecsauth.helper.log import Log
from ecsauth.helper.program import cache_path, make_vault
from ecsauth.helper.protocol import Server
from ecsauth.registry import EcrRegistry
from ecsauth.sources import AnySource
from ecsauth.sources.ecr import PUBLIC_HOST, EcrPublicSource, EcrSource
from ecsauth.targets import HELPER

AHEAD_SECONDS = 3600.0
"""How long before the helper itself would a token is renewed: some runs of a timer."""


@dataclass(frozen=True)
class Warmed:
    """What became of the cache.

    Attributes:
        renewed: hosts that a new token serves.
        kept: hosts whose token is fresh.
        problems: one for each source that gave none.
        is_dry: nothing was fetched; `renewed` would have been.

    """

    renewed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    problems: tuple[EcsauthError, ...] = ()
    is_dry: bool = False

    @property
    def code(self) -> int:
        """Return the exit code."""
        return max((problem.exit_code for problem in self.problems), default=0)

    @property
    def line(self) -> str:
        """Return it in words."""
        if self.problems and not self.renewed and not self.kept:
            return f"{HELPER} nothing could be fetched"
        if self.renewed:
            would = "would fetch " if self.is_dry else ""
            return f"{HELPER} {would}a new token for {', '.join(self.renewed)}"
        return f"{HELPER} nothing is due"

    def as_json(self) -> dict[str, Any]:
        """Return it as one of the targets of a run."""
        return {
            "target": HELPER,
            "written": bool(self.renewed) and not self.is_dry,
            "registries": {
                **dict.fromkeys(self.kept, "unchanged"),
                **dict.fromkeys(self.renewed, "updated"),
            },
            "code": self.code,
            "error": str(self.problems[0]) if self.problems else None,
        }


def check_sources(sources: Sequence[AnySource]) -> None:
    """Refuse sources of which none is the helper's business.

    Raises:
        UsageError: none is in ECR.

    """
    if not any(isinstance(source, (EcrSource, EcrPublicSource)) for source in sources):
        raise UsageError(f"{HELPER} takes tokens of ECR only", "name a source ecr: or ecr-public:")


def warm(sources: Sequence[AnySource], *, force: bool, dry_run: bool) -> Warmed:
    """Renew what the helper would soon have to ask for.

    Args:
        sources: of the run; those of ECR count, and share their tokens with the helper's cache.
        force: renew it, due or not.
        dry_run: only say what would be renewed.

    """
    renewed: list[str] = []
    kept: list[str] = []
    problems: list[EcsauthError] = []
    ahead = float("inf") if force else AHEAD_SECONDS
    for source in sources:
        if not isinstance(source, (EcrSource, EcrPublicSource)) or not _is_seen_by_helper(source):
            continue
        vault = make_vault(os.environ, Log(cache_path(os.environ)), source.tokens)
        try:
            if not vault.has_cache:
                raise TargetError(
                    f"{HELPER} there is no cache to keep warm",
                    "look at AWS_ECR_DISABLE_CACHE, and at the owner and mode of ~/.ecr (0700)",
                )
            server = _server(source)
            if dry_run:
                hosts, is_new = [server.host or source.name], vault.is_due(server, ahead)
            else:
                hosts, is_new = vault.warm(server, ahead)
        except EcsauthError as error:
            problems.append(error)
            continue
        (renewed if is_new else kept).extend(hosts)
    return Warmed(
        tuple(dict.fromkeys(renewed)),
        tuple(host for host in dict.fromkeys(kept) if host not in renewed),
        tuple(problems),
        dry_run,
    )


def _is_seen_by_helper(source: EcrSource | EcrPublicSource) -> bool:
    """Return whether the helper would ask as the same; say so if it would not."""
    if source.identity != Identity():
        say(
            "warning",
            f"{source.name}: the helper does not see its parameters, so that its cache is not"
            " warmed: set AWS_PROFILE_<account> or AWS_ROLE_ARN_<account> instead",
        )
        return False
    return True


def _server(source: EcrSource | EcrPublicSource) -> Server:
    """Return what the helper would be asked for.

    Raises:
        SourceError: no region is set.

    """
    if isinstance(source, EcrPublicSource):
        return Server(PUBLIC_HOST, None)
    if source.registry is not None:
        return Server(source.registry.host, source.registry)
    return Server("", EcrRegistry("", "", source.own_region(), fips=False, dual_stack=False))
