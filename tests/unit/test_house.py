"""The house: who may import whom, and what stays unloaded until it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import ROOT

PACKAGE = ROOT / "ecsauth"

VALUES = {"errors", "credentials", "engine_auth"}
DRIVERS = {"aws", "host", "state"}
EDGES = {
    "sources",
    "targets",
    "agent",
    "registries",
    "fleet",
    "token_cache",
    "installation",
}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "credentials": {"errors"},
    "engine_auth": {"errors", "credentials"},
    "host": {"errors"},
    # An ECR token becomes a credential where it is decoded; calls have a deadline.
    "aws": {"errors", "credentials", "host"},
    "state": {"errors", "credentials", "host"},  # leases are values; its file is the host's
    **dict.fromkeys(EDGES, VALUES | DRIVERS),
    "app": VALUES | DRIVERS | EDGES,
    "cli": VALUES | {"app"},
    "helper": VALUES | DRIVERS | {"token_cache"},  # round the use cases, for speed
    "aws_lambda": VALUES | {"app"},
    "__main__": {"cli"},
}
"""Room → the rooms left of it that it may import."""

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("cli", "host.settings_file"): "the settings file is a part of the command line",
    ("cli", "host.streams"): "standard output is the command's own",
    ("cli", "agent.restart.policy"): "a part of requests, and the edge works by it",
    ("cli", "agent.restart.ports"): "AgentOutcome, a part of results",
    ("cli", "agent.datadir"): "the names of verdicts, for the screen",
    ("cli", "fleet.values"): "the names of statuses, for the screen",
    ("cli", "fleet.rollout"): "what the screen shows",
    ("aws_lambda", "cli.commands.refresh"): "settings are read as the command reads them",
    ("aws_lambda", "cli.console"): "its log is stderr as JSON",
    ("aws_lambda", "cli.ports"): "its log is stderr as JSON",
    ("aws_lambda", "cli.render.json"): "it returns what --json prints",
    ("aws_lambda", "cli.render.text"): "its log is stderr as JSON",
}
"""(Room, module of another room) → why it may import that all the same."""

LAZY: dict[str, str] = {
    "app.wiring": "it builds the edges, and most runs need few of them",
    "sources.schemes": "the table of SOURCE schemes",
    "sources.aws_source": "the AWS half of that table",
    "targets.forms": "the table of TARGET forms",
}
"""Modules whose functions import others of the package. Elsewhere a line must say why."""

IMPURE = {
    *("os", "sys", "time", "logging", "subprocess", "pathlib", "socket", "datetime", "random"),
    *("shutil", "fcntl", "io", "tempfile"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Yield module and line of each import of the package's own, those in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.partition(".")[0] == "ecsauth":
                inner = name.partition(".")[2]
                while inner and inner not in MODULES:
                    inner = inner.rpartition(".")[0]
                yield inner, getattr(node, "lineno", 0)


def may_import(module: str, other: str) -> bool:
    room, wanted = room_of(module), room_of(other)
    if wanted in ("", room):
        return True
    return wanted in MAY_IMPORT[room] or (room, other) in EXCEPTIONS


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_arrows_point_left(module: str) -> None:
    assert room_of(module) in MAY_IMPORT, f"{module} is in no room of the house"
    wrong = [other for other, _ in imported(MODULES[module]) if not may_import(module, other)]
    assert not wrong


def test_checker_sees_a_forbidden_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "def f():\n    from ecsauth.cli.console import say\n    import ecsauth.host.locks\n"
    )
    found = [module for module, _ in imported(bad)]
    assert found == ["cli.console", "host.locks"]
    assert not may_import("sources.ecr", "cli.console")
    assert not may_import("sources.ecr", "targets.s3")
    assert not may_import("cli.commands.status", "host.locks")
    assert may_import("sources.ecr", "host.locks")


def test_every_exception_is_used() -> None:
    used = {
        (room_of(module), other)
        for module, path in MODULES.items()
        if module
        for other, _ in imported(path)
    }
    assert set(EXCEPTIONS) <= used


def test_no_circle_among_modules() -> None:
    graph = {
        module: {other for other, _ in _at_load(path) if other != module and other}
        for module, path in MODULES.items()
        if module
    }
    while graph:
        leaves = {module for module, needs in graph.items() if not needs & set(graph)}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {module: needs for module, needs in graph.items() if module not in leaves}


def _at_load(path: Path) -> Iterator[tuple[str, int]]:
    """Yield what a module imports, but for what a package imports of itself."""
    package = module_name(path.parent / "__init__.py")
    for other, line in imported(path):
        if not (other == package and path.name != "__init__.py"):
            yield other, line


def test_lazy_imports_say_why() -> None:
    silent = []
    for module, path in MODULES.items():
        if module in LAZY:
            continue
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith("ecsauth"):
                    near = lines[inner.lineno - 2 : inner.end_lineno]
                    if not any("#" in line for line in near):
                        silent.append(f"{module}:{inner.lineno}")
    assert not silent


@pytest.mark.parametrize(
    "module",
    [name for name in MODULES if room_of(name) in VALUES] + ["agent.datadir", "fleet.rollout"],
)
def test_values_are_pure(module: str) -> None:
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert not names & IMPURE


def test_top_of_the_package_holds_rooms_only() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "aws_lambda.py",
        "py.typed",
        "README.md",
    }


def test_package_is_a_docstring_and_the_version() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    assert [type(node) for node in body] == [ast.Expr, ast.Assign]


def test_only_aws_imports_boto() -> None:
    for module, path in MODULES.items():
        if room_of(module) != "aws":
            for node in ast.walk(ast.parse(path.read_text())):
                name = node.module if isinstance(node, ast.ImportFrom) else ""
                assert not (name or "").startswith(("boto3", "botocore")), module


def test_convert_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    login = tmp_path / "config.json"
    login.write_text('{"auths":{"q.io":{"auth":"dTpw"}}}')
    program = (
        "import sys; from ecsauth.cli.program import run; run(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr)"
    )

    def loaded(*arguments: str) -> set[str]:
        command = [sys.executable, "-c", program, "convert", str(login), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return set(done.stderr.split())

    names = loaded()
    heavy = {"boto3", "botocore", "docker", "rich", "schedule", "requests", "jmespath", "dotenv"}
    assert not names & heavy
    assert not {name for name in names if name.startswith(("ecsauth.aws", "ecsauth.token_cache"))}
    assert "click" in names
    assert "jmespath" in loaded("--select", "auths.*", "--raw")
