"""spaCy and Presidio as engines: real pipelines, whose rules stand in for a model that nobody here downloads."""

from __future__ import annotations

from typing import Any

import pytest
import spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine

from aisecure.adapters.presidio import PresidioEngine
from aisecure.adapters.spacy import SpacyEngine
from aisecure.detect import PiiDetector, Redactor
from aisecure.errors import Misconfigured

TEXT = "Ada Byron wrote from Berlin to ada@example.org. Then she wrote to the Royal Society."
CLEAN = "[PERSON] wrote from [LOCATION] to [EMAIL]. Then she wrote to the [ORGANIZATION]."


@pytest.fixture(scope="module")
def pipeline() -> Any:
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns(
        [
            {"label": "PERSON", "pattern": "Ada Byron"},
            {"label": "GPE", "pattern": "Berlin"},
            {"label": "ORG", "pattern": "Royal Society"},
            {"label": "DATE", "pattern": "Then"},
        ]
    )
    return nlp


@pytest.fixture(scope="module")
def analyzer(pipeline: Any) -> AnalyzerEngine:
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "none"}])
    engine.nlp = {"en": pipeline}
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])


def test_spacy_finds_names_and_places(pipeline: Any) -> None:
    redactor = Redactor(engines=[SpacyEngine(pipeline)])
    assert redactor.redact(TEXT).text == CLEAN
    stream = redactor.stream()
    assert "".join(map(stream.feed, TEXT)) + stream.finish() == CLEAN


def test_presidio_finds_what_it_is_asked_for(analyzer: AnalyzerEngine) -> None:
    engine = PresidioEngine(analyzer, entities=["PERSON", "LOCATION", "ORGANIZATION", "CREDIT_CARD"])
    assert engine.kinds == {"pii.person", "pii.location", "pii.organization", "pii.credit_card"}
    assert (
        Redactor(engines=[engine]).redact(TEXT).text.startswith("[PERSON] wrote from [LOCATION] to [EMAIL].")
    )


def test_halves_of_surrogates_and_other_scripts_keep_offsets_right(pipeline: Any) -> None:
    detector = PiiDetector(engines=[SpacyEngine(pipeline)])
    text = "🙂 \ud800 é Ada Byron \udc00"
    assert [text[f.start : f.end] for f in detector.scan(text)] == ["Ada Byron"]


def test_a_model_that_is_not_installed_is_named_and_nothing_is_downloaded() -> None:
    for engine in (SpacyEngine, PresidioEngine):
        with pytest.raises(Misconfigured, match="spacy download en_core_web_none"):
            engine("en_core_web_none")


def test_wrong_arguments(pipeline: Any, analyzer: AnalyzerEngine) -> None:
    with pytest.raises(ValueError, match="score"):
        SpacyEngine(pipeline, score=2)
    with pytest.raises(TypeError):
        PresidioEngine(analyzer, entities="PERSON")
    assert "SpacyEngine" in repr(SpacyEngine(pipeline))
    assert "PERSON" in repr(PresidioEngine(analyzer))
