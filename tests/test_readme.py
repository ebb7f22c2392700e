"""The README does what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from aisecure.audit import verify

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_ten_line_example_runs_as_pasted_and_prints_what_the_readme_says(tmp_path: Path) -> None:
    code, shown = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == shown
    assert not done.stderr
    assert verify(tmp_path / "data" / "audit").ok


def test_the_ten_line_example_has_about_ten_lines() -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert not [link for link in links if not (Path(__file__).parent.parent / link).exists()]
