"""A streamed answer, long enough that the request round it hardly counts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import _web
from benchmarks._harness import Case, Goal, Table, compare

CHUNKS = 500


def run() -> bool:
    with tempfile.TemporaryDirectory(prefix="aisecure-bench-") as folder:
        plain, key = _web.secured(Path(folder, "plain"))
        redacting, other_key = _web.secured(Path(folder, "redacting"), scan=True)
        table = Table(f"A stream of {CHUNKS} chunks (times are of the whole stream)")
        table.cases = [
            Case("FastAPI, bare (the limit)", _stream(_web.bare())),
            Case("aisecure, passed through", _stream(plain, key), Goal(1.3)),
            Case("aisecure, redacting", _stream(redacting, other_key), Goal(3)),
        ]
        return compare(table)


def _stream(app: object, key: str = "") -> Callable[[int], object]:
    return _web.requests(app, "GET", f"/stream/{CHUNKS}", key=key)
