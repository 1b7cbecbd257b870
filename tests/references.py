"""The references of all errors in the package, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.builders import ROOT

PACKAGE = ROOT / "ecsauth"


def references() -> dict[str, str]:
    """Return reference → text of the first error that has it, placeholders as an ellipsis.

    Those that are put together from parts are not found.
    """
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for reference, text in _in_file(path):
            if reference and (text or reference not in found):
                found[reference] = found.get(reference) or text
    return found


def _in_file(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            for item in ast.walk(node):
                if isinstance(item, ast.Assign) and _names(item) == ["reference"]:
                    yield _text(item.value), ""
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.Assign) and _names(item) == ["reference"]:
                    yield _text(item.value), (ast.get_docstring(node) or "").splitlines()[0]
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "reference" and isinstance(keyword.value, ast.Constant):
                    yield _text(keyword.value), _text(node.args[0]) if node.args else ""


def _names(node: ast.Assign) -> list[str]:
    return [item.id for item in node.targets if isinstance(item, ast.Name)]


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            _text(item) if isinstance(item, ast.Constant) else "…" for item in node.values
        )
    return ""
