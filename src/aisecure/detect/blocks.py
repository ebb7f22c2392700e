"""Where a text may be cut: the blocks that no entity crosses.

A block is a run of characters without white space, quotes, commas and the like. Single spaces belong to it
where numbers are written in groups (``4111 1111 1111 1111``, ``(415) 555-2671``, ``GB82 WEST 1234``). Whether
a space does is decided by at most `LOOKAHEAD` characters after it, so a stream knows the end of a block
almost at once. Words without a digit, an ``@``, a dot or slash inside, or `LONG_WORD` characters hold no entity and
are no blocks; but the name of a month before a number is.

A block may be of any length. It is looked at in windows of `WINDOW` characters that advance by `STRIDE`: an
entity no longer than the stride lies whole in one of them. Longer ones (tokens) go on as open runs.
"""

from __future__ import annotations

import re

from aisecure.detect.dates import MONTH_LIKE
from aisecure.detect.expressions import lazy

__all__ = [
    "CONTEXT",
    "HARD",
    "LOOKAHEAD",
    "PASSWORD",
    "PASSWORD_LABEL",
    "PASSWORD_MAX",
    "SHORTEST",
    "STRIDE",
    "TOKEN",
    "WINDOW",
    "WORTH_A_LOOK",
    "calm",
    "may_go_on",
    "may_say_password",
    "says_password",
    "tail_word",
    "with_lead",
]

#: Characters looked at together. With `LOOKAHEAD` and the longest header of a key block this keeps what a
#: stream holds back below 512 characters.
WINDOW = 400
#: Entities that are not open runs are no longer than this.
STRIDE = 200
#: How far after a space the answer lies whether it is part of a block: `` de septiembre`` and what follows.
LOOKAHEAD = 16
#: How far before a block labels are read.
CONTEXT = 64
#: No entity is shorter, but for an age.
SHORTEST = 3
#: Words from this length on may be tokens.
LONG_WORD = 20

_SPACES = "\t \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CONTROLS = "\x00-\x1f\x7f"
_PUNCTUATION = '"<>,;|\\[\\]{}`'
# CJK text has no spaces; its own punctuation ends a block.
_CJK = "、。〈-】！，；？（）“”‘’«»"  # noqa: RUF001
_HARD = f"{_CONTROLS}{_SPACES}{_PUNCTUATION}{_CJK}"
# Decimal digits written out, because a character class without categories is one table lookup in `re`.
_DIGITS = "0-9٠-٩۰-۹०-९０-９"  # noqa: RUF001

#: A character that ends a block, unless it is one of the single spaces below.
HARD = lazy(f"[{_HARD}]")

