"""Whose token it is: what counts of the environment and of the SDK's files."""

from __future__ import annotations

import pytest

from ecsauth.token_cache.principal import principal_of, token_name
from ecsauth.token_cache.sdk_files import SdkFile, SdkFiles

FILES = SdkFiles(SdkFile("/c", b"", None), SdkFile("/d", b"", None))


def files(config: str = "", credentials: str = "") -> SdkFiles:
    return SdkFiles(SdkFile("/c", config.encode(), None), SdkFile("/d", credentials.encode(), None))


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ({}, {}, True),
        ({"AWS_PROFILE": "a"}, {"AWS_PROFILE": "b"}, False),
        ({"AWS_ACCESS_KEY_ID": "AKIA1"}, {"AWS_ACCESS_KEY_ID": "AKIA2"}, False),
        ({"AWS_SESSION_TOKEN": "1"}, {"AWS_SESSION_TOKEN": "2"}, True),
        ({"AWS_SECRET_ACCESS_KEY": "1"}, {"AWS_SECRET_ACCESS_KEY": "2"}, True),
        ({"AWS_REGION": "a"}, {"AWS_REGION": "b"}, True),
        ({"AWS_ROLE_ARN": "r"}, {}, False),
        ({"AWS_PROFILE_123456789012": "a"}, {}, False),
        ({"AWS_ROLE_ARN_123456789012": "a"}, {}, False),
        ({"AWS_PROFILE_999999999999": "a"}, {}, True),
        (
            {"AWS_PROFILE_123456789012": "a", "AWS_ACCESS_KEY_ID": "AKIA1"},
            {"AWS_PROFILE_123456789012": "a", "AWS_ACCESS_KEY_ID": "AKIA2"},
            True,
        ),
        ({"AWS_ENDPOINT_URL": "http://x"}, {}, False),
    ],
)
def test_principal_changes_with_what_decides_the_login(
    first: dict[str, str], second: dict[str, str], is_same: bool
) -> None:
    found = [principal_of("123456789012", item, "/h", FILES) for item in (first, second)]
    assert (found[0] == found[1]) is is_same


@pytest.mark.parametrize(
    ("before", "after", "is_same"),
    [
        ("aws_secret_access_key = a", "aws_secret_access_key = b", True),
        ("aws_session_token=a", "AWS_SESSION_TOKEN = b", True),
        ("role_arn=a\naws_access_key_id = ASIA1", "role_arn=a\naws_access_key_id=ASIA2", True),
        ("x_principal_expires = 1", "x_principal_expires = 2", True),
        ("aws_access_key_id = AKIA1", "aws_access_key_id = AKIA2", False),
        ("[a]", "[b]", False),
        ("role_arn = a", "role_arn = b", False),
    ],
)
def test_principal_does_not_change_with_its_sessions(
    before: str, after: str, is_same: bool
) -> None:
    found = [
        principal_of("", {}, "/h", files("", f"[default]\n{text}\n")) for text in (before, after)
    ]
    assert (found[0] == found[1]) is is_same
    assert principal_of("", {}, "/h", files("a")) != principal_of("", {}, "/h", files("b"))


def test_session_key_is_part_of_the_principal_only_in_a_section_without_a_role() -> None:
    def principal(key: str, more: str = "") -> str:
        text = f"[default]\naws_access_key_id = {key}\n{more}\n[other]\nx_principal_arn = a\n"
        return principal_of("", {}, "/h", files("", text))

    assert principal("ASIA1") != principal("ASIA2")
    assert principal("ASIA1", "x_principal_arn=a") == principal("ASIA2", "x_principal_arn=a")
    assert principal("ASIA1", "role_arn=a") != principal("ASIA1", "role_arn=b")


def test_instance_is_named_by_its_boot_if_by_nothing_else() -> None:
    def principal(boot: str, config: str = "", **environment: str) -> str:
        return principal_of("", environment, "/h", files(config), boot=boot)

    assert principal("1") != principal("2")
    assert principal("1", "x") == principal("2", "x")
    assert principal("1", AWS_PROFILE="p") == principal("2", AWS_PROFILE="p")


def test_secrets_that_variables_name_count() -> None:
    one = {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "alice"}
    other = {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "bob"}
    assert principal_of("", one, "/h", FILES) != principal_of("", other, "/h", FILES)
    found = [principal_of("", {}, "/h", FILES, secrets=item) for item in (b"a", b"b")]
    assert found[0] != found[1]


def test_token_name_is_a_plain_file_name() -> None:
    names = {
        token_name("p", "ecr", "us-west-2", fips=False),
        token_name("p", "ecr", "us-west-2", fips=True),
        token_name("p", "ecr", "us-west-1", fips=False),
        token_name("p", "ecr-public", "us-west-2", fips=False),
        token_name("q", "ecr", "us-west-2", fips=False),
    }
    assert len(names) == 5
    assert all(len(name) == 40 and name.isalnum() for name in names)
