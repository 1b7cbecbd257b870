"""Names of registries, images and ECR hosts."""

from __future__ import annotations

import pytest

from ecsauth.credentials.registry import (
    EcrRegistry,
    is_ecr_public,
    parse_auth_key,
    parse_ecr_host,
    parse_image_registry,
    strip_scheme,
)
from ecsauth.errors import RegistryNameError
from tests.builders import HUB


@pytest.mark.parametrize(
    "text",
    [
        "quay.io",
        "https://quay.io",
        "http://registry.example.com:5000",
        "localhost:5000",
        "ghcr.io/org",
        "ghcr.io/org/",
        "https://ghcr.io/org/team",
        "ghcr.io:443",
        "[fd00::1]:5000",
        HUB,
        "index.docker.io/v1/",
        "http://index.docker.io/v1/",
        "my_registry.local",
    ],
)
def test_key_that_the_agent_matches_is_unchanged(text: str) -> None:
    key = parse_auth_key(text)
    assert (key.text, key.repaired) == (text, "")
    assert key.match == strip_scheme(text)


@pytest.mark.parametrize(
    ("text", "written", "match"),
    [
        ("docker.io", HUB, "index.docker.io/v1/"),
        ("https://docker.io", HUB, "index.docker.io/v1/"),
        ("index.docker.io", HUB, "index.docker.io/v1/"),
        ("https://index.docker.io/v1", HUB, "index.docker.io/v1/"),
        ("https://index.docker.io/v2/", HUB, "index.docker.io/v1/"),
        ("registry-1.docker.io", HUB, "index.docker.io/v1/"),
        ("HTTPS://index.docker.io/v1/", HUB, "index.docker.io/v1/"),
        ("HTTPS://quay.io", "quay.io", "quay.io"),
        ("GHCR.IO", "ghcr.io", "ghcr.io"),
        ("https://ghcr.io/", "ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v1/", "ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io", "ghcr.io"),
        ("ghcr.io/v2", "ghcr.io", "ghcr.io"),
    ],
)
def test_key_that_the_agent_cannot_match_is_normalised(text: str, written: str, match: str) -> None:
    key = parse_auth_key(text)
    assert (key.text, key.match) == (written, match)
    assert key.repaired


def test_path_after_an_api_version_is_a_namespace() -> None:
    key = parse_auth_key("ghcr.io/v2/team")
    assert (key.text, key.namespace, key.repaired) == ("ghcr.io/v2/team", "v2/team", "")


@pytest.mark.parametrize("name", ["access-token", "refresh-token"])
def test_docker_hub_session_entry_is_recognised(name: str) -> None:
    assert parse_auth_key(f"https://index.docker.io/v1/{name}").session
    assert not parse_auth_key(HUB).session


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "/x",
        "a b",
        "quay.io\n",
        "quay.io\nX=1",
        'quay.io"',
        "quay.io\\",
        "ü.example",
        "quay.io:port",
        "quay.io:123456",
        "ftp://quay.io",
        "$(id)",
        "-quay.io",
        "quay.io/a b",
        "\u202equay.io",
        "\x1b[31mquay.io",
    ],
)
def test_invalid_registry_name_is_refused(text: str) -> None:
    with pytest.raises(RegistryNameError):
        parse_auth_key(text)


@pytest.mark.parametrize(("length", "fits"), [(1024, True), (1025, False)])
def test_length_of_a_name_is_bounded(length: int, fits: bool) -> None:
    text = "quay.io/" + "a" * (length - 8)
    if fits:
        assert parse_auth_key(text).text == text
    else:
        with pytest.raises(RegistryNameError, match="1,025 characters"):
            parse_auth_key(text)


def test_address_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(RegistryNameError) as caught:
        parse_auth_key("https://user:hunter2@quay.io")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "matchable"),
    [("quay.io", True), ("localhost", True), ("reg:5000", True), ("reg", False), (HUB, True)],
)
def test_host_without_dot_or_port_is_never_matched(text: str, matchable: bool) -> None:
    assert parse_auth_key(text).is_matchable is matchable


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("nginx", "docker.io"),
        ("nginx:1.25", "docker.io"),
        ("org/app", "docker.io"),
        ("reg/app", "docker.io"),
        ("docker.io/library/nginx", "docker.io"),
        ("registry-1.docker.io/org/app", "docker.io"),
        ("localhost/x", "localhost"),
        ("localhost:5000/x", "localhost:5000"),
        ("localhost:5000", "docker.io"),
        ("quay.io/org/app:1", "quay.io"),
        ("ghcr.io/a/b@sha256:" + "a" * 64, "ghcr.io"),
    ],
)
def test_registry_of_an_image(image: str, registry: str) -> None:
    assert parse_image_registry(image) == registry


_SUFFIXES = [
    ("dkr.ecr", "us-west-2", "amazonaws.com"),
    ("dkr.ecr", "cn-north-1", "amazonaws.com.cn"),
    ("dkr.ecr", "eusc-de-east-1", "amazonaws.eu"),
    ("dkr.ecr", "us-iso-east-1", "c2s.ic.gov"),
    ("dkr.ecr", "us-isob-east-1", "sc2s.sgov.gov"),
    ("dkr.ecr", "eu-isoe-west-1", "cloud.adc-e.uk"),
    ("dkr.ecr", "us-isof-south-1", "csp.hci.ic.gov"),
    ("dkr-ecr", "us-west-2", "on.aws"),
    ("dkr-ecr", "cn-north-1", "on.amazonwebservices.com.cn"),
]


@pytest.mark.parametrize("fips", [False, True])
@pytest.mark.parametrize(("service", "region", "suffix"), _SUFFIXES)
def test_ecr_host_of_every_partition(service: str, region: str, suffix: str, fips: bool) -> None:
    host = f"123456789012.{service}{'-fips' if fips else ''}.{region}.{suffix}"
    expected = EcrRegistry(host, "123456789012", region, fips, service == "dkr-ecr")
    assert parse_ecr_host(host) == expected
    assert parse_ecr_host(host.upper()) == expected


@pytest.mark.parametrize(
    "host",
    [
        "123456789012.dkr.ecr.us-west-2.amazonaws.com.evil",
        "x123456789012.dkr.ecr.us-west-2.amazonaws.com",
        "12345678901.dkr.ecr.us-west-2.amazonaws.com",
        "1234567890123.dkr.ecr.us-west-2.amazonaws.com",
        "123456789012.dkr-ecr.us-west-2.amazonaws.com",
        "123456789012.dkr.ecr.us-west-2.on.aws",
        "123456789012.dkr.ecr.us-west-2.amazonaws.com/repo",
        "123456789012.dkr.ecr.us-west-2.amazonaws.com:443",
        "123456789012.dkr.ecr.us_west_2.amazonaws.com",
        "public.ecr.aws",
        "quay.io",
        "",
    ],
)
def test_other_host_is_not_a_private_ecr_registry(host: str) -> None:
    assert parse_ecr_host(host) is None


def test_hosts_of_ecr_public() -> None:
    assert is_ecr_public("public.ecr.aws")
    assert is_ecr_public("ECR-Public.aws.com")
    assert not is_ecr_public("public.ecr.aws.evil")
