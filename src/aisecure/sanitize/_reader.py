"""Reads inputs and answers by a schema: from JSON text, from text with JSON in it, and from data."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from aisecure.decisions import Finding
from aisecure.sanitize._json_repair import Candidate, candidates, mended
from aisecure.sanitize._schema import Schema, Violation, Violations
from aisecure.sanitize._strict_json import Malformed, parse

__all__ = ["DETECTOR", "OnInvalid", "Reader"]

T = TypeVar("T")
OnInvalid = Literal["refuse", "repair"]

#: Named in findings.
DETECTOR = "schema"


class Reader(Generic[T]):
    """Reads inputs and answers by one schema."""

    __slots__ = ("_repairs", "schema")

    def __init__(self, schema: Schema[T], on_invalid: OnInvalid) -> None:
        if on_invalid not in {"refuse", "repair"}:
            raise ValueError("on_invalid is 'refuse' or 'repair'")
        self.schema = schema
        self._repairs = on_invalid == "repair"

    def input(self, value: Any) -> T:
        """Return the value of an input: a text of JSON alone, or data.

        Raises:
            Violations: It does not follow the schema.
        """
        text = _text_of(value)
        if text is None or self.schema.is_text:
            return self.schema.of_value(value if text is None else text)
        return self.schema.of_json(self._parsed(text))

    def answer(self, value: Any) -> tuple[T, tuple[Finding, ...]]:
        """Return the value of an answer, and what had to be done to the text.

        Raises:
            Violations: It does not follow the schema.
        """
        text = _text_of(value)
        if text is None or self.schema.is_text:
            return self.schema.of_value(value if text is None else text), ()
        whole = text.removeprefix("\ufeff").strip(" \t\r\n")
        try:
            return self.schema.of_json(self._parsed(whole)), ()
        except _Unread as err:
            if err.found[0].rule != "json_invalid":
                raise
            return self._searched(text)

    def _parsed(self, text: str) -> Any:
        try:
            return parse(text, self.schema.limits)
        except Malformed as err:
            raise _Unread((Violation("", err.rule),)) from None

    def _searched(self, text: str) -> tuple[T, tuple[Finding, ...]]:
        """Read the one value between whatever else stands there."""
        read: list[tuple[Any, tuple[Finding, ...]]] = []
        for candidate in candidates(text):
            if candidate.text[0] not in self.schema.openings:
                continue
            try:
                read.append(self._mended(candidate))
            except _Unread as err:
                if err.found[0].rule != "json_invalid":
                    raise
        if len(read) != 1:
            raise Violations((Violation("", "json_ambiguous" if read else "json_invalid"),))
        value, findings = read[0]
        return self.schema.of_json(value), findings

    def _mended(self, candidate: Candidate) -> tuple[Any, tuple[Finding, ...]]:
        start, end = candidate.start, candidate.start + len(candidate.text)
        found = [Finding("schema.extracted", start, end, detector=DETECTOR)]
        try:
            return self._parsed(candidate.text), tuple(found)
        except _Unread as err:
            if not self._repairs or err.found[0].rule != "json_invalid":
                raise
        text, slips = mended(candidate)
        found += [Finding(f"schema.repaired_{slip}", start, end, detector=DETECTOR) for slip in slips]
        return self._parsed(text), tuple(found)


class _Unread(Violations):
    """The text is no JSON, or not such as everybody reads the same."""


def _text_of(value: Any) -> str | None:
    """Return the text that a value is, or None."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise Violations((Violation("", "json_unicode"),)) from None
    return None
