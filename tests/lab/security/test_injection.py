"""Text that means something to a shell, systemd, a terminal or a line reader stays text."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ecsauth.engine_auth.env_file import read
from ecsauth.errors import UsageError
from ecsauth.installation.units import Installation, unit_texts
from tests.builders import b64
from tests.conftest import Result, need
from tests.lab.aws_stub import PRIVATE, AwsStub, error_answer
from tests.lab.faults.forks import Forks
from tests.lab.faults.scenarios import is_crash
from tests.lab.security.properties import unprintable

RunProgram = Callable[..., Result]
BEFORE = "ECS_CLUSTER=lab\n# kept\nECS_LOGLEVEL=warn\n"
BENIGN = "benign-value"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m|\x1b\[0?K")
"""What rich itself writes to a terminal: colours. None of the texts here is of that kind."""


def texts(mark: Path) -> list[str]:
    """Return the hostile texts; a command in them would make the file `mark`."""
    touch = f"touch {mark}"
    return [
        *(f"a{char}ECS_INJECTED=1" for char in "\n\r\x0b\x0c\x85\u2028\u2029"),
        *(
            f"$({touch})",
            f"`{touch}`",
            f"; {touch};",
            f"| {touch} |",
            f"&& {touch} #",
            f"'\";{touch}",
        ),
        *(
            "%n%i%H",
            "%%n",
            "$HOME",
            "${HOME}",
            "$$",
            "=",
            "a=b",
            "#c",
            "a #c",
            "'",
            '"',
            "\\",
            "a\\",
        ),
        *("\0", "a\0b", "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x07", "\x1bc"),
        *(
            "\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\",
            "\x9b2J",
            "\x9d52;c;x\x9c",
            "\x08\x08",
        ),
        *(
            "\u202egpj.exe",
            "\u2066x\u2069",
            "a\u200bb",
            "a\u200db",
            "\ufeffx",
            "\U000e0041",
            "\x7f",
        ),
    ]


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """Give the file that a command would make; it is not there in the end."""
    path = tmp_path / "pwned"
    yield path
    assert not path.exists(), "a command was executed"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "ecs.config"
    path.write_text(BEFORE)
    path.chmod(0o600)
    return path


def clean(result: Result) -> Result:
    """Hold that nothing of it moves a terminal, and that nothing went wrong in an odd way."""
    assert not unprintable(result.out), result
    assert not unprintable(result.err), result
    assert not is_crash(result.err), result
    assert all(line.startswith(("ecsauth: ", "  ")) for line in result.err.splitlines()), result
    return result


def sound(target: Path) -> bool:
    """Hold that a target has its own lines, and ours at most; return whether they are there."""
    text = target.read_bytes()
    assert text.startswith(BEFORE.encode())
    rest = text[len(BEFORE) :]
    assert not rest or re.fullmatch(
        rb"ECS_ENGINE_AUTH_TYPE=[a-z]+\nECS_ENGINE_AUTH_DATA=\{[ -~]*\}\n", rest
    ), rest
    assert set(read(text)) <= {
        *("ECS_CLUSTER", "ECS_LOGLEVEL", "ECS_ENGINE_AUTH_TYPE", "ECS_ENGINE_AUTH_DATA")
    }
    return bool(rest)


def logins(evil: str) -> list[dict[str, object]]:
    """Return login files with a text in every place of one."""
    good = {"auth": b64("u:p")}
    return [
        {"auths": {evil: good}},
        {"auths": {f"q{evil}.io": good}},
        {"auths": {f"q.io/{evil}": good}},
        {"auths": {"q.io": {"auth": b64(f"{evil}:p")}}},
        {"auths": {"q.io": {"auth": b64(f"u:{evil}")}}},
        {"auths": {"q.io": {"username": evil, "password": "p"}}},
        {"auths": {"q.io": {"username": "u", "password": evil, "email": evil}}},
        {"auths": {"q.io": {**good, "email": evil}}},
        {"auths": {"q.io": {**good, evil: evil}}},
        {"auths": {"q.io": {"identitytoken": evil}}},
        {"auths": {"q.io": {"auth": evil}}},
        {"auths": {"q.io": {}}, "credsStore": evil},
        {"auths": {"q.io": {}}, "credHelpers": {"q.io": evil}},
        {evil: {"q.io": good}, "kind": evil},
    ]


def test_login_file(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path, mark: Path, tmp_path: Path
) -> None:
    written = 0
    state = ("--state-dir", tmp_path / "state", "--restart=never")
    for offset, evil in enumerate(texts(mark)):
        for number, document in list(enumerate(logins(evil)))[offset % 3 :: 3]:
            path = tmp_path / "login.json"
            path.write_text(json.dumps(document))
            target.write_text(BEFORE)
            command = ("refresh", "migrate")[number % 2]
            clean(ecsauth(command, path, "--to", target, *state))
            written += sound(target)
            output = ("env", "data", "agent-json", "powershell", "bottlerocket")[number % 5]
            clean(ecsauth("convert", path, "--output", output))
            if number % 3 == 0:
                clean(ecsauth("explain", evil, f"{evil}/app", "--from", target))
    assert written > 30


def test_benign_login_gets_through(
    ecsauth: RunProgram, login_file: Callable[..., Path], target: Path
) -> None:
    """The positive control."""
    path = login_file({f"{BENIGN}.io": {"username": BENIGN, "password": BENIGN}})
    assert clean(ecsauth("migrate", path, "--to", target)).code == 0
    assert sound(target)
    assert f"{BENIGN}.io" in clean(ecsauth("explain", f"{BENIGN}.io/app", "--from", target)).out
    assert b64(f"{BENIGN}:{BENIGN}") in ecsauth("convert", path).out


def hostile_config(evil: str) -> bytes:
    """Return an ecs.config that somebody else has written, with a text in every place."""
    data = {
        evil: {"username": evil, "password": evil},
        f"q.io/{evil}": {"username": evil, "identitytoken": evil, "email": evil},
        "q.io": {"username": evil, "password": "p"},
    }
    text = (
        f"ECS_CLUSTER={evil}\n{evil}=x\n{evil}\nECS_ENGINE_AUTH_TYPE=docker\n"
        f"ECS_ENGINE_AUTH_DATA={json.dumps(data)}\n"
    )
    return text.encode()


def test_target_that_is_looked_at(ecsauth: RunProgram, tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "ecs.config"
    for evil in texts(mark):
        path.write_bytes(hostile_config(evil))
        path.chmod(0o600)
        for command in (
            ("check", path),
            ("status", path),
            ("status", path, "--json"),
            ("explain", "q.io/app", evil, "--from", path),
            ("explain", "q.io/app", evil, "--from", path, "--json"),
        ):
            assert clean(ecsauth(*command)).code in (0, 2, 7)
        clean(ecsauth("check", path, "--fix"))
    path.write_bytes(hostile_config(BENIGN))
    assert BENIGN in clean(ecsauth("status", path)).out


def on_terminal(command: list[str], env: dict[str, str]) -> str:
    """Return what a command writes to a terminal, the colours of its own left out."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=env, start_new_session=True
    ):
        os.close(follower)
        data = b""
        with contextlib.suppress(OSError):  # EIO: it has ended
            while select.select([leader], [], [], 30)[0]:
                data += os.read(leader, 65536)
    os.close(leader)
    return _COLOUR.sub("", data.decode("utf-8", "surrogateescape")).replace("\r\n", "\n")


