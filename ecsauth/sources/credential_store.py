"""Run ``docker-credential-NAME``: the programs that keep docker's logins outside its file.

The protocol is that of docker-credential-helpers: one argument, the server URL on stdin, JSON or
an error text on stdout. Unlike the Docker SDK's client (``docker.credentials``), this one has a
time limit and an output limit, and accepts no path as a name.
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
"""The text with which every helper reports that it has no login for a registry."""

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
        account: the user to run it as; None for our own.

    Raises:
        SourceError: the name is invalid, or the program is not on PATH.

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
                reference="helper-name-invalid",
            )
        self.program = f"docker-credential-{name}"
        found = shutil.which(self.program, path=environment.get("PATH", os.defpath))
        if found is None:
            raise SourceError(
                f"{self.program} is not on PATH, and it keeps the secrets of the login file",
                "install it, or run this where docker login was run",
                reference="helper-missing",
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
            SourceError: the helper failed, timed out or gave an invalid answer.

        """
        status, text, stderr = self._run("get", server_url)
        if status != 0:
            if NOT_FOUND in text:
                return None
            why = _reason(text or stderr, status)
            raise SourceError(f"{self.program} get {server_url}: {why}", reference="helper-failed")
        answer = self._json(text, "get")
        username, secret = answer.get("Username"), answer.get("Secret")
        if not isinstance(username, str) or not isinstance(secret, str):
            raise SourceError(
                f"{self.program} get: no Username and Secret in its answer",
                reference="helper-answer-invalid",
            )
        return (username, secret) if username or secret else None

    def list(self) -> dict[str, str]:
        """Return server URL → user name of every login in the store.

        Raises:
            SourceError: as `get`.

        """
        status, text, stderr = self._run("list", "")
        if status != 0:
            why = _reason(text or stderr, status)
            raise SourceError(f"{self.program} list: {why}", reference="helper-failed")
        answer = self._json(text, "list")
        return {key: value for key, value in answer.items() if isinstance(value, str)}

    def _json(self, text: str, action: str) -> dict[str, object]:
        try:
            answer = loads(text)
        except JSONTextError:
            answer = None
        if not isinstance(answer, dict):  # the text is not shown: it may hold a secret
            raise SourceError(
                f"{self.program} {action}: its answer is not a JSON object",
                reference="helper-answer-invalid",
            )
        return answer

    def _run(self, action: str, stdin: str) -> tuple[int, str, str]:
        if self._timed_out:
            raise self._too_slow()
        account = self._account
        switch = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
        try:
            # In its own session, so that the time limit also ends the helper's children.
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
            raise SourceError(
                f"{self.program} cannot be run: {error.strerror}", reference="helper-not-runnable"
            ) from error
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
                process.stdin.write(stdin.encode("utf-8", "replace"))  # fits into the pipe's buffer
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
        """Read both streams to their end, or until shortly after the helper has exited."""
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
                    break  # its answer is complete; a child of it holds the stream open
                for key, _ in ready:
                    chunk = os.read(key.fd, 65536)
                    output[key.data] += chunk
                    if not chunk:
                        selector.unregister(key.fileobj)
                    if len(output[key.data]) > _MAX_OUTPUT:
                        raise SourceError(
                            f"{self.program} {action}: its answer exceeds 1 MiB",
                            reference="helper-answer-invalid",
                        )
        return output

    def _too_slow(self) -> SourceError:
        self._timed_out = True  # so it is not called again
        return SourceError(
            f"{self.program} did not answer within {self._timeout:g} s",
            "run it by hand to see whether it prompts for something, or raise --helper-timeout",
            reference="helper-timeout",
            retryable=True,
        )


def _text(output: bytearray) -> str:
    return output.decode("utf-8", "replace").strip()


def _reason(text: str, status: int) -> str:
    """Return the first line of a helper's error; never show what may be an answer."""
    first = text.splitlines()[0][:_MAX_REASON] if text else "no reason given"
    if "{" in text or "Secret" in text:
        first = "its output is not shown because it may hold a secret"
    return f"{first} (exit code {status})"
