"""Where a text may be cut: the blocks that no entity crosses.

A block is a run of characters without white space, quotes, commas and the like. Single spaces belong to it
where numbers are written in groups (``4111 1111 1111 1111``, ``(415) 555-2671``, ``GB82 WEST 1234``). Whether
a space does is decided by at most `LOOKAHEAD` characters after it, so a stream knows the end of a block
almost at once. Words without a digit, an ``@`` or `LONG_WORD` characters hold no entity and are no blocks.

A block may be of any length. It is looked at in windows of `WINDOW` characters that advance by `STRIDE`: an
entity no longer than the stride lies whole in one of them. Longer ones (tokens) go on as open runs.
"""

from __future__ import annotations

import re

__all__ = [
    "CONTEXT",
    "HARD",
    "LOOKAHEAD",
    "STRIDE",
    "TOKEN",
    "WINDOW",
    "WORTH_A_LOOK",
    "may_go_on",
    "tail_word",
]

#: Characters looked at together. With `LOOKAHEAD` and the longest header of a key block this keeps what a
#: stream holds back below 512 characters.
WINDOW = 400
#: Entities that are not open runs are no longer than this.
STRIDE = 200
#: How far after a space the answer lies whether it is part of a block: ``ext. 1`` and what follows.
LOOKAHEAD = 8
#: How far before a block labels are read.
CONTEXT = 64
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
HARD = re.compile(f"[{_HARD}]")

_SPACE = "[ \xa0]"
_JOIN = "|".join(
    (
        rf"(?<=[{_DIGITS})]){_SPACE}(?=[{_DIGITS}(])",  # groups of digits, an area code in parentheses
        # IBAN groups: GB82 WEST, WEST 1234, 013A A, 125K ZT50, MTLC AST0, CDEF G
        rf"(?<=[0-9]){_SPACE}(?=[A-Z][A-Z0-9]{{0,3}}(?![A-Za-z0-9]))",
        rf"(?<=[A-Z]){_SPACE}(?=[0-9])",
        rf"(?:(?<=\d[A-Z])|(?<=\d[A-Z]{{2}})|(?<=\d[A-Z]{{3}})|(?<= [A-Z]{{4}})){_SPACE}(?=[A-Z0-9]{{1,4}}(?![A-Za-z0-9]))",
        rf"(?<=[0-9]){_SPACE}(?=(?:[xX]|[eE]xt\.?) ?[0-9])",  # 555-0100 ext. 12
        rf"(?<=[0-9] [xX]){_SPACE}(?=[0-9])",
        rf"(?<=[0-9] [eE]xt){_SPACE}(?=[0-9])",
        rf"(?<=[0-9] [eE]xt\.){_SPACE}(?=[0-9])",
        rf"(?<=[0-9)]){_SPACE}(?=[-–] [0-9])",  # 415 - 555 - 2671  # noqa: RUF001
        rf"(?<=[0-9)] [-–]){_SPACE}(?=[0-9])",  # noqa: RUF001
    )
)

#: The rest of a block from a position inside it; may be empty.
TOKEN = re.compile(rf"[^{_HARD}]*+(?:(?:{_JOIN})[^{_HARD}]++)*+")

#: The start of a block: a word with a digit or an ``@`` early in it, or a long word.
WORTH_A_LOOK = re.compile(
    # The possessive part stops at a digit, an ``@``, the end of the word, or one before a long word.
    rf"(?<![^{_HARD}])[^{_HARD}{_DIGITS}@]{{0,{LONG_WORD - 1}}}+[^{_HARD}]"
)

_AFTER_LAST_HARD = re.compile(rf".*[{_HARD}]", re.DOTALL)


def tail_word(text: str, start: int, end: int) -> int:
    """Return where the unfinished word at the end of ``text[start:end]`` begins; it is a short one."""
    low = max(start, end - LONG_WORD)
    found = _AFTER_LAST_HARD.match(text[low:end])
    return low + found.end() if found else low


def may_go_on(text: str, end: int, known: int) -> bool:
    """Whether a block that ends here may go on, when only ``text[:known]`` is known."""
    if end < known:
        if text[end] not in " \xa0":
            return False
        before = text[end - 1 : end]
        if not (before.isdigit() or before.isupper() or before in ")xt.-–"):  # noqa: RUF001
            return False
    return end + LOOKAHEAD > known
