"""The sums of `model` for long texts, with NumPy: the same tables, the same order, a tenth of the time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from aisecure.detect.injection.lexicon import lexicon
from aisecure.detect.injection.reading import FAR, NEAR, STEPS, phrase, token

__all__ = ["Vectors"]

_MASK, _SPREAD = np.uint64(0xFFFFFFFF), np.uint64(2654435761)
_Array = np.ndarray[Any, np.dtype[Any]]
#: Words that are remembered; then all are forgotten.
_REMEMBERED = 50_000


class _Columns(NamedTuple):
    """What is known of each word of a vocabulary, by its number."""

    gain: _Array
    features: _Array
    hash: _Array
    symbol: _Array
    concept: _Array
    begins_phrase: _Array


_KINDS = (np.float64, np.int64, np.uint64, np.uint64, np.int64, np.bool_)


class _Vocabulary:
    """Words by number. A word's columns are there before its number is, so that readers need no lock."""

    def __init__(self, weights: _Array) -> None:
        self._weights = weights
        self._lock = threading.Lock()
        self.numbers: dict[str, int] = {}
        self.columns = _Columns(*(np.empty(0, kind) for kind in _KINDS))

    def add(self, words: Iterable[str]) -> None:
        phrases = lexicon().phrases
        with self._lock:
            new = [word for word in dict.fromkeys(words) if word not in self.numbers]
            known = [token(word) for word in new]
            rows = (
                [sum(float(self._weights[place]) for place in one.features) for one in known],
                [len(one.features) for one in known],
                [one.hash for one in known],
                [one.symbol for one in known],
                [one.concept for one in known],
                [word in phrases for word in new],
            )
            first = len(self.columns.gain)
            self.columns = _Columns(
                *(
                    np.concatenate((column, np.array(row, kind)))
                    for column, row, kind in zip(self.columns, rows, _KINDS, strict=True)
                )
            )
            self.numbers.update(zip(new, range(first, first + len(new)), strict=True))


class Vectors:
    """The tables of a model as arrays.

    Args:
        words: The table of words.
        shapes: That of shapes.
        pairs: That of pairs.
        start: Hash of what stands before the first word.
    """

    def __init__(
        self, words: Sequence[float], shapes: Sequence[float], pairs: Sequence[float], start: int
    ) -> None:
        self._words, self._shapes, self._pairs = np.array(words), np.array(shapes), np.array(pairs)
        self._start = np.array([start], np.uint64)
        self._vocabulary = _Vocabulary(self._words)

    def running(self, words: list[str]) -> tuple[_Array, _Array]:
        """Return the running sums of weights and of the number of features, as `Model` does for short texts."""
        numbers, known = self._numbers(words)
        gain, count = known.gain[numbers], known.features[numbers]
        hashed = np.concatenate((self._start, known.hash[numbers]))
        mixed = (hashed[:-1] * np.uint64(31) + hashed[1:]) & _MASK
        gain += self._words[(mixed * _SPREAD & _MASK) >> np.uint64(16)]
        count += 1
        place, symbol, concept = self._meant(words, numbers, known)
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
        has_concept = concept >= 0
        self._add_pairs(gain, count, place[has_concept], concept[has_concept])
        return np.concatenate(([0.0], gain.cumsum())), np.concatenate(([0], count.cumsum()))

    def _numbers(self, words: list[str]) -> tuple[_Array, _Columns]:
        if len(self._vocabulary.numbers) >= _REMEMBERED:
            self._vocabulary = _Vocabulary(self._words)
        vocabulary = self._vocabulary  # another thread may begin a new one
        numbers = list(map(vocabulary.numbers.get, words))
        if None in numbers:
            vocabulary.add(words)
            numbers = list(map(vocabulary.numbers.get, words))
        return np.array(numbers, np.int64), vocabulary.columns

    @staticmethod
    def _meant(words: list[str], numbers: _Array, known: _Columns) -> tuple[_Array, _Array, _Array]:
        """Return the places of the tokens that mean something, their symbols, and their concepts."""
        symbol, concept = known.symbol[numbers], known.concept[numbers]
        is_token = np.ones(len(words), np.bool_)
        end = 0
        for at in map(int, np.flatnonzero(known.begins_phrase[numbers])):
            found = phrase(words, at) if at >= end else None
            if found is not None:
                end = at + found[0]
                symbol[at], concept[at] = found[1].symbol, found[1].concept
                is_token[at + 1 : end] = False
        return np.flatnonzero(is_token), symbol[is_token], concept[is_token]

    def _add_pairs(self, gain: _Array, count: _Array, place: _Array, concept: _Array) -> None:
        for before in range(1, min(5, len(place))):
            gap = place[before:] - place[:-before]
            near = gap <= FAR
            row = concept[:-before][near] << 6 | concept[before:][near]
            row |= np.where(gap[near] <= NEAR, 0, 1 << 12)
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
