"""Replaces what detectors find, in whole texts and in streams, with the same answer for both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aisecure.decisions import Finding
from aisecure.detect.allow import Allowed, AllowList
from aisecure.detect.detectors import USUALLY_LEFT, Detector, PiiDetector, SecretDetector
from aisecure.detect.engines import EntityEngine, NamedScan
from aisecure.detect.placeholders import Placeholders
from aisecure.detect.scan import Engine, Hit, Scan

__all__ = ["RedactFilter", "Redacted", "Redactor", "Style"]

#: How a value is replaced: by its label, by stars, by nothing, or by ``function(kind, value)``.
Style = Literal["label", "mask", "drop"] | Callable[[str, str], str]

#: Kinds of which a mask shows the last four characters, as PCI DSS 3.4.1 allows for cards.
_SHOWN = frozenset({"pii.credit_card", "pii.iban"})


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without what was found in it.

    Attributes:
        text: The new text.
        findings: What was found; offsets are into the text as it was.
        mapping: Value by placeholder, when the redactor is reversible. Personal data: keep it in memory only.
    """

    text: str = field(repr=False)
    findings: tuple[Finding, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict, repr=False)


class Redactor:
    """Replaces personal data and secrets in texts.

    Immutable and safe to share between threads.

    Args:
        detectors: What looks; when None a `PiiDetector` that leaves dates (but not those of birth) and links, and a
            `SecretDetector`. The earlier one wins where two are equally sure of one place.
        style: ``"label"`` writes ``[EMAIL]``; ``"mask"`` writes stars, of the length of personal data but not
            of secrets, and shows the last four of cards and IBANs; ``"drop"`` writes nothing; a function is
            given kind and value.
        styles: Style by kind, where it is another one.
        allow: Values that stay, such as the address of your own support desk: texts (upper and lower case are one),
            compiled expressions that match the whole value, or functions of it.
            Tokens of more than 400 characters and key blocks are never allowed.
        reversible: Write numbered placeholders, ``[EMAIL_1]``, that `restore` turns back. Kinds named in
            ``styles`` keep their style and stay unrestorable.
        engines: Engines for names and places, for the `PiiDetector` of the default.

    Raises:
        TypeError: A detector is none, or a collection is one text.
        ValueError: A style is unknown, is for a kind that no detector knows, or excludes ``reversible``; engines beside detectors.

    >>> Redactor().redact("Write to ada@example.org or +44 20 7946 0958.").text
    'Write to [EMAIL] or [PHONE].'
    >>> Redactor(style="mask").redact("Card 4111-1111-1111-1111").text
    'Card ****-****-****-1111'
    """

    def __init__(
        self,
        detectors: Sequence[Detector] | None = None,
        *,
        style: Style = "label",
        styles: Mapping[str, Style] | None = None,
        allow: Collection[Allowed] = (),
        reversible: bool = False,
        engines: Sequence[EntityEngine] = (),
    ) -> None:
        if detectors is None:
            detectors = (PiiDetector(exclude=USUALLY_LEFT, engines=engines), SecretDetector())
        elif engines:
            raise ValueError("engines are for the detectors of the default: give them to a PiiDetector")
        detectors = tuple(detectors)
        for detector in detectors:
            if not isinstance(detector, Detector):
                raise TypeError(
                    f"a detector is a PiiDetector or SecretDetector, not {type(detector).__name__}"
                )
        styles = dict(styles or {})
        known = frozenset[str]().union(*(detector.types for detector in detectors))
        if not known.issuperset(styles):
            raise ValueError(f"styles for kinds that no detector knows: {sorted(set(styles) - known)}")
        for one in (style, *styles.values()):
            if not callable(one) and one not in ("label", "mask", "drop"):
                raise ValueError("a style is 'label', 'mask', 'drop' or a function of kind and value")
        if reversible and style != "label":
            raise ValueError("a reversible redactor writes placeholders: leave style out")
        self.detectors = detectors
        self.reversible = reversible
        self._style = style
        self._styles = styles
        self._allow = AllowList(allow)
        self._engine = Engine(source for detector in detectors for source in detector.sources)
        self._asked = tuple(asked for detector in detectors for asked in detector.asked)
        self._irreversible = self
        if reversible:
            self._irreversible = Redactor(detectors, styles=styles, allow=allow)
        # Only then is the text of endless tokens worth its memory.
        self._keep = reversible or any(map(callable, (style, *styles.values())))

    def redact(self, text: str, *, placeholders: Placeholders | None = None, context: str = "") -> Redacted:
        """Return the text without what was found in it. Time grows linearly with the text.

        Args:
            text: Any text, of any size.
            placeholders: For a reversible redactor: continue the numbering of earlier texts.
            context: What is said before the text and is no part of it, such as the key of a JSON value.

        Raises:
            TypeError: It is no text.
        """
        stream = self.stream(placeholders=placeholders, context=context)
        new = stream.feed(text) + stream.finish()
        findings = stream.findings
        return Redacted(new if findings else text, findings, stream.mapping)

    def stream(self, *, placeholders: Placeholders | None = None, context: str = "") -> RedactFilter:
        """Return a fresh filter for one text that arrives in pieces.

        The pieces it returns join to ``redact(whole).text`` for every way of cutting the whole. It holds back
        less than 512 characters: of an unfinished word or number, of an entity, of the header of a key block.
        Tokens and key blocks of any length are replaced while they pass. With engines a sentence is held back, up to 1,000
        characters, or to the end of what a pattern found in its last ones.
        """
        patterns = Scan(self._engine, keep=self._keep or bool(self._asked), context=context)
        scan = NamedScan(patterns, self._asked) if self._asked else patterns
        return RedactFilter(self, scan, placeholders or Placeholders())

    def irreversible(self) -> Redactor:
        """Return a redactor that finds the same and writes plain labels; itself when it is one."""
        return self._irreversible

    def allows(self, value: str) -> bool:
        """Whether a value stays."""
        return bool(self._allow) and self._allow(value)

    def replacement(self, kind: str, value: str, placeholders: Placeholders) -> str:
        """Return what stands in the place of a value.

        Args:
            kind: What it is.
            value: Its text; may be empty for kinds whose replacement does not depend on it.
            placeholders: Takes the value when the redactor is reversible.
        """
        style = self._styles.get(kind, self._style)
        if style == "drop":
            return ""
        if style == "mask":
            return _mask(kind, value)
        if callable(style):
            return style(kind, value)
        label = kind.rpartition(".")[2].upper()
        if self.reversible and kind not in self._styles:
            return placeholders.placeholder(label, value)
        return f"[{label}]"

    def __repr__(self) -> str:
        return f"Redactor({list(self.detectors)!r}, reversible={self.reversible})"


