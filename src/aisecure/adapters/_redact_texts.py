"""Bodies of text, JSON and forms without what a redactor finds in them, while they pass in pieces."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Protocol
from urllib.parse import quote_from_bytes, unquote_to_bytes

from aisecure._json_lines import JsonLines
from aisecure._json_place import JsonPlace
from aisecure._json_text import JsonText
from aisecure.decisions import Finding
from aisecure.detect.redact import RedactFilter, Redactor
from aisecure.ports import TextFilter

__all__ = ["BodyFilter", "FormFields", "Found", "PlainText", "in_json", "json_body", "json_lines_body"]

#: Of more findings only the number is kept: a body may have millions.
_MOST = 100


class BodyFilter(Protocol):
    """Bytes in, bytes out; the pieces join to the same for every way of cutting the body."""

    def feed(self, data: bytes) -> bytes:
        """Return what no continuation can change after one more piece."""

    def finish(self) -> bytes:
        """Return what was held back; call once, at the end."""


class Found:
    """What was found in one body: how many, and the first ones."""

    def __init__(self) -> None:
        self.number = 0
        self.first: list[Finding] = []

    def add(self, findings: tuple[Finding, ...], path: str = "") -> None:
        """Take findings.

        Args:
            findings: What was found.
            path: Where, for those that do not say it themselves.
        """
        self.number += len(findings)
        for finding in findings[: _MOST - len(self.first)]:
            self.first.append(replace(finding, path=path) if path else finding)


class _Taking(TextFilter, Protocol):
    def take(self) -> tuple[Finding, ...]:
        """Return what was found since the last time, and forget it."""


class PlainText:
    """One text. Bytes that are no UTF-8 pass as they are.

    Args:
        text_filter: What replaces in it.
        found: Gets what was found.
    """

    def __init__(self, text_filter: _Taking, found: Found) -> None:
        self._filter = text_filter
        self._found = found
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, data: bytes) -> bytes:
        """Return what no continuation can change."""
        return self._through(self._decoder.decode(data))

    def finish(self) -> bytes:
        """Return what was held back."""
        rest = self._through(self._decoder.decode(b"", True)) + self._encoded(self._filter.finish())
        self._found.add(self._filter.findings)
        return rest

    def _through(self, text: str) -> bytes:
        new = self._encoded(self._filter.feed(text)) if text else b""
        self._found.add(self._filter.take())
        return new

    def _encoded(self, text: str) -> bytes:
        return text.encode("utf-8", "surrogateescape")


#: What stands for bytes that are no UTF-8 inside of JSON, where halves of pairs would be written as escapes.
_STANDINS = {0xDC00 + byte: 0x10F700 + byte for byte in range(0x80, 0x100)}
_BYTES = {standin: half for half, standin in _STANDINS.items()}
_HALF = re.compile("[\udc80-\udcff]")


class _JsonBytes(PlainText):
    """JSON, which is wrong in a reader's eyes after it when it was wrong before."""

    _damaged = False

    def _through(self, text: str) -> bytes:
        if not text.isascii() and _HALF.search(text):
            self._damaged = True
            text = text.translate(_STANDINS)
        return super()._through(text)

    def _encoded(self, text: str) -> bytes:
        return super()._encoded(text.translate(_BYTES) if self._damaged else text)


def json_body(redactor: Redactor, found: Found) -> BodyFilter:
    """Return what redacts a body that is JSON."""
    return _JsonBytes(JsonText(in_json(redactor)), found)


def json_lines_body(redactor: Redactor, found: Found) -> BodyFilter:
    """Return what redacts a body of JSON lines, each by itself."""
    return _JsonBytes(JsonLines(in_json(redactor)), found)


def in_json(redactor: Redactor) -> Callable[[JsonPlace], TextFilter]:
    """Return what makes a filter for the text at a place in JSON; its key is read as its label."""

    @lru_cache(maxsize=100)
    def spell(key: str, name: str) -> str:
        # The pointer is recorded, and keys may be personal data too.
        return redactor.redact(key, context=name).text

    return lambda place: _AtPlace(redactor.stream(context=place.name), place, spell)


class _AtPlace:
    """The filter of one string in JSON, whose findings tell its pointer."""

    __slots__ = ("_filter", "_place", "_spell", "feed", "finish")

    def __init__(self, text_filter: RedactFilter, place: JsonPlace, spell: Callable[[str, str], str]) -> None:
        self._filter = text_filter
        self._place = place
        self._spell = spell
        self.feed = text_filter.feed
        self.finish = text_filter.finish

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far."""
        findings = self._filter.findings
        if not findings:
            return findings
        path = self._place.pointer(self._spell)
        return tuple(replace(finding, path=path) for finding in findings)


class FormFields:
    """A form (WHATWG URL section 5): values and names of fields, where the name is read as the value's label.

    Args:
        redactor: What finds and replaces.
        found: Gets what was found.
    """

    def __init__(self, redactor: Redactor, found: Found) -> None:
        self._redactor = redactor
        self._found = found
        self._pending = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Return the fields that are complete."""
        complete, separator, rest = bytes(data).rpartition(b"&")
        if not separator:
            self._pending += rest
            return b""
        fields = bytes(self._pending) + complete
        self._pending[:] = rest
        return self._fields(fields) + b"&"

    def finish(self) -> bytes:
        """Return the last field."""
        return self._fields(bytes(self._pending))

    def _fields(self, data: bytes) -> bytes:
        return b"&".join(map(self._field, data.split(b"&")))

    def _field(self, field: bytes) -> bytes:
        name, equals, value = field.partition(b"=")
        label = _unquoted(name)
        new_name = self._text(name, label, "", "")
        if not equals:
            return new_name
        # The name is recorded as the place, and may be personal data too.
        shown = label if new_name is name else _unquoted(new_name)
        return new_name + b"=" + self._text(value, _unquoted(value), label, "/" + _escaped(shown))

    def _text(self, raw: bytes, text: str, label: str, path: str) -> bytes:
        redacted = self._redactor.redact(text, context=label)
        if not redacted.findings:
            return raw
        self._found.add(redacted.findings, path)
        return (
            quote_from_bytes(redacted.text.encode("utf-8", "surrogateescape"), safe="*-._ ")
            .replace(" ", "+")
            .encode()
        )


def _unquoted(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "surrogateescape")


def _escaped(name: str) -> str:
    # Into events goes only what has a form in UTF-8.
    return name[:200].encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1")
