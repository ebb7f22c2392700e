"""Measure each part beside its limit and its peers: ``python -m benchmarks [PART ...]``.

The exit code is 0 also when a goal is missed: a benchmark reports, and people decide.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import _harness


def main(words: list[str]) -> None:
    parts = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    unknown = sorted(set(words) - set(parts))
    if unknown:
        raise SystemExit(f"no part is called {', '.join(unknown)}; there are {', '.join(parts)}")
    counted = (
        "user-mode instructions"
        if _harness.instructions() is not None
        else "CPU time (nobody counts instructions here)"
    )
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}; ratios of {counted}"
    )
    met = [import_module(f"benchmarks.{part}").run() for part in words or parts]
    print(f"\n{sum(met)} of {len(met)} parts met every goal")


if __name__ == "__main__":
    main(sys.argv[1:])
