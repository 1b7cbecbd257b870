"""Bring what was written to the agent: the only home of what is done about it.

::

    with delivery(targets, policy, access, ports, store) as agent:
        …write the targets…
    agent.outcome

Entering the block

1. sets an instance to ACTIVE that an earlier run has left DRAINING;
2. proves a restart that an earlier run began, or goes back to the file before; after a restart
   that was proved, checks once more that the agent still runs;
3. leaves the agent alone for a while after a restart that failed;
4. decides whether the copy of the file before, beside it, is still the way back.

Leaving it

5. notes which targets were written, and writes that down: from here on a crash loses no restart;
6. decides whether the agent is to be restarted (a mere renewal waits), notes that it begins,
   restarts it, has it prove that it came back, or restores the file before and starts it with
   that;
7. notes what the agent runs with.

What the state holds at each checkpoint: after 5 the digests of the new and the previous text and
that a delivery is pending; before the restart of 6 the agent's incarnation; after 7 the digests of
the settings and logins that the agent runs with. A run that finds the second proves first, even
after a reboot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Callable

from ecsauth.agent.paths import expected_settings, is_agent_file, is_in_sync
from ecsauth.agent.restart.policy import ALWAYS, ANY_FILE, AUTO, LATE, NEVER, RestartPolicy
from ecsauth.credentials.ecr_token import with_known_expiry
from ecsauth.credentials.freshness import (
    RunningLogin,
    quiet_until,
    restart_due_at,
    running_login,
)
from ecsauth.engine_auth.codec import EngineAuth, decode
from ecsauth.engine_auth.layouts import AGENT_JSON
from ecsauth.errors import AgentError, EcsauthError
from ecsauth.state.records import NO_FILE, AgentRestarts, Delivery
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.agent.restart.ports import (
        Agent,
        AgentOutcome,
        Drainer,
        Observation,
        RestartHistory,
        RestartPorts,
        UnprovedRestart,
    )
    from ecsauth.app.ports import Ports
    from ecsauth.app.requests import AgentAccess
    from ecsauth.state.store import StateStore
    from ecsauth.targets.target import Target


@contextlib.contextmanager
def delivery(
    targets: Sequence[Target],
    policy: RestartPolicy,
    access: AgentAccess,
    ports: Ports,
    store: StateStore,
    *,
    backs_off: bool = False,
    has_other_work: bool = False,
    is_restart_command: bool = False,
) -> Iterator[AgentDelivery]:
    """Deliver to the agent what is written to `targets` in the ``with`` block.

    Args:
        targets: of the run; only local files concern the agent of this host.
        policy: when it is restarted.
        access: where it is found.
        ports: the outside.
        store: what is remembered.
        backs_off: after a restart that failed, bring nothing new to the agent for a while.
        has_other_work: whether the run does something useful even without its targets.
        is_restart_command: the agent is observed even if nothing was written.

    Raises:
        AgentError: the agent had not come back from an earlier restart, or is left alone and
            there is nothing else to do.

    """
    agent = AgentDelivery(targets, policy, access, ports, store)
    agent._reactivate()
    if not is_restart_command:
        agent._prove_begun()
        if backs_off:
            agent._back_off(targets, has_other_work=has_other_work)
        agent._choose_way_back()
    try:
        yield agent
    except BaseException:
        agent._note_written()
        store.checkpoint()
        raise
    agent._note_written()
    store.checkpoint()
    agent._finish(is_asked=is_restart_command)
    store.checkpoint()


class AgentDelivery:
    """What is done about the agent in one run; made by `delivery`.

    Attributes:
        files: the targets that the agent reads.
        refusal: why `files` must not be written now; None if they may.
        outcome: what became of the agent; None if there was nothing to do.

    """

    def __init__(
        self,
        targets: Sequence[Target],
        policy: RestartPolicy,
        access: AgentAccess,
        ports: Ports,
        store: StateStore,
    ) -> None:
        self._local = [item for item in targets if isinstance(item, LocalFile)]
        is_any = policy.scope == ANY_FILE
        self.files = [item for item in self._local if is_any or is_agent_file(item.path)]
        self.refusal: AgentError | None = None
        self.outcome: AgentOutcome | None = None
        self._policy = policy
        self._access = access
        self._ports = ports
        self._store = store
        self._expected: dict[str, EngineAuth] = {}
        """The agent's settings as they were when a restart was considered, by key."""
        self._replaced: str | None = None
        """The agent's incarnation before this run restarted it."""

    def _reactivate(self) -> None:
        """Make the instance ACTIVE again if an earlier run has left it DRAINING."""
        drained = self._store.agent.drained
        if drained and self._policy.when != NEVER and self._policy.drain is None:
            self._drainer(0.0).activate("", drained)

    def _prove_begun(self) -> None:
        """Prove a restart that an earlier run began, before anything new is written.

        Raises:
            AgentError: the agent had not come back, and the file before is restored.

        """
        known = self._store.agent
        if self._policy.when == NEVER or not self.files:
            return
        if not known.begun and (not known.confirm or self._is_confirmed()):
            return
        done = self._make_agent_read(is_unconfirmed=not known.begun)
        self._store.checkpoint()
        if done.error is not None and done.error.exit_code == AgentError.exit_code:
            raise done.error

    def _is_confirmed(self) -> bool:
        """Return whether the agent still runs after its last restart, or does not by intention."""
        self._expect()
        agent = self._agent()
        seen = agent.observe()
        if not (seen.incarnation and seen.answers) and not agent.is_stopped():
            return False
        self._store.agent = replace(self._store.agent, confirm=False)
        for file in self.files:
            record = self._record(file)
            if not record.is_pending:
                self._put(file, replace(record, written="", before=""))
        return True

    def _back_off(self, targets: Sequence[Target], *, has_other_work: bool) -> None:
        """Leave the agent alone for a while after a restart that failed.

        Raises:
            AgentError: there is nothing else to do; says for how long.

        """
        known = self._store.agent
        if not known.failures or known.begun or not self.files or self._policy.when == NEVER:
            return
        # A run with nothing to deliver does without the procedure.
        from ecsauth.agent.restart.ports import RestartHistory
        from ecsauth.agent.restart.procedure import seconds_to_wait  # the same

        history = RestartHistory(known.last_restart, known.failures)
        wait = seconds_to_wait(self._policy, history, self._ports.now())
        if not wait:
            return
        error = AgentError(
            "the agent did not come back from its last restart: for"
            f" {wait:,.0f} s nothing new is brought to it",
            "look at journalctl -u ecs; ecsauth agent restart --force tries at once",
            reference="agent-backing-off",
        )
        if not has_other_work and all(item in self.files for item in targets):
            raise error
        self.refusal = error

    def _choose_way_back(self) -> None:
        """Keep the copy of what the agent runs with until it runs with something newer."""
        if self._policy.when == NEVER and any(self._record(file).is_pending for file in self.files):
            self._make_agent_read()  # somebody may have restarted it since
        for file in self.files:
            record = self._record(file)
            file.keeps_previous = record.is_pending and self._is_as_written(file)

    def _note_written(self) -> None:
        """Note what was written, and which text the agent ran with before."""
        self._expected = {}  # the files may be others now
        for file in self._writable():
            if file.last_write is None:
                continue
            before, after = file.last_write
            record, target = self._record(file), self._store.target(file.key)
            known = record.before
            if not (file.keeps_previous and known):
                known = NO_FILE if before is None else target.digest(before)
            self._put(
                file, replace(record, is_pending=True, written=target.digest(after), before=known)
            )

    def _finish(self, *, is_asked: bool) -> None:
        """Make the agent read what it has not read yet."""
        files, when = self._writable(), self._policy.when
        is_written = any(item.last_write for item in self._local)
        if not files or (not is_asked and when == NEVER and is_written):
            return
        is_open = bool(self._store.agent.begun) and when != NEVER
        unread = [file for file in files if self._is_unread(file)]
        if not (is_asked or is_written or is_open or when == ALWAYS or unread):
            return
        may_wait = False
        if not is_asked and not is_open and when == AUTO and self._policy.renewal == LATE:
            due_at, now = self._renewal_due_at(unread), self._ports.now()
            if due_at is not None and now < due_at:
                for file in unread:
                    record = replace(self._record(file), is_pending=True, restart_at=due_at)
                    self._put(file, record)
                return
            may_wait = due_at is not None and now < min(
                quiet_until(self._record(file).running) for file in unread
            )
        self.outcome = self._make_agent_read(may_wait=may_wait)

    @property
    def renews_first(self) -> bool:
        """Whether a restart for a renewal is due, so that what is due soon is renewed before it."""
        now = self._ports.now()
        return self._policy.renewal == LATE and any(
            record.is_pending and record.restart_at is not None and record.restart_at <= now
            for record in map(self._record, self.files)
        )

    def _renewal_due_at(self, files: Sequence[LocalFile]) -> int | None:
        """Return when the restart for a mere renewal is due; None if more has changed."""
        chance = self._ports.host_chance("restart")
        times = []
        for file in files:
            due_at = restart_due_at(self._record(file).running, self._logins(file), chance)
            if due_at is None:
                return None
            times.append(due_at)
        return min(times, default=None)

    def _logins(self, file: LocalFile) -> dict[str, RunningLogin]:
        """Return the logins that the agent gets of a file, as they are remembered."""
        leases = self._store.target(file.key).leases
        settings = self._expected.get(file.key) or expected_settings(file.path, file.layout)
        found = map(with_known_expiry, decode(settings).credentials)
        return {
            item.match: running_login(leases.salt, item, leases.of(item.match)) for item in found
        }

    def _writable(self) -> list[LocalFile]:
        return [] if self.refusal is not None else self.files

    def _expect(self) -> None:
        self._expected = {
            file.key: expected_settings(file.path, file.layout) for file in self.files
        }

    def _make_agent_read(
        self, *, may_wait: bool = False, is_unconfirmed: bool = False
    ) -> AgentOutcome:
        """Decide, restart, prove or go back; note what came of it."""
        # A run with nothing to deliver does without the procedure.
        from ecsauth.agent.restart.ports import RestartHistory, UnprovedRestart
        from ecsauth.agent.restart.procedure import make_agent_read  # the same

        known = self._store.agent
        self._expect()
        begun: UnprovedRestart | None = None
        if known.begun or is_unconfirmed:
            begun = UnprovedRestart(known.begun or "unconfirmed", known.begun_arn or None)
        done = make_agent_read(
            self._agent(),
            self._is_in_sync,
            self._restore,
            self._policy,
            RestartHistory(known.last_restart, known.failures, known.refused),
            self._restart_ports(may_wait=may_wait),
            begun,
        )
        if self._policy.when != NEVER:
            self._note_outcome(done)
        if done.error is not None:
            self._expected = {}  # the files may be others now
        for file in self.files:
            record = self._record(file)
            if done.is_pending:
                self._put(file, replace(record, is_pending=True, read=""))
                continue
            read = Delivery(read=self._settings_digest(file), running=self._logins(file))
            if done.is_done:  # the way back stays open until the next run has seen the agent
                read = replace(read, written=record.written, before=record.before)
            self._put(file, read)
        return done

    def _note_outcome(self, done: AgentOutcome) -> None:
        known = _with_history(self._store.agent, done.history)
        is_unproved = done.is_queued or done.is_down
        if done.is_done or done.history.failures > self._store.agent.failures:
            known = known.restarted_at(self._ports.now())
        if not is_unproved:
            known = replace(known, begun="")
        self._store.agent = replace(known, confirm=done.is_done)

    def _is_in_sync(self, seen: Observation) -> bool | None:
        """Return whether the agent runs with what the files say; None if unknown."""
        answers = [self._is_file_in_sync(file, seen) for file in self.files]
        return None if None in answers and False not in answers else all(answers)

    def _is_file_in_sync(self, file: LocalFile, seen: Observation) -> bool | None:
        answer = is_in_sync(file.path, file.layout, self._expected[file.key], seen)
        is_later = self._replaced is not None and seen.incarnation not in ("", self._replaced)
        if answer is False and is_later and file.layout is AGENT_JSON:
            # Started after the file was written, whatever the clock says.
            return seen.settings is None or not seen.settings.is_set
        return answer

    def _agent(self) -> Agent:
        env_files = [file for file in self.files if file.layout is not AGENT_JSON]
        settings = self._expected[env_files[0].key] if env_files else None
        return self._ports.edges.agent(self._access, settings)

    def _restart_ports(self, *, may_wait: bool) -> RestartPorts:
        # Only for a restart.
        from ecsauth.agent.restart.ports import RestartPorts

        ports = self._ports
        return RestartPorts(
            now=ports.now,
            monotonic=ports.monotonic,
            sleep=ports.sleep,
            note=ports.note,
            warn=ports.warn,
            begin=self._note_begun,
            shield=ports.edges.shield,
            has_memory=self._store.is_durable,
            may_wait=may_wait,
            drainer=None if self._policy.drain is None else self._drainer(self._policy.drain),
        )

    def _note_begun(self, history: RestartHistory, begun: UnprovedRestart) -> None:
        """Write down that the agent is about to be touched, so that the next run proves it."""
        self._store.agent = replace(
            _with_history(self._store.agent, history),
            begun=begun.incarnation or "none",
            begun_arn=begun.arn or "",
        )
        self._replaced = begun.incarnation
        for file in self.files:
            self._put(file, replace(self._record(file), is_pending=True))
        self._store.checkpoint()

    def _drainer(self, timeout: float) -> Drainer:
        def remember(arn: str) -> None:
            self._store.agent = replace(self._store.agent, drained=arn)
            self._store.checkpoint()

        drained = self._store.agent.drained
        return self._ports.edges.drainer(timeout, self._ports, remember, drained)

    def _restore(self) -> str:
        reasons = []
        for file in self.files:
            if not self._record(file).written and len(self.files) > 1:
                continue  # another file is what has changed
            try:
                reasons.append(self._restore_one(file))
            except EcsauthError as error:
                reasons.append(str(error))
        return "; ".join(filter(None, reasons))

    def _restore_one(self, file: LocalFile) -> str:
        record, target = self._record(file), self._store.target(file.key)
        if not record.written or not record.before:
            return f"nothing is known of what {file.name} was before"
        is_before = None if record.before == NO_FILE else _is_text(target.digest, record.before)
        return file.restore(_is_text(target.digest, record.written), is_before)

    def _is_as_written(self, file: LocalFile) -> bool:
        """Return whether nobody has edited the file since we wrote it."""
        try:
            text = file.read()
        except EcsauthError:
            return False
        return self._store.target(file.key).digest(text) == self._record(file).written

    def _is_unread(self, file: LocalFile) -> bool:
        record = self._record(file)
        return record.is_pending or record.read != self._settings_digest(file)

    def _settings_digest(self, file: LocalFile) -> str:
        settings = self._expected.get(file.key) or expected_settings(file.path, file.layout)
        text = f"{settings.auth_type}\n{settings.auth_data}"
        return self._store.target(file.key).digest(text.encode("utf-8", "surrogateescape"))

    def _record(self, file: LocalFile) -> Delivery:
        return self._store.target(file.key).delivery

    def _put(self, file: LocalFile, record: Delivery) -> None:
        self._store.put(file.key, replace(self._store.target(file.key), delivery=record))


def agent_exit_code(outcome: AgentOutcome | None) -> int:
    """Return the exit code of a command after what became of the agent."""
    return 0 if outcome is None or outcome.error is None else outcome.error.exit_code


def _with_history(known: AgentRestarts, history: RestartHistory) -> AgentRestarts:
    return replace(
        known,
        last_restart=None if history.last is None else int(history.last),
        failures=history.failures,
        refused=history.refused,
    )


def _is_text(digest: Callable[[bytes], str], wanted: str) -> Callable[[bytes], bool]:
    return lambda text: digest(text) == wanted
