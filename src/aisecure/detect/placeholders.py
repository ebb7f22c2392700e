"""Numbered placeholders that stand for values, and the way back, also in a stream."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from aisecure.decisions import Finding

__all__ = ["Placeholders", "RestoreFilter", "literal_placeholders", "restore"]

_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_]{0,40}_[0-9]{1,9}\]")
#: The longest placeholder: brackets, 41 characters of label, underscore, nine digits.
_LONGEST = 53
_UNFINISHED = re.compile(r"\[[A-Z0-9_]*\Z")


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
    """Return what looks like a placeholder in a text.

    >>> literal_placeholders("see [EMAIL_1]")
    ['[EMAIL_1]']
    """
    return _PLACEHOLDER.findall(text)


def _replacer(
    mapping: Mapping[str, str], form: Callable[[str], str] | None
) -> Callable[[re.Match[str]], str]:
    def replace(found: re.Match[str]) -> str:
        value = mapping.get(found.group())
        if value is None:
            return found.group()
        return value if form is None else form(value)

    return replace


def restore(text: str, mapping: Mapping[str, str], *, form: Callable[[str], str] | None = None) -> str:
    """Return the text with its placeholders replaced by their values; unknown ones stay.

    Args:
        text: What was written with placeholders, such as a model's answer.
        mapping: Value by placeholder, as in `Redacted.mapping`.
        form: How a value is written in this text, such as with the escapes of JSON; as it is when None.

    >>> restore("Dear [EMAIL_1], dear [EMAIL_2]", {"[EMAIL_1]": "ada@example.org"})
    'Dear ada@example.org, dear [EMAIL_2]'
    """
    return _PLACEHOLDER.sub(_replacer(mapping, form), text)


class RestoreFilter:
    """`restore` for a text that arrives in pieces; a `TextFilter`.

    At most 53 characters are held back: the beginning of a placeholder.
    """

    __slots__ = ("_held", "_replace")

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._replace = _replacer(mapping, None)
        self._held = ""

    def feed(self, chunk: str) -> str:
        """Take a piece, return what no continuation can change."""
        text = self._held + chunk
        low = max(0, len(text) - _LONGEST)
        unfinished = _UNFINISHED.search(text, low)
        end = unfinished.start() if unfinished else len(text)
        self._held = text[end:]
        return _PLACEHOLDER.sub(self._replace, text[:end])

    def finish(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return held

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Nothing: what is restored was found on the way in."""
        return ()
