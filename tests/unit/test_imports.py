"""The house: who may import whom, and what stays unloaded until it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ecsauth"
CORE = {
    "errors",
    "jsontext",
    "registry",
    "credential",
    "docker_config",
    "engine_auth",
    "ecs_config",
    "agent_json",
    "layout",
    "printed",
    "recover",
    "plan",
    "lease",
    "explain",
    "check",
    "verdict",
    "datadir",
    "status",
    "fleet",
}
ALLOWED = {
    "errors": set(),
    "jsontext": set(),
    **dict.fromkeys(CORE - {"errors", "jsontext"}, CORE),
    "signals": set(),
    "exchange": {"errors", "signals"},
    "ownership": {"errors"},
    "files": {"errors", "exchange", "ownership"},
    "locks": {"errors", "files", "ownership"},
    "aws": {"errors", "aws"},
    "fetch": CORE,
    "update": CORE | {"fetch"},
    "refresh": CORE | {"fetch", "update"},
    "restart": CORE | {"restart"},
    "sources": CORE | {"aws", "files", "sources"},
    "verify": CORE | {"verify"},
    "agent": CORE | {"agent", "aws", "files", "restart"},
    "ssm": CORE | {"aws"},
    "state": CORE | {"files", "locks", "ownership"},
    "settings": {"errors", "files"},
    "notify": set(),
    "scheduler": set(),
    "units": {"errors", "files", "locks"},
    "targets": CORE | {"", "aws", "files", "locks", "ownership", "targets"},
    "helper": CORE | {"", "aws", "files", "ownership", "sources", "helper"},
    "cli": CORE
    | {
        "",
        "files",
        "locks",
        "fetch",
        "update",
        "refresh",
        "restart",
        "sources",
        "targets",
        "verify",
        "agent",
        "ssm",
        "state",
        "aws",
        "helper",
    }
    | {"settings", "notify", "scheduler", "signals", "units", "cli"},
    "aws_lambda": {"cli"},
    "__main__": {"cli"},
    "": set(),
}
"""Room → the rooms that it may import; the empty name is the package itself (its version)."""

IMPURE = {
    "os",
    "sys",
    "time",
    "logging",
    "subprocess",
    "pathlib",
    "socket",
    "datetime",
    "random",
    "shutil",
    "fcntl",
    "io",
    "tempfile",
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        yield ("" if room == "__init__" else room), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms(path: Path) -> set[str]:
    """Return the rooms of the package that a module imports."""
    found = set()
    known = {room for room, _ in modules()}
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "ecsauth":
            found.add(parts[1] if parts[1] in known else "")
    return found


@pytest.mark.parametrize(("room", "path"), list(modules()), ids=lambda item: str(item)[-30:])
def test_arrows_point_one_way(room: str, path: Path) -> None:
    assert room in ALLOWED, f"{room} has no place in the house"
    assert rooms(path) <= ALLOWED[room]


def test_the_core_has_no_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for room, path in modules():
        if room in CORE:
            graph.setdefault(room, set()).update(rooms(path) & CORE - {room})
    assert set(graph) == CORE
    while graph:
        leaves = {room for room, needs in graph.items() if not needs & set(graph)}
        assert leaves, f"cycle among {sorted(graph)}"
        graph = {room: needs for room, needs in graph.items() if room not in leaves}


@pytest.mark.parametrize("room", sorted(CORE | {"fetch", "update", "refresh", "restart"}))
def test_the_core_is_pure(room: str) -> None:
    paths = [path for name, path in modules() if name == room]
    assert paths
    for path in paths:
        assert not {name.split(".")[0] for name in imports(path)} & IMPURE


def test_the_checker_sees_a_forbidden_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from ecsauth.cli.console import say\nimport ecsauth.files\n")
    assert rooms(bad) == {"cli", "files"}


def test_sources_and_targets_do_not_know_each_other() -> None:
    for room, path in modules():
        if room in ("sources", "targets"):
            assert not rooms(path) & ({"sources", "targets"} - {room})


def test_package_is_a_docstring_and_the_version() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    assert [type(node) for node in body] == [ast.Expr, ast.Assign]


def test_convert_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    login = tmp_path / "config.json"
    login.write_text('{"auths":{"q.io":{"auth":"dTpw"}}}')
    program = (
        "import sys; from ecsauth.cli import run; run(sys.argv[1:]);"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )

    def loaded(*arguments: str) -> set[str]:
        command = [sys.executable, "-c", program, "convert", str(login), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return set(done.stderr.split())

    heavy = {"boto3", "botocore", "docker", "rich", "schedule", "requests", "jmespath", "dotenv"}
    assert not loaded() & heavy
    assert "click" in loaded()
    assert "jmespath" in loaded("--select", "auths.*", "--raw")
