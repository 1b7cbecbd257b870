"""Log in to registries as docker would and report their answers; nothing is stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from ecsauth.credentials.credential import Credential
from ecsauth.credentials.verdict import Verdict
from ecsauth.registries.login import is_loopback, log_in
from ecsauth.registries.pool import run_all

__all__ = ["verify_all"]


def verify_all(
    credentials: Sequence[Credential],
    *,
    timeout: float,
    insecure: Sequence[str] = (),
    ca_file: Path | None = None,
    on_verdict: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Log in with each credential, several at a time; return verdicts in the same order.

    Args:
        credentials: what to log in with.
        timeout: seconds for each registry, all its requests together.
        insecure: registries with untrusted TLS or none; loopback always counts as one.
        ca_file: CA certificates to trust besides the system's and docker's own.
        on_verdict: called with each verdict as it arrives.

    Raises:
        UsageError: `ca_file` holds no certificates.

    """
    # Imported late: urllib3 takes longer to load than most commands take to run.
    from ecsauth.registries.http import UrllibHttp, check_ca_file

    check_ca_file(ca_file)

    def one(credential: Credential) -> Verdict:
        host = credential.registry
        is_insecure = host in insecure or is_loopback(host)
        unverified = frozenset({host}) if is_insecure else frozenset()
        return log_in(credential, UrllibHttp(timeout, ca_file, unverified), insecure=is_insecure)

    return run_all(credentials, one, timeout, on_verdict, time.monotonic, time.sleep)