_SPACE = "[ \xa0]"
_JOIN = "|".join(
    (
        rf"(?<=[{_DIGITS})]){_SPACE}(?=[{_DIGITS}(])",  # groups of digits, an area code in parentheses
        # IBAN groups: GB82 WEST, WEST 1234, 013A A, 125K ZT50, MTLC AST0, CDEF G
        rf"(?<=[0-9]){_SPACE}(?=[A-Z][A-Z0-9]{{0,6}}(?![A-Za-z0-9]))",
        rf"(?<=[A-Z]){_SPACE}(?=[0-9])",
        rf"(?:(?<=\d[A-Z])|(?<=\d[A-Z]{{2}})|(?<=\d[A-Z]{{3}})|(?<= [A-Z]{{4}})){_SPACE}(?=[A-Z0-9]{{1,4}}(?![A-Za-z0-9]))",
        rf"(?<=[0-9]){_SPACE}(?=(?:[xX]|[eE]xt\.?) ?[0-9])",  # 555-0100 ext. 12
        rf"(?<=[0-9] [xX]){_SPACE}(?=[0-9])",
        rf"(?<=[0-9] [eE]xt){_SPACE}(?=[0-9])",
        rf"(?<=[0-9] [eE]xt\.){_SPACE}(?=[0-9])",
        rf"(?<=[0-9)]){_SPACE}(?=[-–] [0-9])",  # 415 - 555 - 2671  # noqa: RUF001
        rf"(?<=[0-9)] [-–]){_SPACE}(?=[0-9])",  # noqa: RUF001
        # dates: 17 October, 3rd of May, October 17, 1977
        rf"(?<=[0-9dhtr.]){_SPACE}(?=(?i:(?:of |de )?{MONTH_LIKE})(?![^\W_]))",
        rf"(?<=of|de){_SPACE}(?=(?i:{MONTH_LIKE})(?![^\W_]))",
        rf"(?<=[^\W\d_.]){_SPACE}(?=(?:de )?(?:1[89]|20)[0-9]{{2}}(?![0-9]))",
        rf"(?<=\.){_SPACE}(?=(?:1[89]|20)[0-9]{{2}}(?![0-9]))",
        rf"(?<= de){_SPACE}(?=(?:1[89]|20)[0-9]{{2}}(?![0-9]))",
        rf"(?<=[0-9dhtr]),{_SPACE}(?=(?:1[89]|20)[0-9]{{2}}(?![0-9]))",
        rf"(?<=[a-z]),{_SPACE}(?=(?:1[89]|20)[0-9]{{2}}(?![0-9]))",
        # 94 years old
        rf"(?<=[0-9]){_SPACE}(?=(?:years?|yrs?)[ -]old(?![A-Za-z]))",
        rf"(?:(?<=\d years)|(?<=\d year)|(?<=\d yrs)){_SPACE}(?=old(?![A-Za-z]))",
        # 7:30 am
        rf"(?<=:[0-9]{{2}}){_SPACE}(?=[AaPp]\.?[Mm](?![A-Za-z]))",
    )
)

#: The rest of a block from a position inside it; may be empty.
TOKEN = lazy(rf"[^{_HARD}]*+(?:(?:{_JOIN})[^{_HARD}]++)*+")

#: The start of a block: a word with a digit or an ``@`` early in it, with a dot, colon or slash inside, or a long word.
WORTH_A_LOOK = lazy(
    # The possessive part stops at one of these, at the end of the word, or one before a long word.
    rf"(?<![^{_HARD}])[^{_HARD}{_DIGITS}@.:/＠．]{{0,{LONG_WORD - 1}}}+(?:[{_DIGITS}@＠]|[.:/．][^{_HARD}]|[^{_HARD}.:/．])"  # noqa: RUF001
)
_LEAD = lazy(rf"(?<![^\W_])(?:(?i:{MONTH_LIKE})\.?|(?:[A-Z]{{1,3}}[ -])?[A-Z]{{1,5}}){_SPACE}\Z")
_LONGEST_LEAD = 14

_LABEL = (
    r"(?:(?P<loud>PASS(?:WORD|WD|PHRASE)?|PWD)|(?i:pass(?:word|wd|phrase|code)|passwort|contraseña|pwd|(?<=[_-])pass)"
    r"|(?P<key>(?i:api[_-]?key|private[_-]?key|secret(?:[_-]?key)?|access[_-]?key|auth[_-]?token)))(?:_[a-z]{1,20})?"
)
_QUOTE = r"(?:[bBrRuU]?[\"'`]|\\\")?"
#: What is said before a password. The value that follows is a block of its own, whatever it is made of.
PASSWORD_LABEL = lazy(
    rf"{_LABEL}(?:[\"'`\])}}]{{0,2}}[ \t]{{0,4}}(?:=>|:=|={{1,3}}|!==?|:)[ \t]{{0,4}}| (?:is|was|ist) |(?P<loose>[ \t])){_QUOTE}(?=[^\s\"'`,;<>])"
)
#: The value, as far as it is looked at: brackets and bars, which end other blocks, may be in it.
PASSWORD_MAX = 120
PASSWORD = lazy(rf"[^\s\"'`,;<>]{{0,{PASSWORD_MAX}}}+")
#: The label while it is not known whether a value follows; an unfinished label is an unfinished word.
_LABEL_LAST = lazy(
    rf"{_LABEL}(?:[\"'`\])}}]{{0,2}}[ \t]{{0,4}}(?:[=:>!]{{0,3}}[ \t]{{0,4}})?| (?:i(?:s(?:t)? ?)?|w(?:a(?:s ?)?)?)?)(?:[bBrRuU]?[\"'`]|\\\"?)?\Z"
)
_LONGEST_LABEL = 56

