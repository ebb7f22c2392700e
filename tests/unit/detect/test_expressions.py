"""A lazy expression is compiled once, when it is needed, and answers as any other."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.detect.expressions import lazy


@given(st.text(alphabet="abAB1 ", max_size=30), st.integers(0, 10), st.integers(0, 30))
def test_it_answers_as_a_compiled_one(text: str, start: int, end: int) -> None:
    plain = re.compile(r"(a+)(b)?", re.IGNORECASE)
    made = lazy(r"(a+)(b)?", re.IGNORECASE)
    assert [m.span() for m in made.finditer(text, start, end)] == [
        m.span() for m in plain.finditer(text, start, end)
    ]
    assert made.findall(text) == plain.findall(text)
    assert made.sub("x", text) == plain.sub("x", text)
    assert (made.search(text) is None) == (plain.search(text) is None)
    assert made.pattern == plain.pattern


def test_a_wrong_expression_is_told_on_first_use() -> None:
    wrong = lazy("(")
    with pytest.raises(re.error):
        wrong.search("x")


def test_detectors_are_made_without_compiling_what_they_look_for() -> None:
    code = (
        "import re, re._compiler as c\n"
        "count = 0\n"
        "old = c.compile\n"
        "def counting(*a, **k):\n    global count\n    count += 1\n    return old(*a, **k)\n"
        "re._compiler.compile = counting\n"
        "from aisecure.detect import PiiDetector, SecretDetector\n"
        "PiiDetector(); SecretDetector()\n"
        "print(count)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 40
