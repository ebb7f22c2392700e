"""The table of event types and the source agree."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from aisecure.events import EVENT_TYPES, Severity

SRC = Path(__file__).parent.parent / "src" / "aisecure"
TREES = {
    path.relative_to(SRC): ast.parse(path.read_bytes())
    for path in SRC.rglob("*.py")
    if path.name != "events.py"
}


def _recorded(tree: ast.AST) -> set[str]:
    """Types that are written where an event is made; a variable in that place is checked by the event itself."""
    found = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", getattr(node.func, "attr", "")) == "SecurityEvent"
        ):
            types = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "type")]
            found |= {type_.value for type_ in types if isinstance(type_, ast.Constant)}
    return found


def _texts(tree: ast.AST) -> set[str]:
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    }


def test_every_event_type_that_the_source_records_is_a_row_of_the_table() -> None:
    unlisted = {str(path): sorted(_recorded(tree) - set(EVENT_TYPES)) for path, tree in TREES.items()}
    assert not {path: types for path, types in unlisted.items() if types}


def test_every_row_of_the_table_is_recorded_somewhere() -> None:
    written = set().union(*map(_texts, TREES.values()))
    assert not sorted(set(EVENT_TYPES) - written)


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_a_row_has_two_dotted_words_a_sentence_and_a_severity(name: str) -> None:
    row = EVENT_TYPES[name]
    family, _, word = name.partition(".")
    assert family.isidentifier()
    assert word.isidentifier()
    assert name == name.lower()
    assert row.meaning.endswith(".")
    assert isinstance(row.severity, Severity)
    assert all(detail.isidentifier() for detail in row.details)
