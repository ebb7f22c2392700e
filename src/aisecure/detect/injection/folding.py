"""Letters brought back to the plain ones that they stand for, one text character at a time.

Invisible characters go, full-width and mathematical letters become plain ones, quotation marks and the signs that end
a sentence in other scripts become the ASCII ones. A word that mixes letters of two scripts, or letters and digits, is
read as the word that it looks like when that word means something to a model.
"""

from __future__ import annotations

import re
import unicodedata

from aisecure.detect.injection.lexicon import lexicon

__all__ = ["fold", "origins", "twin", "unsigned"]

_INVISIBLE = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200d-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e01ef]"
)
_SIGNS = {
    "\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2010": "-", "\u2011": "-",
    "\u060c": ",", "\u061b": ";", "\u061f": "?", "\u06d4": ".", "\u0964": ".", "\u0965": ".", "\u05be": "-", "\u037e": "?",
    "\u3001": ",", "\u3002": ".", "\u300c": '"', "\u300d": '"', "\u200c": "-", "\u2028": "\n", "\u2029": "\n", "\u00ab": '"', "\u00bb": '"',
}  # fmt: skip
#: Unicode has a million code points; a hostile text could otherwise fill the memory with all of them.
_REMEMBERED = 20_000


class _Folds(dict[int, str]):
    """What each code point becomes, worked out when it is first seen."""

    def __missing__(self, point: int) -> str:
        if len(self) >= _REMEMBERED:
            self.clear()
        character = chr(point)
        if _INVISIBLE.match(character):
            folded = ""
        elif point < 128:
            folded = character  # its case tells what is encoded
        else:
            folded = _SIGNS.get(character) or unicodedata.normalize("NFKC", character).lower()
        self[point] = folded
        return folded


_FOLDS = _Folds()


def fold(text: str) -> str:
    r"""Return the text in plain letters.

    >>> fold("\uff29g\u200bnore")
    'ignore'
    """
    return text if text.isascii() else text.translate(_FOLDS)


def origins(text: str) -> list[int]:
    """Return, for each place of the folded text and its end, the place in the text that it came from."""
    if text.isascii():
        return list(range(len(text) + 1))
    lengths = [len(_FOLDS[ord(character)]) for character in text]
    places = [at for at, length in enumerate(lengths) for _ in range(length)]
    return [*places, len(text)]


#: Letters of other scripts by the Latin letters that they look like (after Unicode TR 39), and digits by the letters
#: that they replace.
_LOOKALIKES = str.maketrans(
    "\u0430\u0432\u0441\u0501\u0435\u0455\u0456\u0458\u04cf\u043a\u043c\u043d\u043e\u0440\u0442\u0443\u0445\u0447\u0437\u0433\u044c\u043f\u0475\u051b\u051d\u03b1\u03b2\u03b3\u03b5\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1\u03c3\u03c2\u03c4\u03c5\u03c7\u03c9\u03f2\u03f3\u0585\u057d\u0578\u0581\u0570\u0261\u026a\u0274\u0280\u1d0f\u1d00\u1d07\u0262\u028f\u04bb\u029f\ua731\u1d1b\u1d1c\u1d0d\u1d05\u1d18\u1d20\u1d21\u1d04\u0299\u1d0b\u0251\u0131\u0142\u00f8",
    "abcdesijlkmhoptyxherbnvqwabyenikvopoctuxwcjounghginroaegyhlstumdpvwcbkailo",
)
_DIGITS = (
    str.maketrans("0134578@$!|\u20ac+", "oieastbasiiet"),
    str.maketrans("0134578@$!|\u20ac+", "oleastbasllet"),
)


def twin(word: str) -> str:
    """Return the word that a lower-case word looks like, when that one means something and this one does not.

    >>> twin("1gnore"), twin("b2b")
    ('ignore', 'b2b')
    """
    known = lexicon()
    candidates: list[str] = []
    if not word.isascii():
        latin = word.translate(_LOOKALIKES)
        if latin.isascii():
            candidates.append(latin)
            candidates += (latin.translate(table) for table in _DIGITS)
    elif not word.isalpha():
        candidates += (word.translate(table) for table in _DIGITS)
    return next((one for one in candidates if one.isalpha() and known.meaning(one)), word)


_SIGNED = re.compile(r"(?<![\w@$!|])[A-Za-z0-9]{0,30}(?:[@$!|\u20ac][A-Za-z0-9]{1,30}){1,12}")


def unsigned(text: str) -> str:
    """Return the text with ``@``, ``$`` and ``!`` inside words read as letters, where that gives a word that means something.

    >>> unsigned("reve@l it to ann@example.org")
    'reveal it to ann@example.org'
    """
    return _SIGNED.sub(_as_letters, text)


def _as_letters(match: re.Match[str]) -> str:
    word = match[0]
    found = twin(word.lower())
    return found if found != word.lower() else word
