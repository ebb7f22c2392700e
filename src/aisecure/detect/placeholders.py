"""Numbered placeholders that stand for values, and the way back, also in a stream."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

from aisecure.decisions import Finding

__all__ = ["Placeholders", "RestoreFilter", "literal_placeholders", "restore"]

_OPEN, _CLOSE = "[\\[({<【［「⟦]", "[\\])}>】］」⟧]"  # noqa: RUF001
_INSIDE = r"[ *`_]{0,3}"
_GAP = r"(?:\\?_|[ \u00a0-])"
_LITERAL = re.compile(rf"((?:[A-Za-z][A-Za-z0-9]{{0,19}}{_GAP}){{1,4}})([0-9]{{1,9}})(?![0-9])")
#: The longest form: a label of 41 characters with gaps of two, nine digits, brackets with what may stand inside.
_LONGEST = 110


class Placeholders:
    """Values and the placeholders that stand for them; the same value has the same placeholder.

    It holds personal data: keep it in memory, for as long as one call lasts. The ``repr`` says only how many.

    Args:
        reserved: Placeholders that the text already holds, and that must not come to mean something.

    >>> held = Placeholders()
    >>> held.placeholder("EMAIL", "ada@example.org"), held.placeholder("EMAIL", "ada@example.org")
    ('[EMAIL_1]', '[EMAIL_1]')
    """

    __slots__ = ("_by_value", "_counts", "_reserved", "_values")

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._reserved = frozenset(reserved)
        self._by_value: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._values: dict[str, str] = {}

    def placeholder(self, label: str, value: str) -> str:
        """Return what stands for the value, such as ``[EMAIL_1]``."""
        known = self._by_value.get((label, value))
        if known is not None:
            return known
        number = self._counts.get(label, 0)
        while True:
            number += 1
            new = f"[{label}_{number}]"
            if new not in self._reserved:
                break
        self._counts[label] = number
        self._by_value[label, value] = new
        self._values[new] = value
        return new

    @property
    def mapping(self) -> Mapping[str, str]:
        """Value by placeholder; a live, read-only view."""
        return MappingProxyType(self._values)

    def __repr__(self) -> str:
        return f"Placeholders({len(self._values)} values)"


def literal_placeholders(text: str) -> list[str]:
    """Return the placeholders that a text already holds, in any form that `restore` would take for them.

    >>> literal_placeholders("see [EMAIL_1] or credit card 2")
    ['[EMAIL_1]', '[OR_CREDIT_CARD_2]', '[CREDIT_CARD_2]', '[CARD_2]']
    """
    found = []
    for match in _LITERAL.finditer(text):
        words = re.split(_GAP, match[1])[:-1]
        found += [f"[{'_'.join(words[count:]).upper()}_{match[2]}]" for count in range(len(words))]
    return found


def restore(text: str, mapping: Mapping[str, str], *, form: Callable[[str], str] | None = None) -> str:
    r"""Return the text with its placeholders replaced by their values; unknown ones stay.

    Models do not always copy: other brackets, small letters, spaces or hyphens for underscores, the escapes and stars of Markdown are
    understood (``(Email 1)``, ``**EMAIL_1**``, ``\[EMAIL\_1\]``); without brackets only what no sentence would say, so not ``email 1``.

    Args:
        text: What was written with placeholders, such as a model's answer.
        mapping: Value by placeholder, as in `Redacted.mapping`.
        form: How a value is written in this text, such as with the escapes of JSON; as it is when None.

    >>> restore("Dear [EMAIL_1], dear (email 1), dear [EMAIL_2]", {"[EMAIL_1]": "ada@example.org"})
    'Dear ada@example.org, dear ada@example.org, dear [EMAIL_2]'
    """
    return _Written(mapping, form).replace(text, 0) if mapping else text


class _Written:
    """The forms in which a model may write the placeholders of a mapping."""

    __slots__ = ("_form", "_mapping", "_unfinished", "_written")

    def __init__(self, mapping: Mapping[str, str], form: Callable[[str], str] | None = None) -> None:
        self._mapping = mapping
        self._form = form
        self._written, self._unfinished = _patterns(
            frozenset(name[1:-1].rpartition("_")[0] for name in mapping)
        )

    def replace(self, text: str, start: int) -> str:
        """Return the text from ``start`` on with its placeholders replaced; what is before is only looked at."""
        out = []
        last = start
        for found in self._written.finditer(text, start):
            value = self._value(found)
            if value is not None:
                out += [text[last : found.start()], value]
                last = found.end()
        out.append(text[last:])
        return "".join(out)

    def complete(self, text: str) -> int:
        """Return up to where no continuation can change what is a placeholder."""
        low = max(0, len(text) - _LONGEST)
        unfinished = self._unfinished.search(text, low)
        return unfinished.start() if unfinished else len(text)

    def _value(self, found: re.Match[str]) -> str | None:
        label = found["label"]
        gap = found["gap"]
        if found["open"] is None and not (gap.endswith("_") or label.isupper()):
            return None  # "see email 1" is no placeholder
        name = f"[{re.sub(_GAP, '_', label).upper()}_{found['number']}]"
        value = self._mapping.get(name)
        return value if value is None or self._form is None else self._form(value)


@lru_cache(maxsize=64)
def _patterns(labels: frozenset[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what finds placeholders of these labels, and what finds the beginning of one at the end of a text."""
    before = rf"(?<![A-Za-z0-9_])(?P<open>\\?{_OPEN}{_INSIDE})?"
    ordered = sorted(labels, key=len, reverse=True)
    whole = "|".join(re.escape(label).replace("_", _GAP) for label in ordered)
    written = (
        rf"{before}(?P<label>{whole})(?P<gap>{_GAP})(?P<number>[0-9]{{1,9}})"
        rf"(?(open){_INSIDE}\\?{_CLOSE}|(?![A-Za-z0-9_]|[.,][0-9]))"
    )
    tail = rf"(?:\\|{_GAP}(?:[0-9]{{1,9}}(?:{_INSIDE}\\?|[.,])?)?)?"
    begun = "|".join(_beginnings(label, tail) for label in ordered)
    unfinished = (
        rf"(?<![A-Za-z0-9_])(?:\\?{_OPEN}{_INSIDE})(?:{begun})?\Z|(?<![A-Za-z0-9_])(?:{begun})\Z|\\\Z"
    )
    return re.compile(written, re.IGNORECASE), re.compile(unfinished, re.IGNORECASE)


