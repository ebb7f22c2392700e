"""Names, places, and whatever else Microsoft Presidio finds, for a `PiiDetector`.

::

    engine = PresidioEngine("en_core_web_lg")               # python -m spacy download en_core_web_lg, once
    redactor = Redactor(engines=[engine])
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from aisecure.decisions import Finding
from aisecure.detect import PiiDetector, presidio_name
from aisecure.errors import Misconfigured

try:
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider
except ImportError as err:
    raise Misconfigured(
        "PresidioEngine needs the package presidio-analyzer; run: pip install 'aisecure[presidio]'",
        code="config.extra",
    ) from err

from aisecure.adapters.spacy import load

__all__ = ["PresidioEngine"]

_SURROGATE = re.compile("[\ud800-\udfff]")


class PresidioEngine:
    """An `aisecure.detect.EntityEngine`; threads may share it.

    Args:
        analyzer: An analyzer engine of your own, or the name of an installed model of spaCy. Nothing is downloaded.
        language: Code of the language of the texts.
        entities: What is asked of it, by Presidio's names. Leave those that have patterns to `PiiDetector`: it is
            faster, and what a pattern found comes first.

    Raises:
        Misconfigured: No such model is installed.
        TypeError: ``entities`` is one text.
    """

    def __init__(
        self,
        analyzer: AnalyzerEngine | str,
        *,
        language: str = "en",
        entities: Collection[str] = ("PERSON", "LOCATION", "ORGANIZATION", "NRP"),
    ) -> None:
        if isinstance(entities, str):
            raise TypeError("entities is a collection of names, not one text")
        if isinstance(analyzer, str):
            load(analyzer)  # or Presidio would download it
            models = [{"lang_code": language, "model_name": analyzer}]
            provider = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models})
            analyzer = AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=[language])
        self._analyzer = analyzer
        self._language = language
        ours = {presidio_name(kind): kind for kind in PiiDetector().types}
        self._kinds = {name: ours.get(name, f"pii.{name.lower()}") for name in entities}
        self.kinds = frozenset(self._kinds.values())

    def find(self, text: str) -> Iterator[Finding]:
        """Return the entities of a text."""
        # Half of a surrogate pair is no text to spaCy.
        text = _SURROGATE.sub("\ufffd", text)
        for found in self._analyzer.analyze(text=text, language=self._language, entities=list(self._kinds)):
            kind = self._kinds.get(found.entity_type)
            if kind is not None:
                yield Finding(kind, found.start, found.end, found.score, "presidio")

    def __repr__(self) -> str:
        return f"PresidioEngine({self._language!r}, {sorted(self._kinds)})"
