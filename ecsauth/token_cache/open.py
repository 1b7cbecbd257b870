"""Open this user's cache."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ecsauth.token_cache.answers import cache_directory, is_disabled
from ecsauth.token_cache.cache import Cache, CachedToken, NoCache, open_cache
from ecsauth.token_cache.server import Server
from ecsauth.token_cache.vault import EcrVault, Outside

if TYPE_CHECKING:
    from ecsauth.aws.ecr_tokens import EcrTokens


def make_vault(
    environment: Mapping[str, str],
    log: Callable[[str, str], None],
    tokens: EcrTokens | None = None,
) -> EcrVault:
    """Return this user's vault; it opens the cache and calls AWS only when needed.

    Args:
        environment: environment variables.
        log: takes a level and a text.
        tokens: calls AWS; given if this process already has one to share.

    """
    outside = Outside(environment, home_of(environment), log)

    def opened() -> Cache:
        directory = "" if is_disabled(environment) else cache_directory(environment, outside.home)
        cache, why_not = open_cache(directory, environment, outside.home)
        if isinstance(cache, NoCache) and why_not:
            log("warning", why_not)
        return cache

    return EcrVault(opened, _LazyAsker(environment, tokens), outside)


def home_of(environment: Mapping[str, str]) -> str:
    """Return the home directory: HOME, else that of the user database; empty if neither has it."""
    home = environment.get("HOME", "")
    if home:
        return home
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def cache_path(environment: Mapping[str, str]) -> Path | None:
    """Return the directory of this user's cache and log; None if there is none."""
    directory = cache_directory(environment, home_of(environment))
    return Path(directory) if directory else None


class _LazyAsker:
    """Loads the AWS modules only when it is called."""

    def __init__(self, environment: Mapping[str, str], tokens: EcrTokens | None) -> None:
        self._environment = environment
        self._tokens = tokens

    def __call__(self, server: Server, *, is_hurried: bool) -> CachedToken:
        """Return a token; raise SourceError if AWS gave none."""
        # This loads botocore, which a hit and `list` do not need.
        from ecsauth.token_cache.ask import AwsAsker

        return AwsAsker(self._environment, self._tokens)(server, is_hurried=is_hurried)
