"""The detectors: which kinds they know, and how a text is asked for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from aisecure.decisions import Finding
from aisecure.detect import pem
from aisecure.detect.email import EMAIL
from aisecure.detect.entities import ENTITIES
from aisecure.detect.identifiers import identifiers
from aisecure.detect.network import IPV4, IPV6
from aisecure.detect.payment import CARD, IBAN
from aisecure.detect.phone import PHONE
from aisecure.detect.recognizer import Recognizer, Shape
from aisecure.detect.scan import Engine, Hit, Scan, Source
from aisecure.detect.tokens import CONTEXT_TOKENS, PREFIXED, URL_PASSWORD

__all__ = ["Detector", "PiiDetector", "SecretDetector", "presidio_name"]

_PRESIDIO = {
    "pii.credit_card": "CREDIT_CARD",
    "pii.email": "EMAIL_ADDRESS",
    "pii.iban": "IBAN_CODE",
    "pii.ip_address": "IP_ADDRESS",
    "pii.phone": "PHONE_NUMBER",
    "pii.us_ssn": "US_SSN",
}


def presidio_name(kind: str) -> str:
    """Return the entity name that Microsoft Presidio uses for a kind.

    Kinds that Presidio does not know get their own name in Presidio's style.

    >>> presidio_name("pii.iban"), presidio_name("secret.github_token")
    ('IBAN_CODE', 'GITHUB_TOKEN')
    """
    return _PRESIDIO.get(kind) or kind.rpartition(".")[2].upper()


class Detector:
    """Looks for kinds of entities in texts; use `PiiDetector` and `SecretDetector`.

    Immutable and safe to share between threads.

    Args:
        recognizers: In order of preference.
        types: Kinds to look for; all that the recognisers know when None.
        threshold: Findings with a lower score are left out, 0 to 1.

    Raises:
        TypeError: Types are given as one text.
        ValueError: A type is unknown, or the threshold is out of range.
    """

    #: Shown in findings.
    name = "detector"

    def __init__(
        self,
        recognizers: Iterable[Recognizer],
        types: Collection[str] | None = None,
        *,
        threshold: float = 0.5,
    ) -> None:
        recognizers = tuple(recognizers)
        known = frozenset(kind for recognizer in recognizers for kind in recognizer.kinds)
        if isinstance(types, str):
            raise TypeError("types is a collection of kinds, not one text")
        wanted = known if types is None else frozenset(types)
        if not wanted <= known:
            raise ValueError(f"unknown types {sorted(wanted - known)}: known are {sorted(known)}")
        if not 0 <= threshold <= 1:
            raise ValueError("threshold is a number from 0 to 1")
        self.types = wanted
        self.threshold = threshold
        #: What an `Engine` needs to know; a `Redactor` joins those of several detectors.
        self.sources: Sequence[Source] = tuple(
            Source(recognizer, wanted & frozenset(recognizer.kinds), threshold, self.name)
            for recognizer in recognizers
            if not wanted.isdisjoint(recognizer.kinds)
        )
        self._engine = Engine(self.sources)

    def scan(self, text: str) -> list[Finding]:
        """Return what is in the text, in order; findings do not overlap.

        Candidates that overlap become one finding over all of them, of the kind of the longest; where those
        are of one length, of the highest score. Time grows linearly with the text. Offsets are code points.

        Raises:
            TypeError: It is no text.
        """
        scan = Scan(self._engine)
        pieces = [*scan.feed(text), *scan.finish()]
        return [piece.finding() for piece in pieces if isinstance(piece, Hit)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.types)} types, threshold={self.threshold})"


_IDENTIFIERS = identifiers(ENTITIES)


class PiiDetector(Detector):
    """Finds personal data by its shape, check digits and labels; it needs no model and no network.

    It does not find names and places: no pattern can. See `Detector` for the arguments.

    >>> [(f.kind, f.start, f.end) for f in PiiDetector().scan("Mail ada@example.org, card 4111 1111 1111 1111.")]
    [('pii.email', 5, 20), ('pii.credit_card', 27, 46)]
    """

    name = "pii"

    def __init__(self, types: Collection[str] | None = None, *, threshold: float = 0.5) -> None:
        super().__init__((EMAIL, IBAN, CARD, _IDENTIFIERS, PHONE, IPV4, IPV6), types, threshold=threshold)


# Key blocks go over lines and are found by the scan itself; this entry only makes the kind known.
_KEY_BLOCKS = Recognizer((pem.KIND,), Shape.LONG, lambda window: ())  # noqa: ARG005


class SecretDetector(Detector):
    """Finds credentials that their issuers made recognisable, private key blocks, and passwords in addresses.

    A password or key of no known form is not found: nothing tells it from other text. See `Detector` for the
    arguments.

    >>> SecretDetector().scan("postgres://app:hunter2@db.example.org/main")[0].kind
    'secret.url_password'
    """

    name = "secrets"

    def __init__(self, types: Collection[str] | None = None, *, threshold: float = 0.5) -> None:
        super().__init__((_KEY_BLOCKS, PREFIXED, URL_PASSWORD, CONTEXT_TOKENS), types, threshold=threshold)
