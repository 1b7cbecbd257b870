"""The target ``helper:`` of refresh: keep the credential helper's cache warm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecsauth.app.requests import HELPER
from ecsauth.aws.ecr_tokens import PUBLIC_HOST
from ecsauth.aws.session import Identity
from ecsauth.credentials.registry import EcrRegistry
from ecsauth.errors import EcsauthError, TargetError, UsageError
from ecsauth.sources.ecr import EcrPublicSource, EcrSource
from ecsauth.token_cache.log import Log
from ecsauth.token_cache.open import cache_path, make_vault
from ecsauth.token_cache.server import Server

if TYPE_CHECKING:
    from ecsauth.app.ports import Ports
    from ecsauth.sources.source import Source

AHEAD_SECONDS = 3600.0
"""How much earlier than by the helper itself a token is renewed: several runs of a timer."""


@dataclass(frozen=True)
class Warmed:
    """The outcome for the cache.

    Attributes:
        renewed: hosts with a new token.
        kept: hosts whose token is fresh.
        problems: one for each source without a token.
        is_dry: nothing was fetched; `renewed` says what would have been.

    """

    renewed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    problems: tuple[EcsauthError, ...] = ()
    is_dry: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code of a command that warms only the cache."""
        return max((problem.exit_code for problem in self.problems), default=0)


def check_sources(sources: Sequence[Source]) -> None:
    """Refuse sources if none of them concerns the helper.

    Raises:
        UsageError: none is in ECR.

    """
    if not any(isinstance(source, (EcrSource, EcrPublicSource)) for source in sources):
        raise UsageError(
            f"{HELPER} takes only ECR tokens",
            "add a source ecr: or ecr-public:",
            reference="usage-target",
        )


def warm(sources: Sequence[Source], ports: Ports, *, force: bool, dry_run: bool) -> Warmed:
    """Renew what the helper would soon have to fetch.

    Args:
        sources: of the run; those in ECR count, and share their tokens with the helper's cache.
        ports: the outside.
        force: renew everything, due or not.
        dry_run: only say what would be renewed.

    """
    renewed: list[str] = []
    kept: list[str] = []
    problems: list[EcsauthError] = []
    ahead = float("inf") if force else AHEAD_SECONDS
    environment = ports.environment
    for source in sources:
        if not isinstance(source, (EcrSource, EcrPublicSource)) or not _is_seen(source, ports):
            continue
        vault = make_vault(environment, Log(cache_path(environment)), source.tokens)
        try:
            if not vault.has_cache:
                raise TargetError(
                    f"{HELPER} there is no cache to keep warm",
                    "check AWS_ECR_DISABLE_CACHE, and the owner and mode of ~/.ecr (0700)",
                    reference="helper-no-cache",
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


def _is_seen(source: EcrSource | EcrPublicSource, ports: Ports) -> bool:
    """Return whether the helper uses the same principal; warn if it does not."""
    if source.identity == Identity():
        return True
    ports.warn(
        f"{source.name}: the helper does not see these parameters, so its cache is not warmed: set"
        " AWS_PROFILE_<account> or AWS_ROLE_ARN_<account> instead"
    )
    return False


def _server(source: EcrSource | EcrPublicSource) -> Server:
    """Return the server to ask the helper for; raise SourceError if no region is set."""
    if isinstance(source, EcrPublicSource):
        return Server(PUBLIC_HOST, None)
    if source.registry is not None:
        return Server(source.registry.host, source.registry)
    return Server("", EcrRegistry("", "", source.own_region(), fips=False, dual_stack=False))