class RedactFilter:
    """What `Redactor.stream` returns; a `TextFilter`."""

    __slots__ = ("_hits", "_placeholders", "_redactor", "_scan")

    def __init__(self, redactor: Redactor, scan: Scan | NamedScan, placeholders: Placeholders) -> None:
        self._redactor = redactor
        self._scan = scan
        self._placeholders = placeholders
        self._hits: list[Hit] = []

    def feed(self, chunk: str) -> str:
        """Take a piece, return the text that no continuation can change.

        Raises:
            TypeError: It is no text.
        """
        if type(chunk) is str:
            passed = self._scan.pass_on(chunk)
            if passed is not None:
                return passed
        return self._render(self._scan.feed(chunk))

    def finish(self) -> str:
        """Return what was held back."""
        return self._render(self._scan.finish())

    def _render(self, pieces: list[str | Hit]) -> str:
        return "".join([piece if isinstance(piece, str) else self._replace(piece) for piece in pieces])

    def _replace(self, hit: Hit) -> str:
        value = hit.value
        if value and self._redactor.allows(value):
            return value
        self._hits.append(hit)
        hit.value = ""  # needed no more, and personal data
        return self._redactor.replacement(hit.kind, value, self._placeholders)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, with offsets into the whole text."""
        return tuple(hit.finding() for hit in self._hits)

    def take(self) -> tuple[Finding, ...]:
        """Return what was found and has ended since the last time, and forget it."""
        taken = tuple(hit.finding() for hit in self._hits if hit.end is not None)
        self._hits = [hit for hit in self._hits if hit.end is None]
        return taken

    @property
    def mapping(self) -> Mapping[str, str]:
        """Value by placeholder so far; a live view."""
        return self._placeholders.mapping


def _mask(kind: str, value: str) -> str:
    # The length of a secret is a part of it.
    if not kind.startswith("pii."):
        return "********"
    shown = value[-4:] if kind in _SHOWN else ""
    hidden = value[: len(value) - len(shown)]
    return "".join("*" if character.isalnum() else character for character in hidden) + shown
