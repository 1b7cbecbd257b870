"""After the writing: what the agent of this host is to read, remembered, restarted and proved.

Mostly there is nothing to do, every 15 minutes on every host, so that what does it is loaded late.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ecsauth.cli.agent_files import expected_of, is_carried, is_usual, name_of
from ecsauth.cli.console import is_json_log, print_lines, say, say_error
from ecsauth.engine_auth import EngineAuth
from ecsauth.errors import AgentError, EcsauthError
from ecsauth.layout import AGENT_JSON
from ecsauth.lease import Leases
from ecsauth.restart import ALWAYS, AUTO, NEVER
from ecsauth.signals import signals_held_off
from ecsauth.state import (
    NO_FILE,
    AgentState,
    TargetState,
    new_salt,
    read_agent_state,
    read_state,
    text_digest,
    write_agent_state,
    write_state,
)
from ecsauth.targets.local_file import LocalFile

if TYPE_CHECKING:
    from ecsauth.agent.host import HostAgent
    from ecsauth.restart.ports import (
        AgentLook,
        Begun,
        Drainer,
        History,
        Restarted,
        Rules,
        Surrounding,
    )


class AgentWork:
    """The agent's part of a command.

    Args:
        targets: that the command writes.
        given: values of the options of `host_options.restarting`, and ``state_dir``.
        is_named: whether the user named the targets as what the agent reads.
        is_once: whether ``always`` means it even if nothing has changed; not on a timer.

    """

    def __init__(
        self,
        targets: Sequence[LocalFile],
        given: Mapping[str, Any],
        *,
        is_named: bool = False,
        is_once: bool = False,
    ) -> None:
        self.targets = targets
        self.given = given
        self.policy = str(given["policy"])
        self._is_named = is_named
        self._always = is_once and self.policy == ALWAYS
        self._unkept: dict[str, TargetState] = {}
        """What could not be written down, for the rest of this run."""
        self._salts: dict[str, str] = {}
        """For digests of targets that nothing is known of yet."""
        self._unkept_agent: AgentState | None = None
        self._frozen: dict[str, EngineAuth] = {}
        """What the agent is to read, as it was when the restart began."""

    @property
    def files(self) -> list[LocalFile]:
        """Return the targets that the agent reads: the usual ones, or with ``always`` all."""
        is_any = self._is_named or self.policy == ALWAYS
        return [item for item in self.targets if is_any or is_usual(item)]

    def settle_begun(self) -> None:
        """Prove a restart of a run that was cut off, before anything new is written.

        Raises:
            AgentError: the agent had not come back, and the file before is restored.

        """
        known = self._agent_state()
        if not known.begun or self.policy == NEVER or not self.files or known.boot != _boot():
            return
        done = self.apply()
        if done.error is not None and done.error.exit_code == AgentError.exit_code:
            raise done.error

    def check_back_off(self, now: float) -> None:
        """Refuse to bring anything new to an agent that has failed with the last.

        Raises:
            AgentError: until when.

        """
        wait = self.backing_off(now)
        if wait:
            raise AgentError(
                "the agent did not come back from its last restart: for"
                f" {wait:,.0f} s nothing new is brought to it",
                "look at journalctl -u ecs; ecsauth agent restart --force tries at once",
            )

    def mend(self) -> None:
        """Make the instance ACTIVE again if a run that was cut off has left it DRAINING."""
        known = self._agent_state()
        if known.drained and self.policy != NEVER and not self.given["drain"]:
            self._drainer().activate("", known.drained)

    def prepare(self) -> None:
        """Keep what the agent runs with for the way back, until it runs with something newer."""
        if self.policy == NEVER and any(self._state(item).agent_pending for item in self.files):
            self.apply()  # it may have been restarted by hand since
        for item in self.files:
            state = self._state(item)
            item.keeps_previous = state.agent_pending and self._is_as_written(item, state)

    def note_written(self) -> None:
        """Remember what was written, before the agent is touched: a crash loses no restart."""
        for item in self.files:
            if item.last_write is None:
                continue
            before, after = item.last_write
            state = self._state(item)
            salt = state.leases.salt
            known = state.before
            if not (item.keeps_previous and known):
                known = NO_FILE if before is None else text_digest(salt, before)
            written = text_digest(salt, after)
            self._keep(item, replace(state, agent_pending=True, written=written, before=known))

    def finish(self) -> Restarted | None:
        """Make the agent read what it has not read yet; None if there was nothing to look at."""
        files = self.files
        is_written = any(item.last_write for item in self.targets)
        if not files or (self.policy == NEVER and is_written):
            return None
        known = self._agent_state()
        is_open = bool(known.begun) and self.policy != NEVER
        is_due = is_written or self._always or any(self._is_unread(item) for item in files)
        return self.apply() if is_due or is_open else None

    def backing_off(self, now: float) -> float:
        """Return the seconds for which nothing is written, for the agent failed with the last."""
        known = self._agent_state()
        if not known.failures or known.begun or not self.files or self.policy == NEVER:
            return 0.0
        from ecsauth.restart.course import seconds_to_wait
        from ecsauth.restart.ports import History, Rules

        given = self.given
        rules = Rules(force=given["force_restart"], min_interval=given["min_restart_interval"])
        return seconds_to_wait(rules, History(known.last_restart, known.failures), now)

    def apply(self) -> Restarted:
        """Make the agent read what is in the files."""
        from ecsauth.restart.course import make_agent_read
        from ecsauth.restart.ports import Begun, History

        known = self._agent_state()
        agent = self._agent()
        rules = self._rules()
        self._frozen = {name_of(item): expected_of(item) for item in self.files}
        is_same_boot = bool(known.begun) and known.boot == _boot()
        done = make_agent_read(
            agent,
            self.carries,
            self._put_back,
            rules,
            History(known.last_restart, known.failures, known.refused),
            self._surrounding(),
            Begun(known.begun, known.begun_arn or None) if is_same_boot else None,
        )
        last = None if done.history.last is None else int(done.history.last)
        known = self._agent_state()
        self._keep_agent(
            replace(
                known,
                last_restart=last,
                failures=done.history.failures,
                refused=done.history.refused,
                begun="",
                boot="",
            )
            if self.policy != NEVER
            else known
        )
        for item in self.files:
            state = self._state(item)
            read = "" if done.is_pending else self._settings_digest(item, state)
            kept = (state.written, state.before) if done.is_pending else ("", "")
            new = replace(
                state,
                agent_pending=done.is_pending,
                agent_read=read,
                written=kept[0],
                before=kept[1],
            )
            if new != state:
                self._keep(item, new)
        return done

    def carries(self, look: AgentLook) -> bool | None:
        """Return whether the agent runs with what the files say; None if nobody knows."""
        expected = {name_of(item): expected_of(item) for item in self.files}
        expected.update(self._frozen)
        answers = [is_carried(item, expected[name_of(item)], look) for item in self.files]
        return None if None in answers and False not in answers else all(answers)

    def _agent(self) -> HostAgent:
        from ecsauth.agent.host import HostAgent
        from ecsauth.agent.service import run_program

        env_files = [item for item in self.files if item.layout is not AGENT_JSON]
        return HostAgent(
            os.environ,
            self.given["introspection_url"],
            run_program,
            settings=expected_of(env_files[0]) if env_files else None,
            forced=self.given["service_manager"] or "",
        )

    def _rules(self) -> Rules:
        from ecsauth.restart.ports import Rules

        given = self.given
        return Rules(
            policy=AUTO if self.policy == ALWAYS and not self._always else self.policy,
            force=given["force_restart"],
            timeout=given["timeout"],
            min_interval=given["min_restart_interval"],
            drainer=self._drainer() if given["drain"] else None,
        )

    def _surrounding(self) -> Surrounding:
        from ecsauth.restart.ports import Surrounding

        return Surrounding(
            now=time.time,
            monotonic=time.monotonic,
            sleep=time.sleep,
            note=lambda text: None if self.given.get("quiet") else say("note", text),
            warn=lambda text: say("warning", text),
            begin=self._note_begun,
            shield=signals_held_off,
            has_memory=not self._unkept,
        )

    def _note_begun(self, history: History, begun: Begun) -> None:
        """Remember that the agent is about to be touched, to look at it next time in any case."""
        known = self._agent_state()
        last = None if history.last is None else int(history.last)
        incarnation = begun.incarnation or "none"
        self._keep_agent(
            replace(
                known,
                last_restart=last,
                failures=history.failures,
                refused=history.refused,
                begun=incarnation,
                begun_arn=begun.arn or "",
                boot=_boot(),
            )
        )
        for item in self.files:
            self._keep(item, replace(self._state(item), agent_pending=True))

    def _drainer(self) -> Drainer:
        return make_drainer(
            float(self.given["drain_timeout"]),
            lambda arn: self._keep_agent(replace(self._agent_state(), drained=arn)),
            self._agent_state().drained,
        )

    def _agent_state(self) -> AgentState:
        return self._unkept_agent or read_agent_state(self.given["state_dir"])

    def _keep_agent(self, state: AgentState) -> None:
        if state != self._agent_state() and not write_agent_state(self.given["state_dir"], state):
            self._unkept_agent = state

    def _put_back(self) -> str:
        reasons = []
        for item in self.files:
            state = self._state(item)
            if not state.written and len(self.files) > 1:
                continue  # another file is what has changed
            try:
                reasons.append(self._put_back_one(item))
            except EcsauthError as error:
                reasons.append(str(error))
        return "; ".join(filter(None, reasons))

    def _put_back_one(self, item: LocalFile) -> str:
        state = self._state(item)
        salt = state.leases.salt
        if not state.written or not state.before:
            return f"nothing is known of what {item.name} was before"
        return item.put_back(
            lambda text: text_digest(salt, text) == state.written,
            None
            if state.before == NO_FILE
            else lambda text: text_digest(salt, text) == state.before,
        )

    def _is_as_written(self, item: LocalFile, state: TargetState) -> bool:
        """Return whether nobody has edited the file since we wrote it."""
        try:
            text = item.read()
        except EcsauthError:
            return False
        return text_digest(state.leases.salt, text) == state.written

    def _is_unread(self, item: LocalFile) -> bool:
        state = self._state(item)
        return state.agent_pending or state.agent_read != self._settings_digest(item, state)

    def _settings_digest(self, item: LocalFile, state: TargetState) -> str:
        settings = self._frozen.get(name_of(item)) or expected_of(item)
        text = f"{settings.auth_type}\n{settings.auth_data}"
        return text_digest(state.leases.salt, text.encode("utf-8", "surrogateescape"))

    def _state(self, item: LocalFile) -> TargetState:
        """Return what is known of a target, with a salt for digests."""
        if name_of(item) in self._unkept:
            return self._unkept[name_of(item)]
        state = read_state(self.given["state_dir"], name_of(item))
        if state.leases.salt:
            return state
        salt = self._salts.setdefault(name_of(item), new_salt())
        return replace(state, leases=Leases(salt))

    def _keep(self, item: LocalFile, state: TargetState) -> None:
        if not write_state(self.given["state_dir"], name_of(item), state):
            self._unkept[name_of(item)] = state


def is_restarting(target: LocalFile, policy: str) -> bool:
    """Return whether a target's content is brought to the agent by the command itself."""
    return policy == ALWAYS or (policy != NEVER and is_usual(target))


