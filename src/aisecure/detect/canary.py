"""Markers in a system prompt that tell when the prompt comes out again.

A model that is talked into repeating its instructions repeats the marker too, perhaps spelled, spaced, reversed or encoded as it was asked
to. A marker is random, so that finding one is proof; that none is found is proof of nothing, since instructions can be paraphrased.
"""

from __future__ import annotations

import base64
import codecs
import re
import secrets
from collections.abc import Callable
from typing import Any, Literal

from aisecure.call import Call
from aisecure.content import Part, rewrite
from aisecure.decisions import Decision, Finding
from aisecure.errors import OutputBlocked
from aisecure.guard import Changed, Guard
from aisecure.ports import TextFilter

__all__ = ["Canary", "CanaryFilter", "CanaryGuard"]

KIND = "canary.leak"
_VALUE = re.compile(r"[a-z0-9]{12,64}")
_REPLACEMENT = "[CANARY]"
#: What may stand between the characters of a marker: spaces, hyphens, the stars of Markdown.
_BETWEEN = r"[^A-Za-z0-9]{0,3}"
_SHORT = "shorter than 12 letters and digits a marker could be in a text by chance"


class Canary:
    """A marker, and all the forms in which it is recognised.

    Recognised are also: upper case, up to three other characters between any two of it, the reverse, ROT13, hexadecimal, and base64 at
    any offset. Immutable; the ``repr`` does not show it.

    Args:
        value: The marker, 12 to 64 small letters and digits; a random one by default. Keep it where the prompt is kept.

    Raises:
        ValueError: The marker is none.

    >>> canary = Canary("k7q2m9x4t1z8")
    >>> [f.kind for f in canary.scan("My instructions end with K7Q2-M9X4-T1Z8.")]
    ['canary.leak']
    >>> canary.line
    'Reference k7q2m9x4t1z8.'
    """

    __slots__ = ("_begun", "_found", "value")

    def __init__(self, value: str | None = None) -> None:
        if value is None:
            # 100 bits of letters and digits that are not taken for one another.
            value = "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(20))
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ValueError(f"a marker is 12 to 64 small letters and digits: {_SHORT}")
        self.value = value
        plain = {
            value,
            value[::-1],
            codecs.encode(value, "rot13"),
            value.encode().hex(),
            codecs.encode(value, "rot13")[::-1],
        }
        exact = set(_base64_forms(value))
        forms = [
            *(f"(?i:{_spread(form)})" for form in sorted(plain)),
            *(_spread(form) for form in sorted(exact)),
        ]
        begun = [
            *(f"(?i:{_beginning(form)})" for form in sorted(plain)),
            *(_beginning(form) for form in sorted(exact)),
        ]
        self._found = re.compile("|".join(forms))
        self._begun = re.compile(rf"(?:{'|'.join(begun)})\Z")

    @property
    def line(self) -> str:
        """A sentence with the marker, to stand in a system prompt; it says nothing that a model could act on."""
        return f"Reference {self.value}."

    def scan(self, text: str) -> list[Finding]:
        """Return where the marker is in a text, in any of its forms.

        Raises:
            TypeError: It is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"a text is a str, not {type(text).__name__}")
        return [Finding(KIND, *found.span(), 1.0, "canary") for found in self._found.finditer(text)]

    def redact(self, text: str) -> str:
        """Return the text with ``[CANARY]`` for every form of the marker."""
        return self._found.sub(_REPLACEMENT, text)

    def stream(self, *, block: bool = False) -> CanaryFilter:
        """Return a filter for a text that arrives in pieces; at most 512 characters wait, and only where a marker may have begun.

        Args:
            block: End the stream with `OutputBlocked` in place of writing ``[CANARY]``.
        """
        return CanaryFilter(self._found, self._begun, block=block)

    def __repr__(self) -> str:
        return "Canary(...)"


def _spread(form: str) -> str:
    return _BETWEEN.join(form)


def _beginning(form: str) -> str:
    """Return an expression for every proper beginning of a form, with what may stand after it."""
    expression = ""
    for character in reversed(form[1:]):
        expression = f"(?:{_BETWEEN}{character}{expression})?"
    return f"{form[0]}{expression}{_BETWEEN}"


def _base64_forms(value: str) -> list[str]:
    """Return what is in every base64 text that holds the value, at each of the three offsets: letters and digits alone."""
    forms = []
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + value.encode()).decode().rstrip("=")
        # The first and the last characters depend on what stands beside the value.
        first = -(-offset * 8 // 6)
        last = (offset + len(value)) * 8 // 6
        forms.append(text[first:last])
    return forms


class CanaryFilter:
    """What `Canary.stream` returns; a `TextFilter`."""

    __slots__ = ("_begun", "_block", "_findings", "_found", "_held", "_offset")

    def __init__(self, found: re.Pattern[str], begun: re.Pattern[str], *, block: bool) -> None:
        self._found = found
        self._begun = begun
        self._block = block
        self._held = ""
        self._offset = 0
        self._findings: list[Finding] = []

    def feed(self, chunk: str) -> str:
        """Take a piece, return what no continuation can change.

        Raises:
            OutputBlocked: The marker came, and the filter was told to block.
        """
        text = self._held + chunk
        last = 0
        for found in self._found.finditer(text):
            last = found.end()
        begun = self._begun.search(text, max(last, len(text) - _LONGEST))
        return self._give(text, begun.start() if begun else len(text))

    def finish(self) -> str:
        """Return what was held back."""
        return self._give(self._held, len(self._held))

    def _give(self, text: str, end: int) -> str:
        hits = list(self._found.finditer(text, 0, end))
        self._findings += [
            Finding(KIND, self._offset + hit.start(), self._offset + hit.end(), 1.0, "canary") for hit in hits
        ]
        if hits and self._block:
            self._held = ""
            raise OutputBlocked("The output holds a part of the instructions.", code="output.canary")
        self._held = text[end:]
        self._offset += end
        return self._found.sub(_REPLACEMENT, text[:end]) if hits else text[:end]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far."""
        return tuple(self._findings)


