"""Coordinates of a place (ISO 6709, decimal degrees): latitude and longitude with enough digits to mean a house."""

from __future__ import annotations

from collections.abc import Iterator

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["COORDINATES", "KIND"]

KIND = "pii.geo_coordinates"

# A comma ends a block, so each of the two numbers is one of its own.
_NUMBER = lazy(r"(?<![\w.])[-+]?(?:1[0-7]\d|180|\d?\d)\.\d{4,15}(?:°? ?[NSEWO])?(?![\w.]|-\d)")
_LABELS = (
    "lat",
    "latitude",
    "lon",
    "lng",
    "long",
    "longitude",
    "gps",
    "coordinates",
    "geo",
    "location",
    "breite",
    "länge",
)


def _find(window: Window) -> Iterator[Candidate]:
    for found in _NUMBER.finditer(window.text, window.at):
        if KIND in window.said(found.start()).nearest:
            yield Candidate(*found.span(), KIND, 0.75)


COORDINATES = Recognizer((KIND,), lazy(r"9\.9{4}"), _find, {KIND: _LABELS})
