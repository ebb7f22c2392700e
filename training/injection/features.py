"""Texts as windows, and windows as rows of a sparse matrix over the tables of the detector."""

from __future__ import annotations

import random
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from aisecure.detect.injection.folding import fold, unsigned
from aisecure.detect.injection.model import SCALES
from aisecure.detect.injection.reading import (
    FAR,
    SHAPES,
    SIZE,
    WORDS,
    meanings,
    neighbours,
    pair,
    read,
    run,
    token,
)
from training.injection.corpus import Row

__all__ = ["Windows", "windows"]

#: Windows of one text and scale that are learned from.
_HARMLESS, _ATTACK = 6, 40


class Windows(NamedTuple):
    """Windows of many texts.

    Attributes:
        matrix: A row a window, counting its features.
        owner: Number of the text that a window is from.
        scale: Number of its scale.
    """

    matrix: sp.csr_matrix
    owner: np.ndarray
    scale: np.ndarray


def features(text: str) -> list[list[int]]:
    """Return the places of each token's features; the words first, then ``WORDS`` on the shapes, then the pairs."""
    words = read(unsigned(fold(text)))
    rows: list[list[int]] = []
    before = token("^").hash
    symbols: list[int] = []
    recent: list[tuple[int, int]] = []
    for at, (word, meant) in enumerate(zip(words, meanings(words), strict=True)):
        known = token(word)
        found = [*known.features, neighbours(before, known.hash)]
        before = known.hash
        if meant is not None:
            symbols = [*symbols[-3:], meant.symbol]
            found += (WORDS + run(tuple(symbols[-size:])) for size in range(1, len(symbols) + 1))
            if meant.concept >= 0:
                found += (
                    WORDS + SHAPES + pair(earlier, meant.concept, at - place)
                    for place, earlier in recent
                    if at - place <= FAR
                )
                recent = [*recent[-3:], (at, meant.concept)]
        rows.append(found)
    return rows


def _windows(row: Row) -> list[tuple[int, np.ndarray]]:
    tokens = features(row.text)
    chance = random.Random(len(row.text))  # noqa: S311
    found: list[tuple[int, np.ndarray]] = []
    for scale, (size, step) in enumerate(SCALES):
        if scale and len(tokens) <= SCALES[scale - 1][0]:
            break  # the smaller look has seen it all
        places = [(start, start + size) for start in range(0, max(1, len(tokens) - size), step)]
        if len(tokens) > size:
            places.append((len(tokens) - size, len(tokens)))
        most = _ATTACK if row.label else _HARMLESS
        if len(places) > most:
            places = (
                places[: most // 2] + places[-most // 2 :]
                if row.label
                else sorted(chance.sample(places, most))
            )
        found += (
            (scale, np.array([place for token in tokens[start:end] for place in token], np.int32))
            for start, end in places
        )
    return found


def windows(rows: Iterable[Row]) -> Windows:
    """Return the windows of texts, on all cores."""
    with ProcessPoolExecutor() as pool:
        by_text = list(pool.map(_windows, rows, chunksize=400))
    flat = [(number, scale, places) for number, found in enumerate(by_text) for scale, places in found]
    ends = np.cumsum([0, *(len(places) for _, _, places in flat)])
    matrix = sp.csr_matrix(
        (np.ones(ends[-1], np.float32), np.concatenate([places for _, _, places in flat]), ends),
        shape=(len(flat), SIZE),
    )
    matrix.sum_duplicates()
    return Windows(
        matrix, np.array([number for number, _, _ in flat]), np.array([scale for _, scale, _ in flat])
    )
