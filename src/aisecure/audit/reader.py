"""Reading the log while others write it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from aisecure.audit.head import HEAD_BYTES, Head
from aisecure.audit.recovery import segment_path, segments
from aisecure.errors import IntegrityError

__all__ = ["read"]


def read(folder: str | Path) -> Iterator[dict[str, Any]]:
    """Yield each entry of a log, oldest first, as the mapping that its line holds.

    The event is under ``ev``; ``seq`` and ``ts`` tell place and time. Only what the head file counts is read, so
    that a line on its way is not seen half. Nothing is checked beyond the form: that is what `verify` is for.

    Raises:
        OSError: The folder or a file cannot be read.
        IntegrityError: A line is not JSON.

    >>> from aisecure.audit import AuditLog
    >>> AuditLog.open("audit").close()
    >>> [entry["ev"]["type"] for entry in read("audit")]
    ['log.genesis']
    """
    folder = Path(folder)
    head = _head(folder)
    for first in segments(folder):
        if head is not None and first >= head.next:
            return
        path = segment_path(folder, first)
        left = head.length if head is not None and first == head.segment else None
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if left is not None:
                    left -= len(line)
                    if left < 0:
                        return
                if not line.endswith(b"\n"):
                    return  # torn, or on its way
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError:
                    raise IntegrityError(f"{path.name} line {number} is not JSON: run verify") from None


def _head(folder: Path) -> Head | None:
    try:
        with (folder / "audit.head").open("rb") as file:
            return Head.decode(file.read(HEAD_BYTES + 1))
    except FileNotFoundError:
        return None
