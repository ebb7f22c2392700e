"""Who may import whom: arrows point one way, read from the source by ast."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "aisecure"

RECORDS = frozenset(
    "errors decisions principal call content events guard ports reply standing storage notices notices_redis approvals testing"
    " _canonical _flow _pace _protect _stream _json_lines _json_text _json_place _usage _value _sql_database _sql_notices".split()
)
CONCERNS = frozenset(
    "encryption authn access quotas sanitize detect audit models monitor vendors fairness".split()
)
GOVERNANCE = frozenset("privacy compliance assess agents".split())
COMPOSITION = frozenset("config shield".split())

#: Layers from the ground up; a module imports its own layer (concerns: only itself) and those before it.
LAYERS = (
    RECORDS,
    CONCERNS,
    GOVERNANCE,
    COMPOSITION,
    frozenset({"adapters"}),
    frozenset({"apps"}),
    frozenset({"cli"}),
)
#: The package itself resolves names lazily and so reaches every layer; `python -m aisecure` is the command line.
ROOT = frozenset({"__init__", "__main__"})

HEAVY = (
    "pydantic",
    "cryptography",
    "casbin",
    "limits",
    "nh3",
    "structlog",
    "orjson",
    "click",
    "rich",
    "sqlite3",
    "asyncio",
)
FRAMEWORKS = (
    "fastapi",
    "starlette",
    "flask",
    "werkzeug",
    "langchain",
    "langchain_core",
    "httpx",
    "openai",
    "redis",
    "bleach",
    "sqlalchemy",
    "boto3",
    "pandas",
    "presidio_analyzer",
    "spacy",
    "pkcs11",
    "onnxruntime",
    "tokenizers",
)


def _part(path: Path) -> str:
    """Return the first name below the package: ``audit`` for ``audit/log.py``, ``errors`` for ``errors.py``."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def _imports(tree: ast.AST) -> set[str]:
    """Return the modules of the package that a module imports anywhere, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # ``from aisecure import errors`` names a module, ``from aisecure import Shield`` a lazy name.
            if node.module == "aisecure":
                found |= {f"aisecure.{alias.name}" for alias in node.names}
            found.add(f"{'.' * node.level}{node.module or ''}")
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module"
        ):
            found |= {
                arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            }
    return {name for name in found if name == "aisecure" or name.startswith(("aisecure.", "."))}


def _level(part: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


MODULES = sorted(SRC.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SRC)) for path in MODULES])
def test_a_module_imports_only_its_own_part_and_the_layers_below(path: Path) -> None:
    part = _part(path)
    if part in ROOT:
        return
    assert any(part in layer for layer in LAYERS), (
        f"{part} belongs to no layer: add it to LAYERS and to the design"
    )
    for name in _imports(ast.parse(path.read_bytes())):
        assert not name.startswith("."), f"{name}: write the import in full"
        target = name.split(".")[1] if "." in name else "shield"
        if target == part or not any(target in layer for layer in LAYERS):
            # The second: a lazy name of the package, such as Shield; it is a doorway for the top only.
            assert target == part or _level(part) >= _level("shield"), (
                f"import {name} from where it is defined"
            )
            continue
        assert _level(target) <= _level(part), f"{part} must not import {name}: arrows point to the records"
        if part in CONCERNS:
            assert target in RECORDS, (
                f"{part} must not import {name}: concerns meet through a Protocol in ports.py"
            )


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SRC)) for path in MODULES])
def test_a_module_says_what_it_is_and_delays_its_annotations(path: Path) -> None:
    tree = ast.parse(path.read_bytes())
    assert ast.get_docstring(tree), "a module starts with what it is"
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom | ast.Import)]
    if len(tree.body) > len(imports) + 1:
        assert (
            any(getattr(node, "module", "") == "__future__" for node in imports) or path.name == "__main__.py"
        )


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_import_aisecure_loads_no_dependency_and_no_framework() -> None:
    loaded = _modules_after("import aisecure")
    assert not loaded & {*HEAVY, *FRAMEWORKS}
    assert {name for name in loaded if name.startswith("aisecure")} == {"aisecure"}


def test_shield_and_errors_load_no_framework() -> None:
    assert not _modules_after("from aisecure import Shield, AISecureError, Principal") & {
        "pydantic",
        *FRAMEWORKS,
    }


def test_an_adapter_imports_no_other_framework() -> None:
    own = {
        "fastapi": {"fastapi", "starlette"},
        "flask": {"flask", "werkzeug"},
        "_limited_views": {"flask", "werkzeug"},
        "_redacted_views": {"flask"},
        "langchain": {"langchain", "langchain_core"},
        "langchain_history": {"langchain_core"},
        "langchain_retriever": {"langchain_core"},
        "langchain_stores": {"langchain_core"},
        "langchain_vectors": {"langchain_core"},
        "langgraph": {"langchain_core"},
        "onnxruntime": {"onnxruntime", "tokenizers"},
        "pandas": {"pandas"},
        "presidio": {"presidio_analyzer"},
        "spacy": {"spacy"},
        "sqlalchemy": {"sqlalchemy"},
        "sqlalchemy_keys": {"sqlalchemy"},
        "sqlalchemy_policy": {"sqlalchemy"},
        "sqlalchemy_vault": {"sqlalchemy"},
        "_sql_attribute": {"sqlalchemy"},
        "_sql_ciphers": {"sqlalchemy"},
        "_sql_errors": {"sqlalchemy"},
        "_sql_tokens": {"sqlalchemy"},
        "_sql_types": {"sqlalchemy"},
        "_sql_values": {"sqlalchemy"},
        "_message_json": {"langchain_core"},
        "_revealing_embeddings": {"langchain_core"},
    }
    for path in SRC.glob("adapters/*.py"):
        names = {
            name.split(".")[0] for node in ast.walk(ast.parse(path.read_bytes())) for name in _named(node)
        }
        assert names & set(FRAMEWORKS) <= own.get(path.stem, set()), path.name


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