def say_restarted(done: Restarted | None, *, quiet: bool, to_stdout: bool = True) -> int:
    """Say what became of the agent and return the exit code."""
    if done is None:
        return 0
    if done.said and done.is_done:
        if is_json_log():
            say("note", done.said)
        else:
            print_lines([done.said], sys.stdout if to_stdout else None)
    elif done.said and not quiet:
        say("next", done.said)
    if done.error is None:
        return 0
    say_error(done.error)
    return done.error.exit_code


def as_json(done: Restarted | None) -> dict[str, Any] | None:
    """Return what became of the agent, for programs."""
    if done is None:
        return None
    return {
        "restarted": done.is_done,
        "pending": done.is_pending,
        "said": done.said,
        "error": None if done.error is None else str(done.error),
    }


def make_drainer(timeout: float, remember: Callable[[str], None], remembered: str) -> Drainer:
    """Return what drains the instance; see `EcsDrainer`."""
    from ecsauth.agent.drain import EcsDrainer

    return EcsDrainer(
        os.environ,
        timeout,
        monotonic=time.monotonic,
        sleep=time.sleep,
        note=lambda text: say("note", text),
        warn=lambda text: say("warning", text),
        remember=remember,
        remembered=remembered,
    )


def _boot() -> str:
    """Return what tells this boot of the host from others; empty if nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
