"""The sums of `model` for long texts, with NumPy: the same tables, the same order, a tenth of the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aisecure.detect.injection.reading import FAR, NEAR, STEPS, Token

__all__ = ["Vectors"]

_MASK, _SPREAD = np.uint64(0xFFFFFFFF), np.uint64(2654435761)
_Array = np.ndarray[Any, np.dtype[Any]]


class Vectors:
    """The tables of a model as arrays.

    Args:
        words: The table of words.
        shapes: That of shapes.
        pairs: That of pairs.
    """

    def __init__(self, words: Sequence[float], shapes: Sequence[float], pairs: Sequence[float]) -> None:
        self._words, self._shapes, self._pairs = np.array(words), np.array(shapes), np.array(pairs)

    def running(
        self, gains: list[float], counts: list[int], hashes: list[int], tokens: Sequence[Token | None]
    ) -> tuple[_Array, _Array]:
        """Return the running sums of weights and of the number of features, as `Model` does for short texts.

        Args:
            gains: What each word adds by itself.
            counts: To how many features.
            hashes: Of the start, and of each word.
            tokens: What the words mean.
        """
        gain, count, hashed = np.array(gains), np.array(counts), np.array(hashes, np.uint64)
        mixed = (hashed[:-1] * np.uint64(31) + hashed[1:]) & _MASK
        gain += self._words[(mixed * _SPREAD & _MASK) >> np.uint64(16)]
        count += 1
        meant = [(at, token) for at, token in enumerate(tokens) if token is not None]
        place = np.array([at for at, _ in meant])
        symbol = np.array([token.symbol for _, token in meant], np.uint64)
        mixed = symbol.copy()
        for before, step in enumerate((0, *STEPS)):
            if before >= len(symbol):
                break
            if before:
                # Unsigned arithmetic wraps at 64 bits, and only the lower 32 count.
                mixed = mixed[1:] + symbol[: len(symbol) - before] * np.uint64(step)
            spread = ((mixed + np.uint64(before + 1)) & _MASK) * _SPREAD & _MASK
            gain[place[before:]] += self._shapes[spread >> np.uint64(17)]
            count[place[before:]] += 1
        self._add_pairs(gain, count, meant)
        return np.concatenate(([0.0], gain.cumsum())), np.concatenate(([0], count.cumsum()))

    def _add_pairs(self, gain: _Array, count: _Array, meant: list[tuple[int, Token]]) -> None:
        held = [(at, token.concept) for at, token in meant if token.concept >= 0]
        place = np.array([at for at, _ in held], np.int64)
        concept = np.array([concept for _, concept in held], np.int64)
        for before in range(1, min(5, len(held))):
            gap = place[before:] - place[:-before]
            near = gap <= FAR
            second = concept[before:][near]
            first = concept[:-before][near]
            row = (first << 6 | second) | np.where(gap[near] <= NEAR, 0, 1 << 12)
            gain[place[before:][near]] += self._pairs[row]
            count[place[before:][near]] += 1

    @staticmethod
    def logits(
        sums: _Array, counts: _Array, size: int, step: int, bias: float, damping: int = 100
    ) -> list[float]:
        """Return the logit of each window of a text that is longer than one."""
        length = len(sums) - 1
        starts = np.append(np.arange(0, length - size, step), length - size)
        found = bias + (sums[starts + size] - sums[starts]) / np.sqrt(
            counts[starts + size] - counts[starts] + damping
        )
        return [float(logit) for logit in found]
