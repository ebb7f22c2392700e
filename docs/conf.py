"""Settings of the documentation; `make docs` builds it without a network."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from aisecure import __version__
from aisecure.events import EVENT_TYPES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "aisecure"
copyright = "the aisecure authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"aisecure {version}"
html_copy_source = False

# A name in single backticks is code, whether or not a page describes it.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Fields of records are described by their class; as entries of their own they would stand there twice.
napoleon_use_ivar = True


class EventTable(SphinxDirective):
    """The rows of ``aisecure.events.EVENT_TYPES``, so that the page cannot disagree with the program."""

    def run(self) -> list[nodes.Node]:
        lines = ["| Type | Severity | Meaning | Details |", "|---|---|---|---|"]
        for name, row in EVENT_TYPES.items():
            details = ", ".join(f"`{detail}`" for detail in sorted(row.details))
            lines.append(f"| `{name}` | {row.severity.value} | {row.meaning} | {details} |")
        return self.parse_text_to_nodes("\n".join(lines))


def _resolve_lazy_names() -> None:
    # autodoc looks into dir(), where a name that is loaded on first use appears after that use only.
    for page in (Path(__file__).parent / "reference").glob("*.md"):
        for name in re.findall(r"automodule:: (\S+)", page.read_text()):
            module = import_module(name)
            for attribute in module.__all__:
                getattr(module, attribute)


def setup(app: Sphinx) -> None:
    _resolve_lazy_names()
    app.add_directive("event-table", EventTable)