_AFTER_LAST_HARD = lazy(rf".*[{_HARD}]", re.DOTALL)


def tail_word(text: str, start: int, end: int) -> int:
    """Return where what may become a part of a block begins at the end of ``text[start:end]``."""
    low = max(start, end - LONG_WORD)
    found = _AFTER_LAST_HARD.match(text[low:end])
    begins = with_lead(text, start, low + found.end() if found else low)
    low = max(start, end - _LONGEST_LABEL)
    if not says_password(text[low:end]):
        return begins
    label = _LABEL_LAST.search(text, low, end)
    return begins if label is None else min(begins, label.start())


def says_password(text: str) -> bool:
    """Whether a text may hold a `PASSWORD_LABEL`: one of these is in each, and to look for them takes a tenth of the time."""
    lower = text.lower()
    return may_say_password(lower)


def may_say_password(lower: str) -> bool:
    """The same of a text in lower case."""
    return (
        "pass" in lower
        or "key" in lower
        or "pwd" in lower
        or "secret" in lower
        or "token" in lower
        or "contrase" in lower
    )


def with_lead(text: str, floor: int, start: int) -> int:
    """Return where a block of digits begins with what leads them: a month, or capitals as in ``AZ 12 34 56 A``.

    >>> with_lead("on 5, May 17", 0, 10)
    6
    """
    if (
        start - floor < 2
        or text[start - 1] not in " \xa0"
        or not (text[start - 2].isalpha() or text[start - 2] == ".")
    ):
        return start
    lead = _LEAD.search(text, max(floor, start - _LONGEST_LEAD), start)
    return start if lead is None else lead.start()


_LETTER = "A-Za-zÀ-ÖØ-öø-ÿ"
# Words that are no blocks, each with what ends it, and perhaps the beginning of one more. A word with its punctuation stays
# shorter than `LONG_WORD`.
_CALM = lazy(
    rf"((?:([{_LETTER}']{{0,{LONG_WORD - 4}}}+)[.!?:)]?[ \n,;\"]++)*+)[{_LETTER}']{{0,{LONG_WORD - 4}}}+\Z"
)
_MONTHS_BEGIN = frozenset(
    "jan ene gen feb fev fév mar mär maa apr avr abr mai may mag mei jun jui giu jul lug aug aou aoû ago sep set oct okt out nov dec dez dic déc".split()
)


def calm(text: str, start: int) -> int:
    """Return up to where ``text[start:]`` holds no entity whatever follows, quickly, or -1 where that takes a closer look.

    >>> text = "It will be done in spri"
    >>> text[: calm(text, 0)], calm("in May ", 0), calm("at 10 o'clock ", 0)
    ('It will be done in ', -1, -1)
    """
    found = _CALM.match(text, start)
    if found is None:
        return -1
    last = found[2]
    if last:
        if "'" in last:
            last = last.rpartition("'")[2]
        # What may lead a number; see `with_lead`.
        if last.isupper() or last[:3].lower() in _MONTHS_BEGIN:
            return -1
    return -1 if says_password(text[start:]) else found.end(1)


_TO_A_YEAR = lazy(r",(?:[ \xa0](?:[12][0-9]{0,3})?)?\Z")


def may_go_on(text: str, end: int, known: int) -> bool:
    """Whether a block that ends here may go on, when only ``text[:known]`` is known."""
    if end < known:
        if text[end] == ",":
            return _TO_A_YEAR.match(text[end:known]) is not None
        if text[end] not in " \xa0":
            return False
    return end + LOOKAHEAD > known
