"""Styles, allowed values, reversible placeholders and the way back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.detect.samples import KEY_BLOCK, PII, SECRETS

from aisecure.detect import PiiDetector, Placeholders, Redactor, RestoreFilter, SecretDetector, restore
from aisecure.detect.placeholders import literal_placeholders


@pytest.mark.parametrize(
    ("style", "wanted"),
    [
        ("label", "[EMAIL] [CREDIT_CARD]"),
        ("mask", "***@*******.*** **** **** **** 1111"),
        ("drop", " "),
        (lambda kind, value: f"{kind}:{len(value)}", "pii.email:15 pii.credit_card:19"),
    ],
    ids=["label", "mask", "drop", "function"],
)
def test_each_style_writes_what_it_says(style: object, wanted: str) -> None:
    assert Redactor(style=style).redact("ada@example.org 4111 1111 1111 1111").text == wanted  # type: ignore[arg-type]


def test_a_mask_tells_nothing_of_a_secret_not_even_its_length() -> None:
    redactor = Redactor(style="mask")
    token = SECRETS["secret.github_token"]
    assert {redactor.redact(token + "a1" * count).text for count in (0, 10, 900)} == {"*" * 8}


def test_a_kind_may_have_a_style_of_its_own() -> None:
    redactor = Redactor(styles={"pii.email": "drop"})
    assert redactor.redact("a@example.org 192.0.2.7").text == " [IP_ADDRESS]"


def test_allowed_values_stay_and_are_no_findings() -> None:
    redacted = Redactor(allow=["Help@Example.org"]).redact("help@example.org, ada@example.org")
    assert redacted.text == "help@example.org, [EMAIL]"
    assert len(redacted.findings) == 1


def test_a_text_without_findings_is_returned_as_it_is() -> None:
    text = "Nothing to see. " * 100
    assert Redactor().redact(text).text is text


def test_the_same_value_has_the_same_number() -> None:
    redacted = Redactor(reversible=True).redact("a@example.org b@example.org a@example.org")
    assert redacted.text == "[EMAIL_1] [EMAIL_2] [EMAIL_1]"
    assert redacted.mapping == {"[EMAIL_1]": "a@example.org", "[EMAIL_2]": "b@example.org"}


def test_numbering_goes_on_over_texts_that_share_placeholders() -> None:
    redactor, held = Redactor(reversible=True), Placeholders()
    texts = ["a@example.org", "b@example.org", "a@example.org"]
    assert [redactor.redact(text, placeholders=held).text for text in texts] == [
        "[EMAIL_1]",
        "[EMAIL_2]",
        "[EMAIL_1]",
    ]


def test_a_reserved_placeholder_is_never_given() -> None:
    assert Placeholders(reserved=["[EMAIL_1]"]).placeholder("EMAIL", "x") == "[EMAIL_2]"


def test_a_redacted_text_with_everything_in_it_is_restored() -> None:
    text = "\n".join([*PII.values(), *SECRETS.values(), KEY_BLOCK, "sk-" + "8fK2mQz71L" * 300])
    redacted = Redactor(reversible=True).redact(text)
    assert not any(value in redacted.text for value in redacted.mapping.values())
    assert restore(redacted.text, redacted.mapping) == text


def test_no_repr_shows_a_value() -> None:
    redacted = Redactor(reversible=True).redact("ada@example.org and more")
    held = Placeholders()
    held.placeholder("EMAIL", "ada@example.org")
    stream = Redactor(reversible=True, allow=["ada@example.org"]).stream()
    shown = repr((redacted, held, Redactor(allow=["ada@example.org"]), stream, redacted.findings))
    assert "ada" not in shown
    assert "more" not in shown


def test_restoring_leaves_unknown_placeholders_and_other_brackets() -> None:
    text = "[EMAIL_1] [EMAIL_9] [EMAIL] [x] [[EMAIL_1]] [mail_1]"
    assert restore(text, {"[EMAIL_1]": "A"}) == "A [EMAIL_9] [EMAIL] [x] [A] [mail_1]"


def test_a_restored_value_is_not_restored_again() -> None:
    assert restore("[A_1]", {"[A_1]": "[A_2]", "[A_2]": "x"}) == "[A_2]"


MAPPING = {"[EMAIL_1]": "ada@example.org", "[EMAIL_12]": "", "[US_SSN_1]": "[EMAIL_1]"}
bits = st.lists(
    st.sampled_from([*MAPPING, "[", "]", "[EMA", "IL_1", "_", "1", "[[", "A" * 60, "é", " "]), max_size=12
)


@given(bits.map("".join), st.lists(st.integers(0, 200), max_size=12))
def test_restoring_a_stream_is_restoring_the_whole(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    back = RestoreFilter(MAPPING)
    got = "".join(back.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + back.finish()
    assert got == restore(text, MAPPING)
    assert back.findings == ()


def test_the_beginning_of_a_placeholder_is_all_that_a_restoring_stream_holds() -> None:
    back = RestoreFilter(MAPPING)
    assert back.feed("Dear [EMAIL") == "Dear "
    assert back.feed("_1], [") == "ada@example.org, "
    assert back.feed("A" * 100) == "[" + "A" * 100


def test_placeholders_in_a_text_are_found() -> None:
    assert {"[EMAIL_1]", "[US_SSN_22]"} <= set(
        literal_placeholders("see [EMAIL_1] and [US_SSN_22], not [x_1]")
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"style": "paint"}, ValueError),
        ({"styles": {"pii.shoe": "drop"}}, ValueError),
        ({"styles": {"pii.email": "paint"}}, ValueError),
        ({"style": "mask", "reversible": True}, ValueError),
        ({"allow": "ada@example.org"}, TypeError),
        ({"detectors": ["pii"]}, TypeError),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        Redactor(**arguments)  # type: ignore[arg-type]


def test_the_earlier_detector_wins_a_tie() -> None:
    text = "1234567890123456"
    assert Redactor([SecretDetector(), PiiDetector()]).redact(text).text == text


@pytest.mark.parametrize("value", [None, 5, b"x", ["a"]])
def test_what_is_no_text_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        Redactor().redact(value)  # type: ignore[arg-type]


def test_what_is_said_before_a_text_counts_and_is_no_part_of_it() -> None:
    detector = PiiDetector()
    assert detector.scan("123456789") == []
    (finding,) = detector.scan("123456789", context="passport_number")
    assert (finding.kind, finding.start, finding.end) == ("pii.us_passport", 0, 9)
    assert Redactor().redact("536904399", context="x" * 500 + " ssn").text == "[US_SSN]"
    assert Redactor().redact("536904399 is it", context="orderSsn ssn").findings[0].start == 0


def test_a_context_changes_no_stream() -> None:
    text = "4711-22 or 536904399, and more words 12345678"
    redactor = Redactor()
    whole = redactor.redact(text, context="ssn").text
    assert whole != redactor.redact(text).text
    for step in range(1, 12):
        stream = redactor.stream(context="ssn")
        assert (
            "".join(stream.feed(text[at : at + step]) for at in range(0, len(text), step)) + stream.finish()
            == whole
        )
