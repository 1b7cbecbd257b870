"""The protocol: exact words and exit codes, for every action and form of input."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from ecsauth import __version__
from ecsauth.errors import SourceError
from ecsauth.helper.protocol import Reply, serve
from ecsauth.token_cache.server import Login, Server, parse_server_url
from tests.builders import HOST

NOT_FOUND = "credentials not found in native keychain"


class FakeVault:
    """Knows one login, and notes what it is asked for."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.asked: list[str] = []

    def login(self, server: Server) -> Login:
        self.asked.append(f"login {server.host}")
        if self.fails:
            raise SourceError("ECR: access denied", "attach a policy")
        return Login("AWS", 's3"cret')

    def forget(self, server: Server) -> None:
        self.asked.append(f"forget {server.host}")

    def hosts(self) -> Sequence[str]:
        self.asked.append("hosts")
        return [HOST]


def unread() -> bytes:
    raise AssertionError("standard input was read")


def ask(action: str, text: str = HOST, vault: FakeVault | None = None, **how: bool) -> Reply:
    return serve([action], lambda: text.encode(), vault or FakeVault(), **how)


@pytest.mark.parametrize(
    "url",
    [
        HOST,
        f"https://{HOST}",
        f"HTTPS://{HOST}/",
        f"https://{HOST}/v2/",
        f"{HOST}/repo",
        f"{HOST}/a/repo:tag",
        f"{HOST}:443",
        f"https://{HOST}:443/v2/",
        HOST.upper(),
        f" {HOST}\r\n",
    ],
)
def test_get_answers_every_form_of_a_server_url_as_it_was_given(url: str) -> None:
    vault = FakeVault()
    reply = ask("get", url, vault)
    assert reply.code == 0
    expected = {"ServerURL": url.strip(), "Username": "AWS", "Secret": 's3"cret'}
    assert reply.text == json.dumps(expected, separators=(",", ":"))
    assert vault.asked == [f"login {HOST}"]


@pytest.mark.parametrize(
    ("host", "region", "fips", "dual_stack"),
    [
        ("123456789012.dkr.ecr.us-west-2.amazonaws.com", "us-west-2", False, False),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", True, False),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1", False, True),
        ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "us-east-1", True, True),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", False, False),
        ("123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1", False, True),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", False, False),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", False, False),
        ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", False, False),
        ("123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", False, False),
        ("123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", False, False),
    ],
)
def test_host_of_every_partition_is_understood(
    host: str, region: str, fips: bool, dual_stack: bool
) -> None:
    found = parse_server_url(f"https://{host}/v2/")
    assert found is not None
    assert found.registry is not None
    registry = found.registry
    assert (registry.region, registry.fips, registry.dual_stack) == (region, fips, dual_stack)


@pytest.mark.parametrize("host", ["public.ecr.aws", "ecr-public.aws.com", "Public.ECR.aws/a/b"])
def test_host_of_ecr_public_is_understood(host: str) -> None:
    found = parse_server_url(host)
    assert found is not None
    assert found.registry is None


@pytest.mark.parametrize(
    "url",
    [
        "docker.io",
        "https://index.docker.io/v1/",
        f"{HOST}.evil.example.com",
        f"evil.example.com/{HOST}",
        f"https://user:password@{HOST}",
        f"{HOST}@evil.example.com",
        f"http://{HOST}",
        f"{HOST}:8443",
        f"x{HOST}",
        f"1{HOST}",
        f"{HOST}\0",
        f"{HOST}\n{HOST}",
        "amazonaws.com",
        HOST + "/" + "x" * 4000,
        "١٢٣٤٥٦٧٨٩٠١٢.dkr.ecr.us-west-2.amazonaws.com",
        f"{HOST}é",
    ],
)
def test_get_of_what_is_not_ecr_is_not_found_without_asking(url: str) -> None:
    vault = FakeVault()
    assert ask("get", url, vault) == Reply(NOT_FOUND, 1)
    assert ask("get", url, vault, is_strict=True) == Reply(NOT_FOUND, 1)
    assert vault.asked == []
    assert ask("get", HOST, vault).code == 0


