"""The detectors: which kinds they know, and how a text is asked for them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache

from aisecure.decisions import Finding
from aisecure.detect import pem
from aisecure.detect.ages import AGES
from aisecure.detect.allow import Allowed, AllowList
from aisecure.detect.assignments import ASSIGNED, PASSWORDS
from aisecure.detect.coordinates import COORDINATES
from aisecure.detect.crypto import CRYPTO
from aisecure.detect.dates import DATES
from aisecure.detect.email import EMAIL
from aisecure.detect.engines import Asked, EntityEngine, NamedScan
from aisecure.detect.entities import ENTITIES
from aisecure.detect.identifiers import identifiers
from aisecure.detect.network import IPV4, IPV6, MAC
from aisecure.detect.payment import CARD, CARD_DETAILS, IBAN
from aisecure.detect.phone import PHONES
from aisecure.detect.recognizer import Recognizer
from aisecure.detect.scan import Engine, Hit, Scan, Source
from aisecure.detect.spelled import SpelledOut
from aisecure.detect.tokens import CONTEXT_TOKENS, PREFIXED, URL_PASSWORD
from aisecure.detect.urls import URLS
from aisecure.detect.usernames import USERNAMES
from aisecure.detect.uuids import KIND as UUID_KIND
from aisecure.detect.uuids import UUIDS

__all__ = ["USUALLY_LEFT", "Detector", "PiiDetector", "SecretDetector", "presidio_name"]

_PRESIDIO = {
    "pii.credit_card": "CREDIT_CARD",
    "pii.date_of_birth": "DATE_TIME",
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


#: Found, and left where they are unless asked for: an answer without dates and links is of little use.
USUALLY_LEFT = frozenset({"pii.date_time", "pii.url"})


class Detector:
    """Looks for kinds of entities in texts; use `PiiDetector` and `SecretDetector`.

    Immutable and safe to share between threads.

    Args:
        recognizers: In order of preference.
        types: Kinds to look for; all that the recognisers know when None.
        exclude: Kinds that are left out of these.
        threshold: Findings with a lower score are left out, 0 to 1.
        thresholds: The same by kind, where it is another one.
        allow: Values that are not reported by `scan`, as for `Redactor`.
        engines: Engines that find what patterns cannot; see `EntityEngine`.

    Raises:
        TypeError: Types are given as one text, or an engine is none.
        ValueError: A type is unknown, or a threshold is out of range.
    """

    #: Shown in findings.
    name = "detector"

    def __init__(
        self,
        recognizers: Iterable[Recognizer],
        types: Collection[str] | None = None,
        *,
        exclude: Collection[str] = (),
        threshold: float = 0.5,
        thresholds: Mapping[str, float] | None = None,
        allow: Collection[Allowed] = (),
        engines: Iterable[EntityEngine] = (),
    ) -> None:
        recognizers, engines = tuple(recognizers), tuple(engines)
        for engine in engines:
            if not isinstance(engine, EntityEngine):
                raise TypeError(f"an engine has kinds and find(text); this is a {type(engine).__name__}")
        known = frozenset(kind for recognizer in recognizers for kind in recognizer.kinds).union(
            *(engine.kinds for engine in engines)
        )
        if isinstance(types, str) or isinstance(exclude, str):
            raise TypeError("types and exclude are collections of kinds, not one text")
        wanted = known if types is None else frozenset(types)
        thresholds = dict(thresholds or {})
        unknown = (wanted | frozenset(exclude) | frozenset(thresholds)) - known
        if unknown:
            raise ValueError(f"unknown types {sorted(unknown)}: known are {sorted(known)}")
        wanted -= frozenset(exclude)
        for each in (threshold, *thresholds.values()):
            if not 0 <= each <= 1:
                raise ValueError("a threshold is a number from 0 to 1")
        self.types = wanted
        self.threshold = threshold
        self._allow = AllowList(allow)
        #: What an `Engine` needs to know; a `Redactor` joins those of several detectors.
        self.sources: Sequence[Source] = tuple(
            Source(
                recognizer,
                {kind: thresholds.get(kind, threshold) for kind in recognizer.kinds if kind in wanted},
                self.name,
            )
            for recognizer in recognizers
            if not wanted.isdisjoint(recognizer.kinds)
        )
        self.asked: Sequence[Asked] = tuple(
            Asked(
                engine,
                {kind: thresholds.get(kind, threshold) for kind in engine.kinds if kind in wanted},
                self.name,
            )
            for engine in engines
            if not wanted.isdisjoint(engine.kinds)
        )

    @cached_property
    def _engine(self) -> Engine:
        # When it is first asked: a detector that was made for a redactor never is.
        return Engine(self.sources)

    def scan(self, text: str, *, context: str = "") -> list[Finding]:
        """Return what is in the text, in order; findings do not overlap.

        Candidates that overlap become one finding over all of them, of the kind of the longest; where those
        are of one length, of the highest score. Time grows linearly with the text. Offsets are code points.

        Args:
            text: Any text, of any size.
            context: What is said before it and is no part of it, such as the key of a JSON value or the name of a column.

        Raises:
            TypeError: It is no text.
            Unavailable: An engine failed.
        """
        patterns = Scan(self._engine, keep=bool(self._allow) or bool(self.asked), context=context)
        scan = NamedScan(patterns, self.asked) if self.asked else patterns
        hits = [piece for piece in (*scan.feed(text), *scan.finish()) if isinstance(piece, Hit)]
        if self._allow:
            hits = [hit for hit in hits if not (hit.value and self._allow(hit.value))]
        return [hit.finding() for hit in hits]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.types)} types, threshold={self.threshold})"


_GLOBAL = (
    EMAIL, URLS, IBAN, CARD, *PHONES, IPV4, IPV6, MAC, CRYPTO, COORDINATES, *DATES, CARD_DETAILS, AGES, USERNAMES, UUIDS,
)  # fmt: skip
#: Not looked for unless named in ``types``.
_UNASKED = frozenset({UUID_KIND})


class PiiDetector(Detector):
    """Finds personal data by its shape, check digits and labels; it needs no model and no network.

    It does not find names and places: no pattern can, but ``engines`` do.

    Args:
        types: Kinds to look for; when None all known ones but ``pii.uuid``, which is no personal data by itself.
        exclude: Kinds that are left out of these.
        countries: ISO 3166-1 alpha-2 codes: of the identifiers that single countries issue only those of these; all
            when None.
        threshold: Findings with a lower score are left out, 0 to 1.
        thresholds: The same by kind, where it is another one.
        recognizers: Recognisers of your own, asked first; see `pattern`.
        allow: Values that are not reported by `scan`, as for `Redactor`.
        engines: Engines for names and places, such as `aisecure.adapters.spacy.SpacyEngine`. They see one sentence at a time,
            in streams too, and what they say of a place where a pattern has found something does not count.
        spelled_out: Find ``name at domain dot com`` and the like too. A stream then holds back a sentence, as with engines.

    Raises:
        TypeError: Types or countries are given as one text, or an engine is none.
        ValueError: A type or country is unknown, or a threshold is out of range.

    >>> [(f.kind, f.start, f.end) for f in PiiDetector().scan("Mail ada@example.org, card 4111 1111 1111 1111.")]
    [('pii.email', 5, 20), ('pii.credit_card', 27, 46)]
    """

    name = "pii"

    def __init__(
        self,
        types: Collection[str] | None = None,
        *,
        exclude: Collection[str] = (),
        countries: Collection[str] | None = None,
        threshold: float = 0.5,
        thresholds: Mapping[str, float] | None = None,
        recognizers: Iterable[Recognizer] = (),
        allow: Collection[Allowed] = (),
        engines: Iterable[EntityEngine] = (),
        spelled_out: bool = False,
    ) -> None:
        entities = _identifiers(None if countries is None else _codes(countries))
        super().__init__(
            (*recognizers, *_GLOBAL[:4], entities, *_GLOBAL[4:]),
            types,
            exclude=_with_unasked(exclude) if types is None else exclude,
            threshold=threshold,
            thresholds=thresholds,
            allow=allow,
            engines=(*engines, SpelledOut()) if spelled_out else engines,
        )


def _with_unasked(exclude: Collection[str]) -> Collection[str]:
    # One text is refused further on.
    return exclude if isinstance(exclude, str) else {*exclude, *_UNASKED}


def _codes(countries: Collection[str]) -> frozenset[str]:
    if isinstance(countries, str):
        raise TypeError("countries is a collection of codes, not one text")
    known = {code for entity in ENTITIES for code in entity.countries}
    codes = frozenset(countries)
    if not codes <= known:
        raise ValueError(f"no identifiers of {sorted(codes - known)}: known are {sorted(known)}")
    return codes


@lru_cache(maxsize=16)
def _identifiers(countries: frozenset[str] | None) -> Recognizer:
    return identifiers(
        entity
        for entity in ENTITIES
        if countries is None or not entity.countries or not countries.isdisjoint(entity.countries)
    )


# Key blocks go over lines and are found by the scan itself; this entry only makes the kind known.
_KEY_BLOCKS = Recognizer((pem.KIND,), re.compile("(?!)"), lambda window: ())  # noqa: ARG005


class SecretDetector(Detector):
    """Finds credentials that their issuers made recognisable, private key blocks, and passwords in addresses.

    A password or key of no known form is not found: nothing tells it from other text. See `Detector` for the
    arguments.

    >>> SecretDetector().scan("postgres://app:hunter2@db.example.org/main")[0].kind
    'secret.url_password'
    """

    name = "secrets"

    def __init__(self, types: Collection[str] | None = None, *, threshold: float = 0.5) -> None:
        super().__init__(
            (_KEY_BLOCKS, PREFIXED, URL_PASSWORD, CONTEXT_TOKENS, PASSWORDS, ASSIGNED),
            types,
            threshold=threshold,
        )
