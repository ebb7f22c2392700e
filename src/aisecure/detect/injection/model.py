"""The trained weights, and how much each window of a text looks like an instruction that does not belong there.

A text's features add up, so that running sums give the score of every window of it in one pass. With NumPy long texts
take a tenth of the time; the answers are the same.
"""

from __future__ import annotations

import struct
from array import array
from functools import cache
from importlib.util import find_spec
from itertools import accumulate
from math import log2, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aisecure.detect.injection.reading import FAR, SHAPES, SIZE, STEPS, WORDS, meanings, pair, run, token
from aisecure.errors import Misconfigured

if TYPE_CHECKING:
    from aisecure.detect.injection.vectors import Vectors

__all__ = ["DAMPING", "MAGIC", "SCALES", "Model", "Windows", "evidence", "load", "shipped"]

MAGIC = b"aisecure-injection-1\n"
#: Tokens of a window, and how far the next one begins, for each of the two looks at a text.
SCALES = ((12, 6), (36, 12))
#: Added to the number of features of a window, so that two words alone prove little.
DAMPING = 100
#: Texts of so many tokens are faster with NumPy, if it is there.
LONG = 400
_REMEMBERED = 50_000
_MASK, _SPREAD = 0xFFFFFFFF, 2654435761
_START = token("^").hash


class Windows(NamedTuple):
    """The windows of one scale: equally long runs of tokens, and how much each looks like an attack.

    Attributes:
        size: Tokens of a window; the only one of a shorter text ends with it.
        step: How far the next one begins.
        length: Tokens of the text, where the last window ends.
        logits: One for each window.
    """

    size: int
    step: int
    length: int
    logits: list[float]

    def span(self, number: int) -> tuple[int, int]:
        """Return the first token of a window, and one past its last."""
        if number == len(self.logits) - 1:
            return max(0, self.length - self.size), self.length
        return number * self.step, number * self.step + self.size


class _Word(NamedTuple):
    """What a word adds by itself, and to how many features."""

    gain: float
    features: int
    hash: int


class _Symbol(NamedTuple):
    """What a symbol adds by itself, and its hash as the symbol itself and as the first, second and third before one."""

    gain: float
    here: int
    first: int
    second: int
    third: int


class Model:
    """Weights of a linear model over the tables of `reading`, and of the small one that puts windows together.

    Args:
        raw: The bytes of a weights file.
        name: What the file is called in errors.

    Raises:
        Misconfigured: The file is damaged or of another version.
    """

    def __init__(self, raw: bytes, name: str = "weights") -> None:
        self.meta, tables = _parse(raw, name)
        starts = (0, WORDS, WORDS + SHAPES, SIZE)
        self._words, self._shapes, self._pairs = (
            [weight * step for weight in array("b", tables[start:end])]
            for start, end, step in zip(starts, starts[1:], self.meta["steps"], strict=False)
        )
        self._bias = float(self.meta["bias"])
        self._known: dict[str, _Word] = {}
        self._symbols: dict[int, _Symbol] = {}
        self._vectors: Vectors | None = None

    def windows(self, words: list[str]) -> tuple[Windows, ...]:
        """Return the windows of a text, by scale; each scale looks at all tokens."""
        if len(words) >= LONG and _has_numpy():
            return self._long(words)
        sums, totals = self._running(words)
        return tuple(
            Windows(size, step, len(words), self._logits(sums, totals, size, step)) for size, step in SCALES
        )

    def _long(self, words: list[str]) -> tuple[Windows, ...]:
        if self._vectors is None:
            # Here and not at the top: NumPy takes longer to load than most processes have texts for.
            from aisecure.detect.injection.vectors import Vectors

            self._vectors = Vectors(self._words, self._shapes, self._pairs, _START)
        sums, counts = self._vectors.running(words)
        return tuple(
            Windows(size, step, len(words), self._vectors.logits(sums, counts, size, step, self._bias))
            for size, step in SCALES
        )

    def _logits(self, sums: list[float], counts: list[int], size: int, step: int) -> list[float]:
        length = len(sums) - 1
        starts = [*range(0, length - size, step), length - size] if length > size else [0]
        size = min(size, length)
        return [
            self._bias + (sums[at + size] - sums[at]) / sqrt(counts[at + size] - counts[at] + DAMPING)
            for at in starts
        ]

    def _running(self, words: list[str]) -> tuple[list[float], list[int]]:
        """Return the running sums of the weights, and of the number of features, before each token and at the end."""
        table, shapes, pairs = self._words, self._shapes, self._pairs
        known_words, known_symbols = self._known, self._symbols
        gains: list[float] = []
        counts: list[int] = []
        before = _START
        one = two = three = None
        recent: list[tuple[int, int]] = []
        for at, (word, meant) in enumerate(zip(words, meanings(words), strict=True)):
            known = known_words.get(word) or self._word(word)
            # The arithmetic of `neighbours` and `run`, spelled out: a call costs more than all of it.
            gain = known.gain + table[((before * 31 + known.hash & _MASK) * _SPREAD & _MASK) >> 16]
            count = known.features + 1
            before = known.hash
            if meant is not None:
                symbol = known_symbols.get(meant.symbol) or self._symbol(meant.symbol)
                gain += symbol.gain
                count += 1
                if one is not None:
                    mixed = symbol.here + one.first
                    gain += shapes[((mixed + 2 & _MASK) * _SPREAD & _MASK) >> 17]
                    count += 1
                    if two is not None:
                        mixed += two.second
                        gain += shapes[((mixed + 3 & _MASK) * _SPREAD & _MASK) >> 17]
                        count += 1
                        if three is not None:
                            gain += shapes[((mixed + three.third + 4 & _MASK) * _SPREAD & _MASK) >> 17]
                            count += 1
                three, two, one = two, one, symbol
                concept = meant.concept
                if concept >= 0:
                    for place, earlier in recent:
                        if at - place <= FAR:
                            gain += pairs[pair(earlier, concept, at - place)]
                            count += 1
                    recent = [*recent[-3:], (at, concept)]
            gains.append(gain)
            counts.append(count)
        return list(accumulate(gains, initial=0.0)), list(accumulate(counts, initial=0))

    def _word(self, word: str) -> _Word:
        known = self._known.get(word)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            meant, table = token(word), self._words
            gain = sum(table[place] for place in meant.features)
            known = self._known[word] = _Word(gain, len(meant.features), meant.hash)
        return known

    def _symbol(self, symbol: int) -> _Symbol:
        # There are no more symbols than concepts, small words and classes.
        first, second, third = (symbol * step for step in STEPS)
        known = self._symbols[symbol] = _Symbol(self._shapes[run((symbol,))], symbol, first, second, third)
        return known


