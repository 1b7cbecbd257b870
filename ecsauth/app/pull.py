"""pull: copy the two settings, or the whole file, from an env file in S3."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from ecsauth.agent.platform import check_platform
from ecsauth.agent.restart.policy import RestartPolicy
from ecsauth.app.delivery import agent_exit_code, delivery
from ecsauth.app.fetch import fetch_source
from ecsauth.app.history import noted_run
from ecsauth.app.pipeline import TargetResult
from ecsauth.app.refresh import Ends, RefreshRequest, RefreshResult, Show, run
from ecsauth.app.requests import (
    DEFAULT_STATE_DIR,
    DEFAULT_TARGET,
    S3_SCHEME,
    AgentAccess,
    MergeOptions,
    SourceOptions,
)
from ecsauth.app.update import Outcome, fix_target
from ecsauth.engine_auth.layouts import AGENT_JSON
from ecsauth.errors import SourceError, UsageError
from ecsauth.sources.s3 import S3Source
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.agent.restart.ports import AgentOutcome
    from ecsauth.app.ports import Ports
    from ecsauth.state.store import StateStore


@dataclass(frozen=True)
class PullRequest:
    """What to copy, and where to.

    Attributes:
        url: ``s3://BUCKET/KEY``.
        targets: files, as typed.
        whole_file: copy the whole file, not only the two settings.
        bucket_owner: the AWS account that must own the bucket; empty for any.
        merge: how the logins are merged.
        restart: when the agent is restarted.
        access: how to reach the agent.
        lock_timeout: seconds to wait for another writer, and for another run.
        state_dir: where state is kept between runs.

    """

    url: str
    targets: tuple[str, ...] = (DEFAULT_TARGET,)
    whole_file: bool = False
    bucket_owner: str = ""
    merge: MergeOptions = field(default_factory=MergeOptions)
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    access: AgentAccess = field(default_factory=AgentAccess)
    lock_timeout: float = 30.0
    state_dir: Path = DEFAULT_STATE_DIR

    def __post_init__(self) -> None:
        if not self.url.startswith(S3_SCHEME):
            raise UsageError(
                "pull reads from s3://BUCKET/KEY",
                "use ecsauth migrate for a login file",
                reference="usage-source",
            )
        if self.whole_file and len(self.targets) != 1:
            raise UsageError("--whole-file takes one TARGET", reference="usage-whole-file")


@dataclass(frozen=True)
class CopyResult:
    """The result for a file that is a copy of an object.

    Attributes:
        name: of the file.
        is_changed: its text was changed, or in a dry run would be.
        is_dry: nothing was written.
        notes: for the user, one line each.
        agent: the outcome for the agent; None if there was nothing to do.

    """

    name: str
    is_changed: bool
    is_dry: bool = False
    notes: tuple[str, ...] = ()
    agent: AgentOutcome | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return agent_exit_code(self.agent)


def pull(
    request: PullRequest,
    ports: Ports,
    show: Show = lambda _: None,
    show_copy: Callable[[CopyResult], None] = lambda _: None,
) -> RefreshResult | CopyResult:
    """Copy the settings, or with `whole_file` the whole file, to every target.

    Args:
        request: what to copy, and where to.
        ports: the outside.
        show: called with the outcome for the targets, before the agent is touched.
        show_copy: the same for a whole file.

    Raises:
        EcsauthError: nothing was written.

    """
    check_platform(request.targets)
    source = ports.edges.source(request.url, SourceOptions(0, "", request.bucket_owner))
    found = [ports.edges.target(text, request.lock_timeout) for text in request.targets]
    files = [item for item in found if isinstance(item, LocalFile)]
    if len({item.key for item in files}) != len(found):
        raise UsageError(
            "each TARGET must be a different file on this host", reference="usage-target"
        )
    if not request.whole_file:
        like = RefreshRequest(
            (request.url,),
            request.targets,
            merge=request.merge,
            recheck=0.0,
            restart=request.restart,
            access=request.access,
            lock_timeout=request.lock_timeout,
            state_dir=request.state_dir,
        )
        return run(like, Ends([source], files), ports, show)
    if not isinstance(source, S3Source):
        raise UsageError("--whole-file reads from s3://BUCKET/KEY", reference="usage-whole-file")
    if source.name.endswith(".json") != (files[0].layout is AGENT_JSON):
        raise UsageError(
            "--whole-file copies an env file to an env file, JSON to JSON",
            reference="usage-whole-file",
        )
    return _copy(source, files[0], request, ports, show_copy)


def _copy(
    source: S3Source,
    file: LocalFile,
    request: PullRequest,
    ports: Ports,
    show: Callable[[CopyResult], None],
) -> CopyResult:
    """Copy the whole text, if it is valid and nothing in it has expired."""
    store = ports.edges.state(request.state_dir)
    is_dry = request.merge.dry_run
    begun = TargetResult(file)
    with (
        store.run_lock(request.lock_timeout),
        noted_run(store, begun, source.name, ports, dry_run=is_dry) as note,
    ):
        text, etag = _fetch(source, file, store, ports)
        if is_dry:
            result = CopyResult(file.name, file.read() != text, is_dry=True)
            show(result)
            return result
        policy, access = request.restart, request.access
        with delivery([file], policy, access, ports, store, backs_off=True) as agent:
            is_written, notes = fix_target(file, lambda _, __: text, rewrite=False)
            note.result = replace(begun, outcome=Outcome(written=is_written))
            result = CopyResult(file.name, is_written, notes=notes)
            show(result)
            record = store.target(file.key)
            copied = f"{record.digest(text)} {etag}"
            store.put(file.key, replace(record, copied=copied))
        result = replace(result, agent=agent.outcome)
        note.code = result.exit_code
    return result


def _fetch(source: S3Source, file: LocalFile, store: StateStore, ports: Ports) -> tuple[bytes, str]:
    """Return the text for the file, and the ETag of its object.

    Raises:
        SourceError: there is no object, or something in it is invalid or has expired.

    """
    record = store.target(file.key)
    digest, _, known = record.copied.partition(" ")
    known = known if digest == record.digest(file.read()) else ""
    fetched = fetch_source(source, ports.now(), known)
    if fetched.problems:
        raise fetched.problems[0].as_kind(
            SourceError, prefix=f"nothing is copied from {source.name}: "
        )
    text = file.read() if fetched.is_unchanged else source.last_text
    return text, fetched.version or known