def test_terminal_is_not_moved(tmp_path: Path, mark: Path) -> None:
    """All texts in one file, for a process takes half a second."""
    data = {f"q{n}.io": {"username": evil, "password": "p"} for n, evil in enumerate(texts(mark))}
    data |= {evil: {"username": BENIGN, "password": "p"} for evil in texts(mark)}
    path = tmp_path / "ecs.config"
    path.write_text(
        f"ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={json.dumps(data)}\n"
        + "".join(f"{evil}={evil}\n" for evil in texts(mark))
    )
    path.chmod(0o600)
    login = tmp_path / "login.json"
    login.write_text(json.dumps({"auths": data}))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "COLUMNS": "200",
    }
    program = str(Path(sys.executable).with_name("ecsauth"))
    for arguments in (
        ("status", str(path)),
        ("check", str(path)),
        ("explain", "--from", str(path), "q1.io/app", "\x1b[2J"),
        ("migrate", str(login), "--to", str(path), "-n"),
    ):
        shown = on_terminal([program, *arguments], environment)
        assert not unprintable(shown), arguments
        assert "q1.io" in shown or arguments[0] == "check"


def test_file_names(ecsauth: RunProgram, tmp_path: Path, mark: Path) -> None:
    """Of the login file, the target and the settings file."""
    for number, evil in enumerate(texts(mark)):
        name = evil.replace("/", "_").replace("\0", "0")
        folder = tmp_path / str(number)
        folder.mkdir()
        login, target, settings = folder / f"l{name}", folder / f"t{name}", folder / f"s{name}"
        login.write_text(json.dumps({"auths": {"q.io": {"auth": b64("u:p")}}}))
        settings.write_text("ECSAUTH_FORMATS=docker\nECSAUTH_FORMAT=docker\n")
        settings.chmod(0o600)
        target.write_text(BEFORE)
        result = clean(ecsauth("migrate", login, "--to", target, "--env-file", settings))
        assert result.code == 0 or (set(name) & set("\n{") and result.code == 2), result
        assert sound(target) is (result.code == 0)
        clean(ecsauth("check", target))
        clean(ecsauth("status", target, "--state-dir", folder / f"d{name}"))
        clean(ecsauth("status", folder / f"absent{name}"))
        clean(ecsauth("migrate", folder / f"absent{name}", "--to", target))
        clean(ecsauth("check", target, "--env-file", folder / f"absent{name}"))
        clean(ecsauth("check", evil.replace("\0", "0")))


