"""Universally unique identifiers (RFC 9562). They are no personal data on their own, and are looked for only when asked for."""

from __future__ import annotations

from collections.abc import Iterator

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["KIND", "UUIDS"]

KIND = "pii.uuid"

# The digit after the second hyphen is the version, the one after the third the variant.
_UUID = lazy(
    r"(?<![\w-])[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[1-8][0-9A-Fa-f]{3}-[089abABcdCD][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}(?![\w-])"
)


def _find(window: Window) -> Iterator[Candidate]:
    for found in _UUID.finditer(window.text, window.at):
        yield Candidate(*found.span(), KIND, 0.7)


UUIDS = Recognizer((KIND,), lazy(r"[9Aa]{8}-(?:[9Aa]{4}-){3}[9Aa]{12}"), _find)
