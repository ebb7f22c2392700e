"""Count instructions with valgrind's callgrind, where the kernel does not let a process count its own.

A case is run alone in a child, once for a few times and once for many; the difference is the case without start-up.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

#: What a child is told: part, title of the table, name of the case, how often.
ALONE = "BENCHMARK_ALONE"
_SEPARATOR = "\x1f"


def available() -> bool:
    return shutil.which("valgrind") is not None


def alone() -> tuple[str, str, int] | None:
    """Return what this process is to run, when it is such a child: title, case, times."""
    told = os.environ.get(ALONE)
    if told is None:
        return None
    title, case, times = told.split(_SEPARATOR)
    return title, case, int(times)


def per_call(part: str, title: str, cases: Sequence[tuple[str, int]]) -> list[float]:
    """Return the instructions of one call of each case; ``cases`` are names, and how often 20 ms let them run."""

    def count(case: tuple[str, int]) -> float:
        name, times = case
        few = max(2, times // 10)
        many = few * 4
        return (_collected(part, title, name, many) - _collected(part, title, name, few)) / (many - few)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(count, cases))


def _collected(part: str, title: str, case: str, times: int) -> int:
    told = {ALONE: _SEPARATOR.join((title, case, str(times))), "PYTHONHASHSEED": "0"}
    result = subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            sys.executable,
            "-m",
            "benchmarks",
            part,
        ],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode or found is None:
        raise RuntimeError(f"callgrind failed on {case!r}: {result.stderr[-500:]}")
    return int(found.group(1))