def test_environment_and_profile(
    ecsauth: RunProgram, target: Path, mark: Path, aws: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clean(ecsauth("refresh", "ecr:", "--to", target, "--restart=never")).code == 0
    assert sound(target)
    target.write_text(BEFORE)
    for evil in texts(mark)[::5]:
        text = evil.replace("\0", "0")
        for name in ("AWS_PROFILE", "AWS_REGION", "ECSAUTH_FORMAT", "ECSAUTH_SOURCES", "ECSAUTH_X"):
            with monkeypatch.context() as patch:
                patch.setenv(name, text)
                clean(ecsauth("refresh", "ecr:us-west-2", "--to", target, "--restart=never", "-n"))
                if name == "ECSAUTH_SOURCES":
                    clean(ecsauth("refresh", "--to", target, "--restart=never", "-n"))
        with monkeypatch.context() as patch:
            if "=" not in text and text:
                patch.setenv(f"ECSAUTH_{text}", "x")
                clean(ecsauth("check", target))
        clean(ecsauth("refresh", f"ecr:?profile={text}", "--to", target, "-n"))
        clean(ecsauth("refresh", f"secretsmanager:{text}?registry={text}", "--to", target, "-n"))
        sound(target)


def test_secrets_and_errors_of_aws(
    ecsauth: RunProgram, target: Path, mark: Path, aws: AwsStub
) -> None:
    action, source = "secretsmanager.GetSecretValue", "secretsmanager:x?registry=q.io"
    command = ("migrate", source, "--to", target)
    for evil in texts(mark)[1::8]:
        documents = (
            {"username": evil, "password": evil},
            {evil: evil},
            {"auths": {evil: {"auth": b64(f"{evil}:p")}}},
        )
        for document in documents:
            answer = {"SecretString": json.dumps(document), "VersionId": evil}
            aws.answers[action] = lambda _, __, answer=answer: (200, answer)  # type: ignore[misc]
            clean(ecsauth(*command))
            sound(target)
            target.write_text(BEFORE)
        denied = f"User: {evil} is not authorized to perform: {evil} on {evil}"
        for code, message in ((evil, evil), ("AccessDeniedException", denied)):
            aws.answers[action] = aws.answers[PRIVATE] = error_answer(400, code, message)
            assert clean(ecsauth(*command)).code == 3
            assert clean(ecsauth("refresh", "ecr:", "--to", target, "-n")).code == 3
    good = {"SecretString": json.dumps({"username": BENIGN, "password": "p"})}
    aws.answers[action] = lambda _, __: (200, good)
    assert clean(ecsauth(*command)).code == 0
    assert sound(target)


@contextlib.contextmanager
def hostile_server(status: int, headers: dict[str, str], body: bytes) -> Iterator[str]:
    """Answer every GET in the same way."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def in_header(evil: str) -> str:
    return re.sub(r"[\r\n\0]", " ", evil).encode("utf-8").decode("latin-1")


def test_object_and_metadata_of_s3(
    ecsauth: RunProgram, target: Path, mark: Path, aws: AwsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    data = json.dumps({"q.io": {"auth": b64("u:p")}})
    good = f"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={data}\n".encode()
    written = 0
    for evil in texts(mark)[2::9]:
        text = in_header(evil)
        metadata = {"x-amz-meta-ecsauth-expires": text, "x-amz-meta-x": text, "ETag": f'"{text}"'}
        for body in (good, hostile_config(evil)):
            with hostile_server(200, metadata, body) as host:
                monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}")
                clean(ecsauth("pull", "s3://fleet/ecs.config", "--to", target, "--restart=never"))
                clean(ecsauth("check", "s3://fleet/ecs.config"))
                written += sound(target)
                target.write_text(BEFORE)
        xml = f"<Error><Code>{text}</Code><Message>{text}</Message></Error>".encode()
        with hostile_server(403, {"Content-Type": "application/xml"}, xml) as host:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}")
            assert clean(ecsauth("check", "s3://fleet/ecs.config")).code == 3
            clean(ecsauth("check", f"s3://fleet/{evil}"))
    assert written >= 4


def test_credential_helper_program(
    ecsauth: RunProgram,
    login_file: Callable[..., Path],
    helpers: Callable[[str, str], Path],
    target: Path,
    mark: Path,
    tmp_path: Path,
) -> None:
    helpers("says", f"cat {tmp_path}/said; cat {tmp_path}/said >&2; exit $(cat {tmp_path}/code)")
    (path,) = [login_file(credHelpers={"q.io": "says"})]
    store = tmp_path / "store.json"
    store.write_text(json.dumps({"credsStore": "says"}))
    answers = [{"Username": BENIGN, "Secret": "p"}]
    for evil in texts(mark)[::4]:
        answers += [{"Username": evil, "Secret": evil}, {evil: evil}]
    written = 0
    for answer in answers:
        for code, said in ((0, json.dumps(answer)), (1, str(next(iter(answer))))):
            (tmp_path / "said").write_text(said)
            (tmp_path / "code").write_text(str(code))
            result = clean(ecsauth("migrate", path, "--to", target))
            assert result.code == 3 or code == 0
            written += sound(target)
            target.write_text(BEFORE)
        clean(ecsauth("convert", store))
    assert written >= 5


def test_verify_and_a_hostile_registry(
    ecsauth: RunProgram, login_file: Callable[..., Path], mark: Path, tmp_path: Path
) -> None:
    for evil in texts(mark)[::5]:
        text = in_header(evil)
        body = json.dumps({"errors": [{"code": evil, "message": evil}]}).encode()
        realm = text.replace('"', "")
        challenge = f'Bearer realm="https://127.0.0.1:1/{realm}",service="{realm}"'
        for header in (f"Basic realm={text}", challenge, text):
            with hostile_server(401, {"WWW-Authenticate": header}, body) as host:
                path = login_file({host: {"auth": b64("u:p")}})
                clean(ecsauth("verify", path))
        clean(ecsauth("verify", login_file({"127.0.0.1:1": {"username": evil, "password": evil}})))
    with hostile_server(200, {}, b"{}") as host:
        result = clean(ecsauth("verify", login_file({host: {"auth": b64("u:p")}})))
    assert host in result.out


def test_credential_helper_protocol(forks: Forks, tmp_path: Path, mark: Path, aws: AwsStub) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name.startswith(("AWS_", "PATH"))},
        "HOME": str(tmp_path / "home"),
        "ECSAUTH_DEBUG": "1",
    }
    host = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
    name = "docker-credential-ecr-login"
    for evil in texts(mark)[::3]:
        for strict in ("", "1"):
            variables = {**environment, "ECSAUTH_STRICT": strict, "AWS_ECR_DISABLE_CACHE": "1"}
            stored = json.dumps({"ServerURL": evil, "Username": evil, "Secret": evil})
            bad = {**variables, "AWS_PROFILE": evil.replace("\0", "0")}
            for done in (
                forks.run(name, "get", environment=variables, stdin=evil),
                forks.run(name, "get", environment=variables, stdin=f"{host}/{evil}"),
                forks.run(name, "get", environment=bad, stdin=host),
                forks.run(name, "store", environment=variables, stdin=stored),
                forks.run(name, "erase", environment=variables, stdin=evil),
                forks.run(name, evil.replace("\0", "0"), environment=variables),
            ):
                assert not unprintable(done.out + done.err), done
                assert len(done.out.splitlines()) <= 1, done
    for path in (tmp_path / "home").rglob("*.log"):
        assert not unprintable(path.read_text(), "\n")
    done = forks.run(name, "get", environment=environment, stdin=host)
    assert json.loads(done.out)["Secret"] == "t0ken"
    assert json.loads(forks.run(name, "list", environment=environment).out) == {
        f"https://{host}": "AWS"
    }


def test_units(ecsauth: RunProgram, tmp_path: Path, mark: Path) -> None:
    """A path that may not stand in a unit is refused; no line or specifier comes in by it."""
    need("systemd-analyze")
    usual = unit_texts(Installation(["/opt/ecsauth/bin/ecsauth"]))
    refused = 0
    for evil in [*texts(mark), " ", "a b", "a\tb"]:
        path = f"/srv/{evil}"
        for given in (
            Installation([f"{path}/ecsauth"]),
            Installation(["/opt/x", path]),
            Installation(["/opt/x"], settings=path),
            Installation(["/opt/x"], writable=[path]),
            Installation(["/opt/x"], state=path),
        ):
            try:
                found = unit_texts(given)
            except UsageError:
                refused += 1
                continue
            for name, text in found.items():
                assert len(text.splitlines()) == len(usual[name].splitlines()), path
                assert not set(path) & set("%$\\\"' ;\n"), path
                assert not unprintable(text)
        clean(ecsauth("install", "units", "-n", "--to", path.replace("\0", "0")))
        state = path.replace("\0", "0")
        clean(ecsauth("install", "units", "-n", "--state-dir", state, "--env-file", ""))
    assert refused > 100
    for name, text in unit_texts(Installation(["/bin/true"], settings="/srv/a.env")).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "ecsauth-refresh.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "EnvironmentFile=-/srv/a.env\n" in (tmp_path / "ecsauth-refresh.service").read_text()
