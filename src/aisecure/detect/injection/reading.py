"""A text as a row of tokens: each with what it is, what it means, and where its features lie in the tables.

There are three tables. ``WORDS`` holds words, their neighbours and the pieces of words; ``SHAPES`` holds runs of up to
four symbols, where a symbol is a concept, one of the small words of English, or a class of words; ``PAIRS`` holds two
concepts that stand near each other, in their order. What is said with other words, or in another language, is the same
in the last two.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple
from zlib import crc32

from aisecure.detect.injection.folding import twin
from aisecure.detect.injection.lexicon import SMALL, UNSPACED, lexicon

__all__ = [
    "FAR",
    "NEAR",
    "PAIRS",
    "SHAPES",
    "SIZE",
    "STEPS",
    "WORDS",
    "Token",
    "meanings",
    "neighbours",
    "pair",
    "phrase",
    "places",
    "read",
    "run",
    "token",
]

WORDS, SHAPES = 1 << 16, 1 << 15
#: At most 64 concepts, and two distances.
PAIRS = 2 * 64 * 64
SIZE = WORDS + SHAPES + PAIRS
#: Two concepts are near each other when so many tokens at most lie between them; or far, and then they count less.
NEAR, FAR = 3, 8

_PUNCTUATION = frozenset(".,!?:;\"()[]{}<>#*-/\\|`=$%&@+~^'\n")
_LETTERS = (
    "0-9A-Za-z\u00aa\u00b5\u00ba\u00c0-\u02af\u0300-\u05ff\u0610-\u0dff\u0f00-\u0fff\u10a0-\u1779"
    "\u1800-\u1fff\u2c00-\u2dff\ua640-\uabff\ufb00-\ufdff\ufe70-\ufefc"
)
_MARKS = r"<\|[A-Za-z_]{1,24}\|>|https?://[^\s<>\"')]{1,300}"
# Words come first, being most of a text; the beginning of an address is no word.
_ASCII = re.compile(rf"(?!https?://)[A-Za-z0-9]+(?:['-][A-Za-z0-9]+)*|{_MARKS}|\n+|[^\w\s]|_")
#: A longer word is a blob; its beginning says enough.
_LONGEST = 40
#: What is remembered of words; then all is forgotten.
_REMEMBERED = 50_000
_MASK = 0xFFFFFFFF
_SPREAD = 2654435761
STEPS = (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35)


class Token(NamedTuple):
    """What is known of a word, wherever it stands.

    Attributes:
        hash: Of the word.
        symbol: Hash of its symbol.
        concept: Index of its concept; -1 when it has none.
        features: Places in ``WORDS`` of the word and its pieces.
    """

    hash: int
    symbol: int
    concept: int
    features: tuple[int, ...]


_TOKENS: dict[str, Token] = {}


def token(word: str) -> Token:
    """Return what is known of a lower-case word."""
    known = _TOKENS.get(word)
    if known is None:
        if len(_TOKENS) >= _REMEMBERED:
            _TOKENS.clear()
        known = _TOKENS[word] = _token(word)
    return known


def _crc(text: str) -> int:
    return crc32(text.encode("utf-8", "surrogatepass"))


def _token(word: str) -> Token:
    cut = word[:_LONGEST]
    whole = _crc(cut)
    if cut.startswith(("http://", "https://")):
        return Token(whole, _crc("~url"), -1, (_crc("~url") % WORDS,))
    known = lexicon()
    if not cut.isalpha() or not cut.isascii():
        cut = twin(cut)
        whole = _crc(cut)
    meaning = known.meaning(cut) or _compound(cut)
    concept = known.concepts.index(meaning) if meaning and not meaning.startswith("=") else -1
    symbol = meaning.upper() if concept >= 0 else meaning[1:] if meaning else _shape(cut)
    features = [whole % WORDS]
    if len(cut) > 1 and cut[0].isalnum():
        framed = f" {cut} "
        features += (
            _crc(framed[start : start + size]) % WORDS
            for size in (3, 4, 5)
            for start in range(len(framed) - size + 1)
        )
    return Token(whole, _crc(symbol), concept, tuple(features))


def _compound(word: str) -> str:
    if "-" not in word:
        return ""
    known = lexicon()
    return next((meaning for part in word.split("-") if (meaning := known.meaning(part))), "")


def _shape(word: str) -> str:
    if word in SMALL:
        return word
    first = word[0]
    if first in _PUNCTUATION:
        return first
    if first.isdigit():
        return "~0"
    if not first.isalpha():
        return "~sign"
    return "~word" if word.isascii() else "~other"


def run(symbols: tuple[int, ...]) -> int:
    """Return the place in ``SHAPES`` of one to four symbols that follow each other."""
    mixed = len(symbols)
    for step, symbol in zip((1, *STEPS), reversed(symbols), strict=False):
        mixed += symbol * step
    return ((mixed & _MASK) * _SPREAD & _MASK) >> 17


def pair(first: int, second: int, gap: int) -> int:
    """Return the place in ``PAIRS`` of two concepts, ``gap`` tokens apart."""
    return (first << 6 | second) | (0 if gap <= NEAR else 1 << 12)


def neighbours(first: int, second: int) -> int:
    """Return the place in ``WORDS`` of two words that follow each other, by their hashes."""
    return ((first * 31 + second & _MASK) * _SPREAD & _MASK) >> 16


@cache
def _other() -> re.Pattern[str]:
    """Return the pattern of texts that are not ASCII; scripts without spaces fall into known words and single letters."""
    return re.compile(
        rf"(?!https?://)[{_LETTERS}]+(?:['-][{_LETTERS}]+)*|{_MARKS}|[^\w\s{UNSPACED}]|\n+|{lexicon().inside}|[{UNSPACED}]|\w"
    )


def read(text: str) -> list[str]:
    """Return the lower-case words and signs of a folded text.

    >>> read("Stop! Now.")
    ['stop', '!', 'now', '.']
    """
    if text.isascii():
        return _ASCII.findall(text.lower())
    return _other().findall(text.lower())


def places(text: str) -> list[tuple[int, int]]:
    """Return where each word of `read` stands in the text."""
    pattern = _ASCII if text.isascii() else _other()
    # Lower case here as well: what is one word there must not be three here. Folded text keeps its length.
    return [match.span() for match in pattern.finditer(text.lower())]


def meanings(words: list[str]) -> list[Token | None]:
    """Return what each word means; None for the later words of a phrase, whose first word has the phrase's meaning."""
    tokens: list[Token | None] = [_TOKENS.get(word) or token(word) for word in words]
    phrases = lexicon().phrases
    for at, word in enumerate(words):
        if word in phrases and tokens[at] is not None:
            found = phrase(words, at)
            if found is not None:
                length, tokens[at] = found
                tokens[at + 1 : at + length] = [None] * (length - 1)
    return tokens


def phrase(words: list[str], at: int) -> tuple[int, Token] | None:
    """Return how many words the phrase that begins with a word has, and what it means; None where none begins."""
    for rest, meaning in lexicon().phrases[words[at]]:
        if tuple(words[at + 1 : at + 1 + len(rest)]) == rest:
            return 1 + len(rest), _phrase(token(words[at]), meaning)
    return None


def _phrase(first: Token, meaning: str) -> Token:
    key = f"{meaning} {first.hash}"
    known = _TOKENS.get(key)
    if known is None:
        if meaning.startswith("="):
            known = Token(first.hash, _crc(meaning[1:]), -1, first.features)
        else:
            concept = lexicon().concepts.index(meaning)
            known = Token(first.hash, _crc(meaning.upper()), concept, first.features)
        _TOKENS[key] = known
    return known
