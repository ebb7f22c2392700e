"""Labelled data: a JSON object a line, perhaps compressed."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aisecure.cli._printable import printable
from aisecure.errors import Misconfigured
from aisecure.storage import file_error

__all__ = ["rows"]


def rows(path: Path) -> Iterator[Any]:
    """Return the values of a file's lines.

    Raises:
        Misconfigured: It cannot be read, or a line is no JSON.
    """
    open_text: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with open_text(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except (ValueError, RecursionError):
                        raise Misconfigured(f"{printable(path.name)}: line {number} is no JSON") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{printable(path.name)}: is not UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Misconfigured(f"{printable(path.name)}: is no whole file of gzip") from None
    except OSError as err:
        raise file_error(path, err) from err
