"""Credential helpers: real processes, good and bad."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ecsauth.errors import SourceError
from ecsauth.host.accounts import Account
from ecsauth.sources.credential_store import CredentialStore

Helpers = Callable[[str, str], Path]


def store(name: str, timeout: float = 10.0, account: Account | None = None) -> CredentialStore:
    return CredentialStore(name, timeout, os.environ, account)


def test_get_sends_the_url_and_returns_the_login(helpers: Helpers) -> None:
    log = helpers("good", """echo '{"ServerURL":"x","Username":"u","Secret":"p"}'""")
    assert store("good").get("https://quay.io") == ("u", "p")
    assert log.read_text() == "get https://quay.io\n"


@pytest.mark.parametrize(
    "body",
    [
        "echo credentials not found in native keychain; exit 1",
        "echo 'Error: credentials not found in native keychain'; exit 1",
        """echo '{"ServerURL":"","Username":"","Secret":""}'""",
    ],
)
def test_not_found_is_none(helpers: Helpers, body: str) -> None:
    helpers("none", body)
    assert store("none").get("quay.io") is None


def test_list(helpers: Helpers) -> None:
    helpers("lists", """echo '{"https://quay.io":"u","ghcr.io":"v"}'""")
    assert store("lists").list() == {"https://quay.io": "u", "ghcr.io": "v"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo the keychain is locked; exit 1", r"the keychain is locked .exit code 1."),
        ("exit 3", "no reason given .exit code 3."),
        ("echo hunter2", "not a JSON object"),
        ("echo '[\"hunter2\"]'", "not a JSON object"),
        ("""echo '{"Username":"hunter2"}'""", "no Username and Secret"),
        ("""echo '{"Username":"u","Secret":["hunter2"]}'""", "no Username and Secret"),
        ("head -c 2000000 /dev/zero", "exceeds 1 MiB"),
        ("printf '\\377\\376'", "not a JSON object"),
        ("kill -9 $$", "no reason given"),
    ],
)
def test_bad_answer_is_an_error_without_the_secret(helpers: Helpers, body: str, words: str) -> None:
    helpers("bad", body)
    with pytest.raises(SourceError, match=words) as caught:
        store("bad").get("quay.io")
    assert "hunter2" not in str(caught.value)


def test_helper_that_ignores_its_input_is_no_error(helpers: Helpers, tmp_path: Path) -> None:
    path = tmp_path / "helpers" / "docker-credential-deaf"
    path.write_text("""#!/bin/sh\nexec 0<&-\necho '{"Username":"u","Secret":"p"}'\n""")
    path.chmod(0o755)
    assert store("deaf").get("quay.io") == ("u", "p")


def test_hanging_helper_is_ended_with_its_children_and_not_asked_again(
    helpers: Helpers, tmp_path: Path
) -> None:
    log = helpers("hangs", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    slow = store("hangs", 0.5)
    start = time.monotonic()
    for _ in range(3):
        with pytest.raises(SourceError, match=r"did not answer within 0\.5 s"):
            slow.get("quay.io")
    assert time.monotonic() - start < 5
    assert log.read_text().count("get") == 1
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        try:
            state = Path(f"/proc/{child}/stat").read_text().split()[2]
        except FileNotFoundError:
            break
        if state == "Z":
            break
        time.sleep(0.02)
    else:
        pytest.fail("the helper's child is still running")


def test_helper_that_closes_its_output_but_stays_is_ended(helpers: Helpers) -> None:
    helpers("stays", "exec >&-; sleep 60")
    with pytest.raises(SourceError, match="did not answer"):
        store("stays", 0.5).get("quay.io")


def test_missing_helper_says_what_to_install() -> None:
    with pytest.raises(SourceError, match="docker-credential-absent is not on PATH"):
        store("absent")


@pytest.mark.parametrize(
    "name", ["", "../evil", "a/b", "/bin/sh", "a b", "-x", "x\n", "x;id", ".."]
)
def test_name_with_path_parts_is_refused(helpers: Helpers, name: str) -> None:
    helpers("evil", "touch evil")
    with pytest.raises(SourceError, match="not the name of a credential helper"):
        store(name)


@pytest.mark.parametrize("stream", ["1", "2"])
def test_output_of_a_failing_helper_that_may_hold_a_secret_is_not_shown(
    helpers: Helpers, stream: str
) -> None:
    helpers("leaks", f"""echo '{{"Username":"u","Secret":"hunter2"}}' >&{stream}; exit 1""")
    with pytest.raises(SourceError, match="not shown") as caught:
        store("leaks").get("quay.io")
    assert "hunter2" not in str(caught.value)


def test_stderr_is_the_reason_if_stdout_has_none(helpers: Helpers) -> None:
    helpers("broken", "echo libfoo.so is missing >&2; exit 127")
    with pytest.raises(SourceError, match=r"libfoo.so is missing .exit code 127."):
        store("broken").get("quay.io")


def test_answer_counts_though_a_child_keeps_the_stream_open(helpers: Helpers) -> None:
    helpers("daemon", """sleep 60 & echo '{"Username":"u","Secret":"p"}'""")
    start = time.monotonic()
    assert store("daemon").get("quay.io") == ("u", "p")
    assert time.monotonic() - start < 5


def test_relative_entry_of_path_is_found(
    helpers: Helpers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helpers("good", """pwd >&2; echo '{"Username":"'$(pwd)'","Secret":"p"}'""")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"helpers:{os.environ['PATH']}")
    assert store("good").get("quay.io") == ("/", "p")


def test_stderr_of_a_helper_is_not_passed_on(
    helpers: Helpers, capfd: pytest.CaptureFixture[str]
) -> None:
    helpers("loud", """echo noise >&2; echo '{"Username":"u","Secret":"p"}'""")
    assert store("loud").get("quay.io") == ("u", "p")
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_helper_runs_as_the_owner_of_the_login_file(helpers: Helpers, tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "helpers", *tmp_path.parents):
        if directory.stat().st_uid == 0 and str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    path = tmp_path / "helpers" / "docker-credential-who"
    path.write_text(
        "#!/bin/sh\n"
        'echo "{\\"Username\\":\\"$(id -u):$(id -g):$(id -G)\\",\\"Secret\\":\\"$HOME\\"}"\n'
    )
    path.chmod(0o755)
    account = Account("someone", 12345, 23456, "/nowhere")
    assert store("who", account=account).get("q.io") == ("12345:23456:23456", "/nowhere")
    assert store("who").get("q.io") == ("0:0:0", os.environ["HOME"])
