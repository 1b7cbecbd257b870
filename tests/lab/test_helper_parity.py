"""The same requests to Amazon's credential helper, as Debian ships it, and to ours."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.builders import HOST
from tests.conftest import missing
from tests.lab.ecr_world import Desk

GO = "/usr/bin/docker-credential-ecr-login"
PROGRAM = "docker-credential-ecr-login"
OTHER = HOST.replace("123456789012", "999999999999")
LOGIN = json.dumps({"ServerURL": HOST, "Username": "AWS", "Secret": "x"})


@dataclass(frozen=True)
class Request:
    """What a client does.

    Attributes:
        arguments: of the program.
        stdin: what it sends.
        variables: of its environment.
        before: server URLs that were asked for before.
        differs: why ours answers otherwise; empty if it does not.

    """

    arguments: tuple[str, ...]
    stdin: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    differs: str = ""


def get(stdin: str, differs: str = "", **variables: str) -> Request:
    return Request(("get",), stdin, variables, differs=differs)


ANCHORED = "ours takes nothing for ECR but the whole host name: the rest may be somebody else's"
NO_HTTP = "a token is not for a plain connection"
NO_EMPTY = "ours says which action failed"
WORDS = "the words of a later version of docker-credential-helpers"
OWN = "ours names itself"
IGNORES = "the variable is of a later version of theirs"
CASE = "a host name has no case"
DIGITS = "an account has twelve digits"
NO_NETWORK = "ours lists what is cached, and asks nobody"
USER = "programs disagree about where a URL with user information leads"
SCHEME = "the scheme of a URL has no case"
KEY = "ours lists the registries that were asked for, not the caller's own"

REQUESTS = {
    # get: the forms of an ECR host
    "host": get(HOST),
    "host and newline": get(f"{HOST}\n"),
    "host and CRLF": get(f"{HOST}\r\n"),
    "host and blanks": get(f"  {HOST}\t "),
    "https": get(f"https://{HOST}"),
    "https and slash": get(f"https://{HOST}/"),
    "v2": get(f"https://{HOST}/v2/"),
    "v1": get(f"https://{HOST}/v1/"),
    "repository": get(f"{HOST}/app"),
    "deep repository": get(f"{HOST}/a/b/c"),
    "tag": get(f"{HOST}/app:1.0"),
    "digest": get(f"{HOST}/app@sha256:{'0' * 64}"),
    "https and tag": get(f"https://{HOST}/app:1.0"),
    "port 443": get(f"{HOST}:443"),
    "https and port 443": get(f"https://{HOST}:443/v2/"),
    "another account": get(OTHER),
    "second time": Request(("get",), HOST, before=(HOST,)),
    "another account of the region": Request(("get",), OTHER, before=(HOST,)),
    "cache disabled": get(HOST, AWS_ECR_DISABLE_CACHE="1"),
    "cache directory": get(HOST, AWS_ECR_CACHE_DIR="/tmp/ecsauth-parity"),
    "region of the caller is another": get(HOST, AWS_REGION="eu-west-1"),
    # get: what is not ECR's
    "docker hub": get("https://index.docker.io/v1/"),
    "docker.io": get("docker.io"),
    "localhost": get("localhost:5000"),
    "ghcr": get("ghcr.io"),
    "gcr": get("https://gcr.io"),
    "amazonaws": get("amazonaws.com"),
    "s3": get("bucket.s3.us-west-2.amazonaws.com"),
    "no region": get("123456789012.dkr.ecr.amazonaws.com"),
    "no account": get("dkr.ecr.us-west-2.amazonaws.com"),
    "account in front of a host": get(f"evil.example.com/{HOST}"),
    "user information": get(f"https://user:password@{HOST}", USER),
    "other domain": get("123456789012.dkr.ecr.us-west-2.example.com"),
    "not a host": get("not a host"),
    "path only": get("/v2/"),
    "letters": get("x"),
    "unicode": get("é.dkr.ecr.us-west-2.amazonaws.com"),
    "a longer host": get(f"{HOST}.example.com"),
    "another port": get(f"{HOST}:8443", ANCHORED),
    "plain http": get(f"http://{HOST}"),
    "letters for an account": get("myaccount.dkr.ecr.us-west-2.amazonaws.com", DIGITS),
    "capitals": get(HOST.upper(), CASE),
    "scheme in capitals": get(f"HTTPS://{HOST}", SCHEME),
    # get: nothing
    "nothing": get(""),
    "blanks": get(" \n\t "),
    # get: AWS fails
    "no credentials": get(HOST, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""),
    "unknown profile": get(
        HOST, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_PROFILE="absent"
    ),
    "region without an API": get(HOST.replace("us-west-2", "eu-west-9")),
    # erase
    "erase": Request(("erase",), HOST),
    "erase https": Request(("erase",), f"https://{HOST}"),
    "erase another": Request(("erase",), "docker.io"),
    "erase nothing": Request(("erase",)),
    "erase ignored": Request(
        ("erase",), HOST, {"AWS_ECR_IGNORE_CREDS_STORAGE": "true"}, differs=IGNORES
    ),
    "erase not ignored": Request(("erase",), HOST, {"AWS_ECR_IGNORE_CREDS_STORAGE": "false"}),
    # store
    "store": Request(("store",), LOGIN),
    "store ignored": Request(
        ("store",), LOGIN, {"AWS_ECR_IGNORE_CREDS_STORAGE": "true"}, differs=IGNORES
    ),
    "store another": Request(("store",), LOGIN.replace(HOST, "docker.io")),
    "store without a secret": Request(("store",), '{"ServerURL":"a","Username":"u"}'),
    "store without a user": Request(("store",), '{"ServerURL":"a","Secret":"s"}'),
    "store without a URL": Request(("store",), '{"Username":"u","Secret":"s"}'),
    "store an empty object": Request(("store",), "{}"),
    "store nothing": Request(("store",), "", differs=NO_EMPTY),
    "store text": Request(("store",), "x", differs=NO_EMPTY),
    "store a list": Request(("store",), "[]", differs=NO_EMPTY),
    # list
    "list without a region": Request(("list",), differs=NO_NETWORK),
    "list with input": Request(("list",), "unused", differs=NO_NETWORK),
    "list without credentials": Request(
        ("list",), variables={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    ),
    "list with a region": Request(
        ("list",), variables={"AWS_REGION": "us-west-2"}, differs=NO_NETWORK
    ),
    "list after get": Request(("list",), before=(HOST, "public.ecr.aws")),
    "list after two gets": Request(("list",), before=(HOST, OTHER), differs=KEY),
    # the rest
    "version": Request(("version",), differs=OWN),
    "-v": Request(("-v",), differs=OWN),
    "no action": Request(()),
    "two arguments": Request(("get", "x")),
    "empty action": Request(("",), differs=WORDS),
    "unknown action": Request(("pull",), differs=WORDS),
    "capital action": Request(("GET",), differs=WORDS),
}


def answer(desk: Desk, folder: str, request: Request) -> tuple[int, object]:
    """Return exit code and stdout, JSON understood, of a request with a home of its own."""
    home = desk.home / folder.strip("/").replace("/", "_")
    home.mkdir()
    path = f"{folder}:{os.environ['PATH']}"
    variables = {"HOME": str(home), "AWS_SDK_LOAD_CONFIG": "1", "PATH": path}
    for url in request.before:
        assert desk.run(PROGRAM, "get", stdin=url, **variables).returncode == 0
    done = desk.run(
        PROGRAM, *request.arguments, stdin=request.stdin, **{**variables, **request.variables}
    )
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        return done.returncode, done.stdout


@pytest.mark.parametrize("name", REQUESTS)
def test_answer_is_the_same_or_differs_for_a_reason(desk: Desk, name: str) -> None:
    if not Path(GO).exists():
        missing(f"needs {GO}")
    desk.install(HOST)
    request = REQUESTS[name]
    theirs = answer(desk, str(Path(GO).parent), request)
    found = answer(desk, str(desk.programs), request)
    if request.differs:
        assert found != theirs, "this difference is gone"
    else:
        assert found == theirs


def test_there_are_many_requests_with_and_without_a_login() -> None:
    assert len(REQUESTS) > 60
    assert len({item.differs for item in REQUESTS.values()}) == 12