@cache
def _has_numpy() -> bool:
    return find_spec("numpy") is not None


def evidence(windows: tuple[Windows, ...]) -> tuple[float, ...]:
    """Return what the windows of a text come to.

    These are the highest logit of each scale, the mean of the three highest and of all of the larger scale, and the
    logarithm of how many there are: among many windows the highest is high by chance.
    """
    small, large = (one.logits for one in windows)
    top = sorted(large)[-3:]
    return (max(small), max(large), sum(top) / len(top), sum(large) / len(large), log2(len(large)))


def _parse(raw: bytes, name: str) -> tuple[dict[str, Any], bytes]:
    import hashlib  # with json, a tenth of what importing the detector would take
    import json

    def damaged(what: str) -> Misconfigured:
        return Misconfigured(
            f"{name}: {what}; install the package again, or name another file", code="config.weights"
        )

    if not raw.startswith(MAGIC):
        raise damaged("no weights of the injection detector, or of another version")
    body = raw[len(MAGIC) :]
    digest, body = body[:32], body[32:]
    if hashlib.sha256(body).digest() != digest:
        raise damaged("does not match its own digest")
    try:
        (size,) = struct.unpack_from(">I", body)
        meta = json.loads(body[4 : 4 + size])
    except (struct.error, ValueError) as err:
        raise damaged("has no readable header") from err
    tables = body[4 + size :]
    if len(tables) != SIZE:
        raise damaged(f"holds {len(tables)} weights instead of {SIZE}")
    return meta, tables


@cache
def shipped() -> Model:
    """Return the model that comes with the package; it is read once.

    Raises:
        Misconfigured: The file is missing or damaged.
    """
    from importlib import resources

    file = resources.files("aisecure.detect.injection").joinpath("weights.bin")
    try:
        raw = file.read_bytes()
    except OSError as err:
        raise Misconfigured(
            "the weights of the injection detector are missing: install the package again",
            code="config.weights",
        ) from err
    return Model(raw, "weights.bin")


def load(path: str | Path) -> Model:
    """Return the model of another weights file, such as one that ``training/injection`` wrote.

    Raises:
        Misconfigured: The file is missing or damaged.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as err:
        raise Misconfigured(f"{path}: {err.strerror}", code="config.weights") from err
    return Model(raw, str(path))
