"""Write ``src/aisecure/sanitize/confusables.txt`` from ``confusables.txt`` of Unicode Technical Standard #39.

``python -m training.confusables confusables.txt`` with the file of the Unicode version that is wanted
(https://www.unicode.org/Public/security/).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TARGET = Path(__file__).parents[2] / "src" / "aisecure" / "sanitize" / "confusables.txt"
_VERSION = re.compile(r"^# Version: (\S+)", re.MULTILINE)
_ROW = re.compile(r"^([0-9A-F]+) ;\t([0-9A-F ]+) ;\tMA", re.MULTILINE)


def main(source: Path) -> None:
    """Group the rows by what they look like: a third of the size, and still readable."""
    text = source.read_text("utf-8-sig")
    version = _VERSION.search(text)
    looks: dict[str, list[str]] = {}
    for letter, prototype in _ROW.findall(text):
        looks.setdefault(prototype.strip(), []).append(letter)
    if version is None or not looks:
        sys.exit(f"{source}: not the confusables.txt of Unicode Technical Standard #39")
    rows = sorted(looks.items(), key=lambda row: [int(point, 16) for point in row[0].split()])
    head = (
        f"# Letters and what they look like: confusables.txt of UTS #39, version {version[1]}, grouped by prototype.\n"
        "# Copyright 1991-2022 Unicode, Inc.; see UNICODE-LICENSE.txt. Written by training/confusables.\n"
    )
    TARGET.write_text(head + "".join(f"{prototype}:{' '.join(letters)}\n" for prototype, letters in rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
