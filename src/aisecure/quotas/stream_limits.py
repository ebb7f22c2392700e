"""Limits on streamed outputs: how long, how silent, how large."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, Literal

from aisecure.call import Call
from aisecure.content import texts
from aisecure.decisions import Decision
from aisecure.guard import Guard, Pace
from aisecure.quotas.tokens import at_most

__all__ = ["StreamLimits"]


class StreamLimits(Guard):
    """Ends a stream that runs too long, is silent for too long, or gets too large.

    The reader is told as for every refusal in mid-stream: by the documented error frame or the error itself. The
    source is closed, and the other guards settle.

    An asynchronous source (asyncio) is interrupted while it is silent. A plain generator cannot be interrupted while it
    blocks, so it is ended at the first chunk that comes too late: give its client a timeout of its own. The time
    that a reader takes for a chunk is no silence, but counts for ``max_seconds``.

    Args:
        max_seconds: Seconds that a stream may last, from its first chunk being asked for.
        idle_seconds: Seconds that its source may take for a chunk, the first one too. Models think before they
            answer: a minute is short for those that reason.
        max_chunks: Chunks; over HTTP, pieces as the application sent them.
        max_bytes: Bytes of all texts (in UTF-8) and binary chunks.
        name, on, shadow, on_unavailable: As for every `Guard`. In shadow mode nothing is interrupted.

    Raises:
        ValueError: A limit is not above 0, or none is set.

    >>> @StreamLimits(max_chunks=2)
    ... def answer():
    ...     yield from "abc"
    >>> list(answer())
    Traceback (most recent call last):
        ...
    aisecure.errors.QuotaExceeded: The stream has more than 2 chunks.
    """

    name = "stream_limits"
    reads_input = False

    def __init__(
        self,
        *,
        max_seconds: float | None = None,
        idle_seconds: float | None = None,
        max_chunks: int | None = None,
        max_bytes: int | None = None,
        name: str | None = None,
        on: str | Collection[str] = "*",
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        for setting, seconds in (("max_seconds", max_seconds), ("idle_seconds", idle_seconds)):
            if seconds is not None and not (_is_number(seconds) and 0 < seconds < math.inf):
                raise ValueError(f"{setting} is a number above 0, or None for no limit")
        for setting, limit in (("max_chunks", max_chunks), ("max_bytes", max_bytes)):
            if limit is not None and (type(limit) is not int or limit < 1):
                raise ValueError(f"{setting} is a whole number of 1 or more, or None for no limit")
        if max_seconds is idle_seconds is max_chunks is max_bytes is None:
            raise ValueError("at least one limit is set")
        self.max_seconds = max_seconds
        self.idle_seconds = idle_seconds
        self.max_chunks = max_chunks
        self.max_bytes = max_bytes
        self._total = self._idle = None
        if max_seconds is not None:
            reason = f"The stream lasts longer than {max_seconds:g} seconds."
            self._total = (float(max_seconds), Decision.deny("quota.stream_seconds", reason))
        if idle_seconds is not None:
            reason = f"The stream was silent for more than {idle_seconds:g} seconds."
            self._idle = (float(idle_seconds), Decision.deny("quota.stream_idle", reason))

    def pace(self, call: Call) -> Pace:
        """Return what one stream may take; it counts for this stream alone."""
        sized = self.max_chunks is not None or self.max_bytes is not None
        return Pace(idle=self._idle, total=self._total, see=self._counting() if sized else None)

    def _counting(self) -> Callable[[Any], Decision | None]:
        chunks = size = 0

        def see(chunk: Any) -> Decision | None:
            nonlocal chunks, size
            chunks += 1
            if self.max_chunks is not None and chunks > self.max_chunks:
                return Decision.deny(
                    "quota.stream_size", f"The stream has more than {self.max_chunks} chunks."
                )
            if self.max_bytes is not None:
                size += _size(chunk)
                if size > self.max_bytes:
                    return Decision.deny(
                        "quota.stream_size", f"The stream has more than {self.max_bytes} bytes."
                    )
            return None

        return see


def _size(chunk: Any) -> int:
    if isinstance(chunk, bytes | bytearray):
        return len(chunk)
    if isinstance(chunk, memoryview):
        return chunk.nbytes
    return sum(at_most(part.text) for part in texts(chunk, origin="model"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
