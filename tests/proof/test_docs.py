"""The documentation builds without a warning, and its index has every public name."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zlib
from inspect import isclass, isroutine
from pathlib import Path

import pytest

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", ROOT / "docs", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_public_name_stands_in_the_index(site: Path) -> None:
    # Four lines of text, then the compressed entries: name, kind, priority, address, title.
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    indexed = {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}
    pages = [path.stem for path in (ROOT / "docs" / "reference").glob("*.md")]
    modules = [
        f"aisecure.{page.replace('-', '.')}" for page in pages if page not in {"index", "cli", "aisecure"}
    ]
    assert len(modules) > 20
    # What several modules export is described where it is from, and the pages of the others name that place.
    told = {
        id(getattr(importlib.import_module(module), name))
        for module in modules
        for name in importlib.import_module(module).__all__
        if f"{module}.{name}" in indexed
    }
    for module in modules:
        exported = importlib.import_module(module)
        # A constant or an alias that a package passes on has no docstring to take along.
        described = [
            name
            for name in exported.__all__
            if isroutine(getattr(exported, name)) or isclass(getattr(exported, name))
        ]
        missing = [name for name in described if id(getattr(exported, name)) not in told]
        assert not missing, module


def test_no_page_loads_anything_from_outside(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert 'src="http' not in text, page.name
        assert '<link rel="stylesheet" type="text/css" href="http' not in text, page.name
