"""Every code that the source can raise has its entry on the page of errors, and no entry outlives its code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
CODE = re.compile(r"[a-z_]+\.[a-z_]+")


def _written(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions that give an error or a decision its code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
            if getattr(node.func, "attr", getattr(node.func, "id", "")) in {"deny", "Decision"}:
                yield from node.args[:2]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if getattr(target, "id", "") == "default_code":
                yield node.value


@cache
def _codes() -> frozenset[str]:
    return frozenset(
        part.value
        for path in (ROOT / "src").rglob("*.py")
        for written in _written(ast.parse(path.read_bytes()))
        for part in ast.walk(written)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and CODE.fullmatch(part.value)
    )


def _entries() -> list[str]:
    return re.findall(r"^### `([^`]+)`$", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)


def test_every_code_of_the_source_has_an_entry() -> None:
    assert not sorted(_codes() - set(_entries()))


def test_every_entry_is_a_code_of_the_source_and_stands_once() -> None:
    assert not sorted(set(_entries()) - _codes())
    assert len(_entries()) == len(set(_entries()))
