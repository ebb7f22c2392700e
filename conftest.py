"""Run every example of the README, the docs pages and the docstrings, each document in a folder of its own."""

from __future__ import annotations

import os
import tempfile
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers import myst, rest

_ROOT = Path(__file__).parent


def _enter_folder(namespace: dict[str, Any]) -> None:
    # Examples write where a reader's would: into the current folder. Here that is an empty one.
    namespace["__name__"] = "__main__"  # as in a file of the reader's own
    namespace["_folder"] = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    namespace["_before"] = Path.cwd()
    os.chdir(namespace["_folder"].name)


def _leave_folder(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_before"])
    namespace["_folder"].cleanup()


_OPTIONS = NORMALIZE_WHITESPACE | ELLIPSIS

_pages = Sybil(
    parsers=[
        myst.DocTestDirectiveParser(_OPTIONS),
        myst.PythonCodeBlockParser(doctest_optionflags=_OPTIONS),
        myst.SkipParser(),
    ],
    patterns=["*.md"],
    path=str(_ROOT),
    setup=_enter_folder,
    teardown=_leave_folder,
)
_docstrings = Sybil(
    parsers=[rest.DocTestParser(_OPTIONS), rest.SkipParser()],
    patterns=["*.py"],
    path=str(_ROOT / "src"),
    document_types={".py": PythonDocStringDocument},
    setup=_enter_folder,
    teardown=_leave_folder,
)

pytest_collect_file = (_pages + _docstrings).pytest()
