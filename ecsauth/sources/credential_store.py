"""Run ``docker-credential-NAME``: the programs that keep docker's logins outside its file.

The protocol is docker-credential-helpers': one argument, the server URL on stdin, JSON or an
error text on stdout. The Docker SDK's client (``docker.credentials``) has no time limit, takes
any path for a name and reads without bound; this one does not.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from ecsauth.credentials.json_text import JSONTextError, loads
from ecsauth.errors import SourceError
from ecsauth.host.accounts import Account

NOT_FOUND = "credentials not found in native keychain"
"""The one text by which every helper says that it has nothing for a registry."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MAX_OUTPUT = 1024 * 1024
_MAX_REASON = 200
_LINGER_SECONDS = 0.2


class CredentialStore:
    """One helper program.

    Args:
        name: as in ``credsStore``: the program is ``docker-credential-NAME``, found on PATH.
        timeout: seconds for each call.
        environment: of the helper.
        account: run it as this user; None is our own.

    Raises:
        SourceError: the name has path parts, or the program is not there.

    """

    def __init__(
        self,
        name: str,
        timeout: float,
        environment: Mapping[str, str],
        account: Account | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise SourceError(
                f"{name!r} is not the name of a credential helper",
                "expected the NAME of docker-credential-NAME",
            )
        self.program = f"docker-credential-{name}"
        found = shutil.which(self.program, path=environment.get("PATH", os.defpath))
        if found is None:
            raise SourceError(
                f"{self.program} is not on PATH, and the login file keeps its secrets there",
                "install it, or run this where docker login was run",
            )
        self._executable = str(Path(found).absolute())  # PATH may hold relative entries
        self._timeout = timeout
        self._timed_out = False
        self._account = account
        self._environment = {**environment}
        if account is not None:
            self._environment.update(HOME=account.home, USER=account.name, LOGNAME=account.name)

    def get(self, server_url: str) -> tuple[str, str] | None:
        """Return (user name, secret) for a registry; None if the store has none.

        Raises:
            SourceError: the helper failed, hung or answered something else.

        """
        status, text, stderr = self._run("get", server_url)
        if status != 0:
            if NOT_FOUND in text:
                return None
            why = _reason(text or stderr, status)
            raise SourceError(f"{self.program} get {server_url}: {why}")
        answer = self._json(text, "get")
        username, secret = answer.get("Username"), answer.get("Secret")
        if not isinstance(username, str) or not isinstance(secret, str):
            raise SourceError(f"{self.program} get: no Username and Secret in its answer")
        return (username, secret) if username or secret else None

    def list(self) -> dict[str, str]:
        """Return server URL → user name of all that the store holds.

        Raises:
            SourceError: as `get`.

        """
        status, text, stderr = self._run("list", "")
        if status != 0:
            raise SourceError(f"{self.program} list: {_reason(text or stderr, status)}")
        answer = self._json(text, "list")
        return {key: value for key, value in answer.items() if isinstance(value, str)}

    def _json(self, text: str, action: str) -> dict[str, object]:
        try:
            answer = loads(text)
        except JSONTextError:
            answer = None
        if not isinstance(answer, dict):  # the text may hold a secret: it is not shown
            raise SourceError(f"{self.program} {action}: its answer is not the JSON of a helper")
        return answer

    def _run(self, action: str, stdin: str) -> tuple[int, str, str]:
        if self._timed_out:
            raise self._too_slow()
        account = self._account
        switch = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
        try:
            # A session of its own, so that the time limit ends the helper's children too.
            process = subprocess.Popen(  # noqa: S603 - the name is checked, no shell
                [self._executable, action],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                cwd="/",
                start_new_session=True,
                **switch,  # type: ignore[call-overload]
            )
        except OSError as error:
            raise SourceError(f"{self.program} cannot be run: {error.strerror}") from error
        with process:
            try:
                return self._converse(process, action, stdin)
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _converse(
        self, process: subprocess.Popen[bytes], action: str, stdin: str
    ) -> tuple[int, str, str]:
        end = time.monotonic() + self._timeout
        with contextlib.suppress(BrokenPipeError):
            if process.stdin is not None:
                process.stdin.write(stdin.encode("utf-8", "replace"))  # less than a pipe holds
                process.stdin.close()
        output = self._read(process, end, action)
        try:
            status = process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._too_slow() from None
        return status, _text(output["stdout"]), _text(output["stderr"])

    def _read(
        self, process: subprocess.Popen[bytes], end: float, action: str
    ) -> dict[str, bytearray]:
        """Read both streams to their end, or until a while after the helper has ended."""
        output = {"stdout": bytearray(), "stderr": bytearray()}
        with selectors.DefaultSelector() as selector:
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
                if stream is not None:
                    selector.register(stream, selectors.EVENT_READ, name)
            while selector.get_map():
                if time.monotonic() >= end:
                    raise self._too_slow()
                ready = selector.select(_LINGER_SECONDS)
                if not ready and process.poll() is not None:
                    break  # a child of it holds the stream open; its own answer is complete
                for key, _ in ready:
                    chunk = os.read(key.fd, 65536)
                    output[key.data] += chunk
                    if not chunk:
                        selector.unregister(key.fileobj)
                    if len(output[key.data]) > _MAX_OUTPUT:
                        raise SourceError(f"{self.program} {action}: its answer is over 1 MiB")
        return output

    def _too_slow(self) -> SourceError:
        self._timed_out = True  # and is not waited for again
        return SourceError(
            f"{self.program} gave no answer in {self._timeout:g} s",
            "see whether it asks for something (try it by hand), or raise --helper-timeout",
        )


def _text(output: bytearray) -> str:
    return output.decode("utf-8", "replace").strip()


def _reason(text: str, status: int) -> str:
    """Return the first line of a helper's complaint; what may be an answer is never shown."""
    first = text.splitlines()[0][:_MAX_REASON] if text else "no reason given"
    if "{" in text or "Secret" in text:
        first = "its output is not shown, for it may hold a secret"
    return f"{first} (exit code {status})"