def test_failure_of_aws_is_not_found_or_told_if_strict() -> None:
    assert ask("get", vault=FakeVault(fails=True)) == Reply(NOT_FOUND, 1)
    strict = ask("get", vault=FakeVault(fails=True), is_strict=True)
    assert strict == Reply("ECR: access denied; attach a policy", 1)


@pytest.mark.parametrize("action", ["get", "erase"])
@pytest.mark.parametrize("text", ["", " \n\t "])
def test_empty_server_url_is_said(action: str, text: str) -> None:
    vault = FakeVault()
    assert ask(action, text, vault) == Reply("no credentials server URL", 1)
    assert ask(action, text, vault, ignores_storage=True).code == 1
    assert vault.asked == []


def test_list_reads_no_standard_input() -> None:
    reply = serve(["list"], unread, FakeVault())
    assert reply == Reply(f'{{"https://{HOST}":"AWS"}}')


def test_erase_drops_the_token_and_says_that_nothing_is_stored() -> None:
    vault = FakeVault()
    assert ask("erase", f"https://{HOST}", vault) == Reply("not implemented", 1)
    assert ask("erase", HOST, vault, ignores_storage=True) == Reply("")
    assert vault.asked == [f"forget {HOST}"] * 2
    assert ask("erase", "docker.io", vault, ignores_storage=True) == Reply("")
    assert len(vault.asked) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no credentials server URL"),
        ("{}", "no credentials server URL"),
        ("null", "standard input is not a JSON object"),
        ('{"ServerURL":"a"}', "no credentials username"),
        ('{"ServerURL":"a","Username":""}', "no credentials username"),
        ('{"ServerURL":"a","Username":"u","Secret":"s"}', "not implemented"),
        ('{"serverurl":"a","USERNAME":"u"}', "not implemented"),
        ("x", "standard input is not JSON"),
        ("[1]", "standard input is not a JSON object"),
        ("[" * 100_000, "standard input is not JSON"),
    ],
)
def test_store_says_what_is_wrong_and_stores_nothing(text: str, said: str) -> None:
    vault = FakeVault()
    assert ask("store", text, vault) == Reply(said, 1)
    expected = Reply("") if said == "not implemented" else Reply(said, 1)
    assert ask("store", text, vault, ignores_storage=True) == expected
    assert vault.asked == []


USAGE = "Usage: docker-credential-ecr-login <store|get|erase|list|version>"


@pytest.mark.parametrize("arguments", [[], ["get", "x"], ["", ""]])
def test_wrong_number_of_arguments_is_said(arguments: list[str]) -> None:
    assert serve(arguments, unread, FakeVault()) == Reply(USAGE, 1)


def test_unknown_action_is_said_and_made_printable() -> None:
    program = "docker-credential-ecr-login"
    assert serve(["pull"], unread, FakeVault()) == Reply(f"{program}: unknown action: pull", 1)
    assert "\x1b" not in serve(["\x1b[2J"], unread, FakeVault()).text


@pytest.mark.parametrize("argument", ["version", "-v", "--version"])
def test_version_names_program_and_package(argument: str) -> None:
    expected = f"docker-credential-ecr-login (ecsauth) {__version__}"
    assert serve([argument], unread, FakeVault()) == Reply(expected)


@pytest.mark.parametrize("argument", ["-h", "--help"])
def test_help_names_every_variable(argument: str) -> None:
    reply = serve([argument], unread, FakeVault())
    assert reply.code == 0
    assert reply.text.startswith(USAGE)
    for name in (
        *("AWS_ECR_CACHE_DIR", "AWS_ECR_DISABLE_CACHE", "AWS_ECR_IGNORE_CREDS_STORAGE"),
        *("ECSAUTH_STRICT", "ECSAUTH_DEBUG", "AWS_PROFILE_<account>", "AWS_ROLE_ARN_<account>"),
    ):
        assert name in reply.text


def test_secret_is_in_no_representation() -> None:
    assert "s3cret" not in repr(Login("u", "s3cret"))
    assert "s3cret" not in repr(Reply("s3cret"))
