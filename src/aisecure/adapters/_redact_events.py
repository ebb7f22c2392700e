"""Server-sent events without what a redactor finds in their data.

Data that is plain text or a JSON string is one text with that of the events before and after, as models stream it: an end
that may go on is held back until the next event, or the end. So are the pieces inside of chunks such as those of OpenAI
and Anthropic. Other JSON is a record of its own, in which keys are labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from aisecure._json_text import JsonText
from aisecure.adapters._redact_texts import Found, in_json
from aisecure.adapters._wire import DONE, EVENT_END, Records, event_parts, written_event
from aisecure.content import Part, rewrite
from aisecure.detect.redact import Redactor
from aisecure.errors import InputRejected
from aisecure.ports import TextFilter

__all__ = ["EventData"]

#: What pieces of a text are called in the chunks of models.
_PIECES = frozenset(
    {
        "answer", "arguments", "chunk", "completion", "content", "delta", "partial_json", "reasoning", "reasoning_content",
        "refusal", "response", "text", "thinking", "token",
    }
)  # fmt: skip
#: Pieces of JSON inside of JSON.
_IN_JSON = frozenset({"arguments", "partial_json"})
#: What is told once for the whole stream, and not again with a piece that was held back.
_TOTALS = frozenset({"usage", "usage_metadata", "response_metadata"})
#: How the type of an event ends that ends texts, such as ``content_block_stop`` and ``response.output_text.done``.
_ENDS = ("stop", "done", "end", "finish", "completed")


@dataclass(slots=True)
class _Text:
    """A text that goes on from event to event, and the last event that had a piece of it."""

    text_filter: TextFilter
    #: The chunk; None where the data is the text itself.
    chunk: Mapping[str, Any] | None = None
    fields: bytes = b""
    quoted: bool = False


class EventData(Records):
    """A `BodyFilter` of ``text/event-stream``.

    Args:
        redactor: What finds and replaces.
        found: Gets what was found.
    """

    def __init__(self, redactor: Redactor, found: Found) -> None:
        super().__init__(EVENT_END)
        self._redactor = redactor
        self._found = found
        self._inside = in_json(redactor)
        self._texts: dict[str, _Text] = {}

    def _record(self, raw: bytes) -> bytes:
        data, fields = event_parts(raw)
        if data is None:
            return raw
        if data.strip() == DONE:
            return self._close() + raw
        value: Any = None
        if data.lstrip()[:1] in (b"{", b"[", b'"'):
            try:
                value = orjson.loads(data)
            except orjson.JSONDecodeError:
                value = None
        if isinstance(value, str):
            return self._piece(raw, value, fields, quoted=True)
        if value is None:
            return self._piece(raw, data.decode("utf-8", "surrogateescape"), fields, quoted=False)
        if isinstance(value, Mapping) and _goes_on(value):
            try:
                new = self._chunk(value, fields)
            except InputRejected:  # nested too deep to be a chunk
                return self._own(raw, data, fields)
            return raw if new == value else fields + written_event(orjson.dumps(new))
        kind = value.get("type") if isinstance(value, Mapping) else None
        # What is held back of a text has to leave before it is said to be complete.
        held = self._close() if isinstance(kind, str) and kind.endswith(_ENDS) else b""
        return held + self._own(raw, data, fields)

    def _close(self) -> bytes:
        texts, self._texts = self._texts, {}
        out = []
        for path, text in texts.items():
            rest = text.text_filter.finish()
            self._found.add(text.text_filter.findings, self._shown(path))
            if rest and text.chunk is None:
                out.append(text.fields + _written(rest, quoted=text.quoted))
            elif rest:
                out.append(text.fields + written_event(orjson.dumps(self._only(text, path, rest))))
        return b"".join(out)

    def _piece(self, raw: bytes, piece: str, fields: bytes, *, quoted: bool) -> bytes:
        """Return the event of a piece of the text that the data is."""
        if not piece:
            return raw
        text = self._texts.setdefault("", _Text(self._redactor.stream()))
        text.fields, text.quoted = fields, quoted
        new = text.text_filter.feed(piece)
        if new == piece:
            return raw
        if not new:
            return fields + b"\n" if fields else b""
        return fields + _written(new, quoted=quoted)

    def _chunk(self, chunk: Mapping[str, Any], fields: bytes) -> Any:
        """Return a chunk whose pieces went through the texts that they are of."""

        def change(part: Part) -> str:
            name = _name(part.path)
            if name not in _PIECES:
                return self._alone(part)
            text = self._texts.get(part.path)
            if text is None:
                inside = name in _IN_JSON
                text = _Text(JsonText(self._inside) if inside else self._redactor.stream())
                self._texts[part.path] = text
            if part.text:
                text.chunk, text.fields = chunk, fields
            return text.text_filter.feed(part.text)

        return rewrite(chunk, change, origin="model", chunk=True)

    def _only(self, text: _Text, path: str, rest: str) -> Any:
        """Return the last chunk that had a piece of a text, with nothing but the rest of it."""

        def change(part: Part) -> str:
            if part.path == path:
                return rest
            return "" if _name(part.path) in _PIECES else self._redactor.redact(part.text).text

        chunk = rewrite(text.chunk, change, origin="model", chunk=True)
        return {key: value for key, value in chunk.items() if key not in _TOTALS}

    def _alone(self, part: Part) -> str:
        redacted = self._redactor.redact(part.text, context=_name(part.path))
        self._found.add(redacted.findings, self._shown(part.path))
        return redacted.text

    def _shown(self, path: str) -> str:
        # It is recorded, and keys may be personal data too.
        return self._redactor.redact(path).text if path else ""

    def _own(self, raw: bytes, data: bytes, fields: bytes) -> bytes:
        """Return an event whose JSON is a record of its own."""
        inside = JsonText(self._inside)
        text = data.decode()
        new = inside.feed(text) + inside.finish()
        self._found.add(inside.findings)
        return fields + written_event(new.encode()) if inside.findings else raw


def _goes_on(value: Mapping[str, Any]) -> bool:
    """Whether JSON is a chunk with pieces of texts: as models send it, or a piece and nothing else."""
    if "choices" in value or "delta" in value or isinstance(value.get("done"), bool):
        return True
    return len(value) == 1 and not _PIECES.isdisjoint(value)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _written(text: str, *, quoted: bool) -> bytes:
    return written_event(orjson.dumps(text) if quoted else text.encode("utf-8", "surrogateescape"))