def _beginnings(label: str, tail: str) -> str:
    """Return an expression for every beginning of a label, one letter or more, and what follows the whole of it."""
    expression = tail
    for position in range(len(label) - 1, -1, -1):
        letter = rf"(?:{_GAP}|\\)" if label[position] == "_" else re.escape(label[position])
        expression = f"{letter}(?:{expression})" if position == 0 else f"(?:{letter}{expression})?"
    return expression


class RestoreFilter:
    """`restore` for a text that arrives in pieces; a `TextFilter`.

    At most 110 characters are held back: the beginning of a placeholder.
    """

    __slots__ = ("_before", "_held", "_written")

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._written = _Written(mapping) if mapping else None
        self._before = ""  # the last character that was given out, which tells whether a word begins after it
        self._held = ""

    def feed(self, chunk: str) -> str:
        """Take a piece, return what no continuation can change."""
        if self._written is None:
            return chunk
        text = self._before + self._held + chunk
        known = len(self._before)
        end = max(known, self._written.complete(text))
        # A match may end where the text is known to end, and look one character further.
        out = self._written.replace(text[:end], known)
        self._held = text[end:]
        self._before = text[end - 1 : end]
        return out

    def finish(self) -> str:
        """Return what was held back."""
        if self._written is None or not self._held:
            return ""
        text, known = self._before + self._held, len(self._before)
        self._held = ""
        return self._written.replace(text, known)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Nothing: what is restored was found on the way in."""
        return ()
