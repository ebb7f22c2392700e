"""What it costs to have the library: import, first shield, memory, and disk."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._harness import show_sizes

ROOT = Path(__file__).parent.parent
ROUNDS = 9

_PROBE = """
import json, os, sys, tempfile, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
begin = time.perf_counter()
{statement}
print(json.dumps([(time.perf_counter() - begin) * 1000, resident()]))
"""
_SHIELD = "from aisecure import Shield; Shield.defaults(tempfile.mkdtemp())"
_STATEMENTS = {
    "bare Python": "pass",
    "import aisecure": "import aisecure",
    "import pydantic": "import pydantic",
    "first Shield": _SHIELD,
}


def run() -> bool:
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in _STATEMENTS}
    for _ in range(ROUNDS):
        for name, statement in _STATEMENTS.items():
            probe = [sys.executable, "-I", "-c", _PROBE.format(statement=statement)]
            out = subprocess.run(probe, check=True, capture_output=True, text=True).stdout
            seen[name].append(tuple(json.loads(out)))
    took = {name: statistics.median(ms for ms, _ in values) for name, values in seen.items()}
    held = {name: statistics.median(mib for _, mib in values) for name, values in seen.items()}
    good = show_sizes(
        f"Start-up (median of {ROUNDS} processes)",
        [
            ("import aisecure", took["import aisecure"], "ms", 60),
            ("import pydantic (for comparison)", took["import pydantic"], "ms", None),
            ("first Shield, imports included", took["first Shield"], "ms", 300),
            ("resident, bare Python", held["bare Python"], "MiB", None),
            ("resident after import aisecure", held["import aisecure"], "MiB", 25),
            ("resident after the first Shield", held["first Shield"], "MiB", None),
        ],
    )
    sizes = installed_sizes()
    return good & show_sizes(
        "Core install (files of all packages, without pip and setuptools)",
        [
            ("total", sum(sizes.values()), "MB", 45),
            *((name, size, "MB", None) for name, size in list(sizes.items())[:6]),
        ],
    )


def installed_sizes() -> dict[str, float]:
    """Build the wheel, install it into an empty environment, and return megabytes by top folder, largest first."""
    with tempfile.TemporaryDirectory(prefix="aisecure-bench-") as folder:
        uv = [sys.executable, "-m", "uv", "--quiet"]
        subprocess.run([*uv, "build", "--wheel", "--out-dir", folder, str(ROOT)], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        subprocess.run([*uv, "venv", "--python", sys.executable, f"{folder}/venv"], check=True)
        subprocess.run(
            [
                *uv,
                "pip",
                "install",
                "--python",
                f"{folder}/venv/bin/python",
                "-c",
                str(ROOT / "constraints.txt"),
                str(wheel),
            ],
            check=True,
        )
        (packages,) = Path(folder, "venv").glob("lib/python*/site-packages")
        sizes = {
            path.name: sum(file.stat().st_blocks * 512 for file in [path, *path.rglob("*")]) / 1e6
            for path in packages.iterdir()
        }
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
