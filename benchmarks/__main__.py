"""Measure each part beside its limit and its peers: ``python -m benchmarks [--callgrind] [PART ...]``.

Where a process cannot count its own instructions, ``--callgrind`` has valgrind count them, which takes minutes.

The exit code is 0 also when a goal is missed: a benchmark reports, and people decide.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import _callgrind, _harness


def main(words: list[str]) -> None:
    parts = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    callgrind = "--callgrind" in words
    words = [word for word in words if word != "--callgrind"]
    if callgrind and not _callgrind.available():
        raise SystemExit("--callgrind needs valgrind, which is not installed")
    unknown = sorted(set(words) - set(parts))
    if unknown:
        raise SystemExit(f"no part is called {', '.join(unknown)}; there are {', '.join(parts)}")
    counted = (
        "user-mode instructions"
        if _harness.instructions() is not None or callgrind
        else "CPU time (nobody counts instructions here)"
    )
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}; ratios of {counted}"
    )
    met = []
    for part in words or parts:
        _harness.PART = part if callgrind else ""
        met.append(import_module(f"benchmarks.{part}").run())
    print(f"\n{sum(met)} of {len(met)} parts met every goal")


if __name__ == "__main__":
    main(sys.argv[1:])
