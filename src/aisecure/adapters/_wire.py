"""Streams on the wire, piece by piece through a `Gate`: server-sent events, JSON lines, plain text.

Each codec is fed body bytes cut anywhere and returns the bytes that may go out. An event or line whose text no guard
changed leaves byte for byte as it came.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Protocol

import orjson

from aisecure._stream import Gate
from aisecure.adapters._problems import JSON_LINES
from aisecure.errors import OutputBlocked

__all__ = ["DONE", "EVENT_END", "Codec", "Records", "codec_for", "event_parts", "written_event"]

#: What ends a line of server-sent events, and what ends an event. A carriage return ends a line only when it is known not
#: to be half of CR LF.
_LINE = re.compile(rb"\r\n|\n|\r")
EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
_BOM = b"\xef\xbb\xbf"
#: OpenAI's last event.
DONE = b"[DONE]"
#: A longer event or line is withheld: it has to be held in memory to be read.
MAX_RECORD_BYTES = 1 << 20


class Codec(Protocol):
    """Bytes in, bytes out."""

    def feed(self, data: bytes) -> bytes:
        """Return what may go out after one more piece."""

    def finish(self) -> bytes:
        """Return what was held back; call once, at the end."""


def codec_for(media_type: str, gate: Gate) -> Codec:
    """Return the codec of a media type."""
    if media_type == "text/event-stream":
        return _Events(gate)
    if media_type in JSON_LINES:
        return _Lines(gate)
    return _Plain(gate)


class _Plain:
    """Text without structure."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def feed(self, data: bytes) -> bytes:
        return b"".join(self._gate.feed(data))

    def finish(self) -> bytes:
        return b"".join(self._gate.finish())


class Records:
    """Whole records out of pieces, each of which becomes what `_record` makes of it.

    Args:
        end: Matches the end of a record.
    """

    def __init__(self, end: re.Pattern[bytes]) -> None:
        self._end = end
        self._pending = bytearray()
        self._scanned = 0

    def feed(self, data: bytes) -> bytes:
        self._pending += data
        out = []
        start = 0
        while found := self._end.search(self._pending, max(start, self._scanned)):
            out.append(self._record(bytes(self._pending[start : found.end()])))
            start = self._scanned = found.end()
        del self._pending[:start]
        # An end may have begun in the last three bytes.
        self._scanned = max(0, len(self._pending) - 3)
        if len(self._pending) > MAX_RECORD_BYTES:
            raise OutputBlocked("An event or line of the answer is too long.", code="output.too_large")
        return b"".join(out)

    def finish(self) -> bytes:
        last = self._record(bytes(self._pending)) if self._pending else b""
        return last + self._close()

    def _record(self, raw: bytes) -> bytes:
        raise NotImplementedError

    def _close(self) -> bytes:
        raise NotImplementedError


class _Gated(Records):
    """What the two formats share: the texts of records go through a gate."""

    def __init__(self, end: re.Pattern[bytes], gate: Gate) -> None:
        super().__init__(end)
        self._gate = gate
        self._ended = False
        #: Whether the texts of this stream are JSON strings; what is held back leaves in the form of the last.
        self._quoted = False

    def _close(self) -> bytes:
        if self._ended:
            return b""
        self._ended = True
        return b"".join(self._write(value) for value in self._gate.finish())

    def _offer(self, data: bytes) -> list[Any] | None:
        """Return what the gate made of a record, or None when it left it as it was."""
        if self._ended:
            raise OutputBlocked("The answer went on after its end.", code="output.protocol")
        value: Any = data.decode("utf-8", "surrogateescape")
        self._quoted = False
        if data[:1] in (b"{", b"[", b'"'):
            with suppress(orjson.JSONDecodeError):
                value = orjson.loads(data)
                self._quoted = True
        if not value:
            return None
        out = list(self._gate.feed(value))
        return None if len(out) == 1 and (out[0] is value or out[0] == value) else out

    def _body(self, value: Any) -> bytes:
        if isinstance(value, str) and not self._quoted:
            return value.encode("utf-8", "surrogateescape")
        return orjson.dumps(value)

    def _write(self, value: Any) -> bytes:
        raise NotImplementedError


class _Lines(_Gated):
    """JSON lines; a line that is no JSON is text."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(re.compile(rb"\n"), gate)

    def _record(self, raw: bytes) -> bytes:
        line = raw.strip()
        if not line:
            return raw
        out = self._offer(line)
        return raw if out is None else b"".join(self._write(changed) for changed in out)

    def _write(self, value: Any) -> bytes:
        return self._body(value) + b"\n"


class _Events(_Gated):
    """Server-sent events: the ``data`` of each is JSON or text."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(EVENT_END, gate)

    def _record(self, raw: bytes) -> bytes:
        data, fields = event_parts(raw)
        if data is None:
            return raw
        if data.strip() == DONE:  # what is held back has to leave before it
            return self._close() + raw
        out = self._offer(data)
        if out is None:
            return raw
        if not out:
            return fields + b"\n" if fields else b""
        return b"".join(fields + self._write(changed) for changed in out)

    def _write(self, value: Any) -> bytes:
        return written_event(self._body(value))


def event_parts(raw: bytes) -> tuple[bytes | None, bytes]:
    """Return the ``data`` of a server-sent event (WHATWG HTML section 9.2), or None, and the lines of its other fields."""
    data: list[bytes] = []
    others: list[bytes] = []
    # Before the first event a reader leaves a byte order mark out, and would find the field behind it.
    for line in _LINE.split(raw.removeprefix(_BOM)):
        if line == b"data" or line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line:
            others.append(line + b"\n")
    return (b"\n".join(data) if data else None), b"".join(others)


def written_event(data: bytes) -> bytes:
    """Return a server-sent event with nothing but data."""
    return b"".join(b"data: " + line + b"\n" for line in _LINE.split(data)) + b"\n"
