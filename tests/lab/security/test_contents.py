"""What is shipped: everything that is needed and nothing else; what is imported is declared."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.builders import ROOT

DISTRIBUTIONS = {"dotenv": "python-dotenv", "botocore": "boto3"}
"""Import name → the distribution that it comes with, where they differ."""
WITHOUT_LIMIT = {"rich"}
"""Only prints, and only on a terminal."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the wheel and the source archive, as the build backend makes them."""
    folder = tmp_path_factory.mktemp("dist")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    tools = tmp_path_factory.mktemp("tools")
    subprocess.run(
        [*pip, "wheel", "--no-deps", "-w", folder, ROOT], check=True, capture_output=True
    )
    subprocess.run(
        [*pip, "install", "--target", tools, "hatchling"], check=True, capture_output=True
    )
    code = f"import sys; sys.path.insert(0, {str(tools)!r}); import hatchling.build as b"
    subprocess.run(
        [sys.executable, "-c", f"{code}; b.build_sdist({str(folder)!r})"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def source(built: Path) -> set[str]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def below(folder: str) -> set[str]:
    """Return the files of a folder of the project."""
    found = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()}
    return {str(path) for path in found if "__pycache__" not in path.parts}


def test_wheel_has_the_package_units_samples_and_nothing_else(wheel: set[str]) -> None:
    units = {f"ecsauth/_systemd/{path.name}" for path in (ROOT / "systemd").iterdir()}
    samples = {f"ecsauth/_{name}" for name in below("samples")}
    meta = {name for name in wheel if ".dist-info/" in name}
    assert wheel - meta == below("ecsauth") | units | samples
    assert len(samples) > 20
    assert len(units) == 3
    assert {name.rpartition("/")[2] for name in meta} == {
        *("METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE")
    }


def test_source_archive_has_what_readme_names(source: set[str]) -> None:
    named = set(re.findall(r"samples/[\w./-]*\w", (ROOT / "README.md").read_text()))
    assert len(named) > 20
    files = {name for name in named if (ROOT / name).is_file()}
    assert len(files) > 15
    assert files <= source
    assert below("samples") | below("systemd") | below("ecsauth") <= source
    for name in (
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "pyproject.toml",
        "tests/run",
        "tests/venv",
    ):
        assert name in source
    odd = {name for name in source if name.split("/")[0].startswith(".v") or "__pycache__" in name}
    assert odd == set()


def test_no_command_reads_a_file_that_only_the_source_archive_has() -> None:
    """The samples are named in help texts alone; what code opens is in the package."""
    for path in (ROOT / "ecsauth").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                opened = re.fullmatch(r"\.?\.?/?(samples|tests)(/\S*)?", node.value)
                assert opened is None, f"{path}:{node.lineno} opens {node.value}"


def imported() -> set[str]:
    """Return the distributions that the package imports."""
    names = set()
    for path in (ROOT / "ecsauth").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {item.name.partition(".")[0] for item in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return {DISTRIBUTIONS.get(name, name) for name in names - {"ecsauth"} if _is_installed(name)}


def _is_installed(name: str) -> bool:
    """Return whether a module is none of Python's own."""
    found = importlib.util.find_spec(name)
    return found is None or "site-packages" in (found.origin or "")


def declared() -> dict[str, str]:
    """Return distribution → range of versions, of what is needed to run."""
    lines = [line for line in requires("ecsauth") or [] if "extra ==" not in line]
    pairs = [re.fullmatch(r"([a-z0-9-]+)([<>=!~,.\d]*)", line) for line in lines]
    return {pair[1]: pair[2] for pair in pairs if pair}


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    assert imported() == set(declared())
    assert {"boto3", "click", "python-dotenv"} <= imported()


def test_every_dependency_has_a_range() -> None:
    for name, versions in declared().items():
        bounds = sorted(versions.split(","))
        kinds = [re.match(r"[<>=!~]+", bound) for bound in bounds]
        expected = [">="] if name in WITHOUT_LIMIT else ["<", ">="]
        assert [kind[0] if kind else "" for kind in kinds] == expected, (name, versions)
    text = (ROOT / "pyproject.toml").read_text()
    for name in declared():
        assert text.count(f'"{name}>=') == 1
