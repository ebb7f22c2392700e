"""Measure each part beside its limit and its peers: ``python -m benchmarks [PART ...]``.

Where a process cannot count its own instructions, ``--callgrind`` has valgrind count them, which takes minutes.

The exit code is 0 also when a goal is missed: a benchmark reports, and people decide.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import _callgrind, _harness


def main(words: list[str]) -> None:
    parts = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(parts)}; all when none is named")
    parser.add_argument("--table", default="", help="only tables whose title has this text")
    parser.add_argument(
        "--callgrind", action="store_true", help="let valgrind count instructions; takes minutes"
    )
    told = parser.parse_args(words)
    if told.callgrind and not _callgrind.available():
        parser.error("--callgrind needs valgrind, which is not installed")
    unknown = sorted(set(told.part) - set(parts))
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(parts)}")
    counted = (
        "user-mode instructions"
        if _harness.instructions() is not None or told.callgrind
        else "CPU time (nobody counts instructions here)"
    )
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}; ratios of {counted}"
    )
    _harness.TABLE = told.table
    met = []
    for part in told.part or parts:
        _harness.PART = part if told.callgrind else ""
        met.append(import_module(f"benchmarks.{part}").run())
    print(f"\n{sum(met)} of {len(met)} parts met every goal")


if __name__ == "__main__":
    main(sys.argv[1:])