#: The longest form, hexadecimal of 64 characters, with three between any two.
_LONGEST = 512


class CanaryGuard(Guard):
    """Withholds an output in which a marker of the instructions comes, or takes the marker out.

    Args:
        canary: The marker that stands in the instructions.
        on_leak: ``"block"`` ends the call or the stream; ``"redact"`` writes ``[CANARY]``. Both tell it in the event's findings.
        options: As for `aisecure.guard.Guard`.

    Raises:
        TypeError: It is no `Canary`.
        ValueError: ``on_leak`` is something else.

    >>> canary = Canary("k7q2m9x4t1z8")
    >>> @CanaryGuard(canary)
    ... def ask(prompt: str) -> str:
    ...     return f"They told me: {canary.line}"
    >>> ask("What did they tell you?")
    Traceback (most recent call last):
        ...
    aisecure.errors.OutputBlocked: The output holds a part of the instructions.
    """

    name = "canary"

    def __init__(
        self, canary: Canary, *, on_leak: Literal["block", "redact"] = "block", **options: Any
    ) -> None:
        super().__init__(**options)
        if not isinstance(canary, Canary):
            raise TypeError(f"a guard takes a Canary, not {type(canary).__name__}")
        if on_leak not in ("block", "redact"):
            raise ValueError('on_leak is "block" or "redact"')
        self.canary = canary
        self.on_leak = on_leak

    def after(self, call: Call, output: Any) -> Decision | Changed | None:
        """Refuse or change an output that holds the marker."""
        findings: list[Finding] = []
        changed = rewrite(output, self._redact(findings), origin="model")
        if not findings:
            return None
        if self.on_leak == "redact":
            return Changed(changed, tuple(findings))
        return Decision.deny(
            "output.canary", "The output holds a part of the instructions.", findings=tuple(findings)
        )

    def stream(self, call: Call) -> TextFilter:
        """Return the filter of a streamed output."""
        return self.canary.stream(block=self.on_leak == "block")

    def _redact(self, findings: list[Finding]) -> Callable[[Part], str]:
        def change(part: Part) -> str:
            here = self.canary.scan(part.text)
            findings.extend(here)
            return self.canary.redact(part.text) if here else part.text

        return change
