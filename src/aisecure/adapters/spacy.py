"""Names and places found by spaCy, for a `PiiDetector`.

::

    engine = SpacyEngine("en_core_web_sm")                  # python -m spacy download en_core_web_sm, once
    redactor = Redactor(engines=[engine])
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from aisecure.decisions import Finding
from aisecure.errors import Misconfigured

try:
    import spacy
except ImportError as err:
    raise Misconfigured(
        "SpacyEngine needs the package spacy; run: pip install 'aisecure[presidio]'", code="config.extra"
    ) from err

if TYPE_CHECKING:
    from spacy.language import Language

__all__ = ["LABELS", "SpacyEngine"]

#: Kinds by the labels of spaCy's English models, and those of its other languages.
LABELS: Mapping[str, str] = MappingProxyType(
    {
        "PERSON": "pii.person", "PER": "pii.person",
        "GPE": "pii.location", "LOC": "pii.location", "FAC": "pii.location",
        "ORG": "pii.organization",
        "NORP": "pii.nrp",
    }
)  # fmt: skip
_SURROGATE = re.compile("[\ud800-\udfff]")


class SpacyEngine:
    """An `aisecure.detect.EntityEngine`; threads may share it.

    Args:
        model: The name of an installed model, or a loaded pipeline. Nothing is downloaded.
        labels: Kind by label of the model; other labels are left out.
        score: Confidence of its findings, 0 to 1: spaCy tells none.

    Raises:
        Misconfigured: No such model is installed, or it finds none of the labels' entities.
        ValueError: The score is out of range.
    """

    def __init__(
        self, model: str | Language, *, labels: Mapping[str, str] = LABELS, score: float = 0.85
    ) -> None:
        if not 0 <= score <= 1:
            raise ValueError("a score is a number from 0 to 1")
        self._nlp = load(model) if isinstance(model, str) else model
        self._labels = dict(labels)
        self._score = score
        self.kinds = frozenset(self._labels.values())

    def find(self, text: str) -> Iterator[Finding]:
        """Return the entities of a text."""
        # Half of a surrogate pair is no text to spaCy.
        document = self._nlp(_SURROGATE.sub("\ufffd", text))
        for entity in document.ents:
            kind = self._labels.get(entity.label_)
            if kind is not None:
                yield Finding(kind, entity.start_char, entity.end_char, self._score, "spacy")

    def __repr__(self) -> str:
        return f"SpacyEngine({self._nlp.meta.get('name', '')!r})"


def load(model: str) -> Language:
    """Return an installed model.

    Raises:
        Misconfigured: It is not installed.
    """
    if not spacy.util.is_package(model):
        raise Misconfigured(
            f"the spaCy model {model} is not installed; run: python -m spacy download {model}",
            code="config.model",
        )
    return spacy.load(model)
