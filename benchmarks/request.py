"""A whole request: FastAPI bare, and behind key, limit, permission, pin and audit log."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import _web
from benchmarks._harness import Case, Goal, Table, compare

QUESTION = {"text": "When does the refund for my order arrive? I sent the parcel back two weeks ago."}


def run() -> bool:
    with tempfile.TemporaryDirectory(prefix="aisecure-bench-") as folder:
        plain, key = _web.secured(Path(folder, "plain"))
        scanning, other_key = _web.secured(Path(folder, "scanning"), scan=True)
        table = Table("A request with a JSON body")
        table.cases = [
            Case("FastAPI, bare (the limit)", _web.requests(_web.bare(), "POST", "/ask", body=QUESTION)),
            Case(
                "aisecure: key, role, limit, pin, log",
                _web.requests(plain, "POST", "/ask", body=QUESTION, key=key),
                Goal(2.5),
            ),
            Case(
                "the same, and content scanned in and out",
                _web.requests(scanning, "POST", "/ask", body=QUESTION, key=other_key),
            ),
        ]
        return compare(table)
