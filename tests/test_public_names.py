"""The names that others rely on exist, are exported, and stand on a reference page."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "aisecure"
REFERENCE = ROOT / "docs" / "reference"

#: Names that stay: other tools are written against them.
STABLE = {
    "aisecure": "Shield protect Principal Decision Finding Guard Call AISecureError Denied AuthenticationError AccessDenied"
    " QuotaExceeded InputRejected OutputBlocked ModelNotPinned Unavailable Misconfigured",
    "aisecure.encryption": "BlindIndex Encrypted FieldCipher KeyFile Keyring SubjectKeys",
    "aisecure.authn": "ApiKeys",
    "aisecure.access": "Authorizer require_permission",
    "aisecure.quotas": "rate_limit RateLimiter",
    "aisecure.sanitize": "sanitize_html clean_text encode",
    "aisecure.detect": "Redactor",
    "aisecure.audit": "AuditLog verify",
    "aisecure.models": "ModelPins",
    "aisecure.testing": "capture_events FrozenClock memory_storage memory_ports",
}

#: Every concern offers the same four, by which the configuration and the doctor reach it.
CONCERNS = "encryption authn access quotas sanitize detect audit models agents".split()
#: Two concerns make parts and no guards, so they open it under a name of their own.
OPENERS = {"audit": "open_log", "encryption": "open_parts"}


#: Packages inside a concern that users import from by name.
INNER = ["aisecure.encryption.providers", "aisecure.encryption.tls"]


def _public_modules() -> list[str]:
    """Modules at the top, concerns as packages (not what is inside them), and each adapter."""
    found = []
    for path in sorted([*SRC.glob("*"), *SRC.glob("adapters/*.py")]):
        name = path.stem
        if name.startswith("_") or name in {"apps", "cli", "adapters"}:
            continue
        if path.is_dir() and not (path / "__init__.py").exists():
            continue
        if path.is_dir() or path.suffix == ".py":
            found.append(".".join(["aisecure", *path.relative_to(SRC).with_suffix("").parts]))
    return ["aisecure", *found, *INNER]


MODULES = _public_modules()


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_name_is_importable_once(name: str) -> None:
    module = importlib.import_module(name)
    exported = list(module.__all__)
    assert len(exported) == len(set(exported))
    for attribute in exported:
        assert hasattr(module, attribute), f"{name}.{attribute} is exported and absent"
        assert attribute == "__version__" or not attribute.startswith("_")


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_class_and_function_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    for attribute in module.__all__:
        value = getattr(module, attribute)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{attribute} says nothing about itself"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_module_has_a_reference_page_that_lists_its_names(name: str) -> None:
    page = REFERENCE / f"{name.removeprefix('aisecure.').replace('.', '-')}.md"
    assert page.exists(), f"write {page.relative_to(ROOT)}"
    text = page.read_text()
    # automodule lists what __all__ names; `make docs` fails when it cannot.
    assert re.search(rf"automodule:: {re.escape(name)}\n\s*:members:", text), (
        f"{page.name} does not document {name}"
    )


@pytest.mark.parametrize("name", STABLE)
def test_the_names_that_stay_are_exported(name: str) -> None:
    assert set(STABLE[name].split()) <= set(importlib.import_module(name).__all__)


def test_the_top_stays_short() -> None:
    assert len(importlib.import_module("aisecure").__all__) <= 20


@pytest.mark.parametrize("name", CONCERNS)
def test_every_concern_has_settings_a_builder_and_self_tests(name: str) -> None:
    concern = importlib.import_module(f"aisecure.{name}")
    settings = concern.Settings
    assert settings.model_config["extra"] == "forbid"
    assert settings.model_config["frozen"]
    settings()  # every setting has a default
    assert callable(getattr(concern, OPENERS.get(name, "build")))
    checks = concern.self_tests()
    assert checks
    assert all(callable(check) for check in checks.values())


@pytest.mark.parametrize("name", CONCERNS)
def test_every_self_test_of_a_concern_passes(name: str) -> None:
    for check in importlib.import_module(f"aisecure.{name}").self_tests().values():
        check()


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Sheild'"):
        importlib.import_module("aisecure").Sheild  # noqa: B018
