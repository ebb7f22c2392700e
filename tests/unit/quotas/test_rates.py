from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisecure.quotas import Rate, RateLimiter, parse_rates
from aisecure.quotas.rates import MAX_AMOUNT, MAX_PERIOD_SECONDS

UNITS = ("second", "minute", "hour", "day", "month", "year")


@st.composite
def notations(draw):
    pieces = []
    for _ in range(draw(st.integers(1, 4))):
        space = st.sampled_from(["", " ", "  "])
        multiple = draw(st.sampled_from(["", "1", "2", "5"]))
        unit = draw(st.sampled_from(UNITS)) + draw(st.sampled_from(["", "s"]))
        unit = draw(st.sampled_from([unit, unit.upper(), unit.title()]))
        slash = draw(st.sampled_from(["/", " per ", " / "]))
        amount = draw(st.integers(1, MAX_AMOUNT))
        pieces.append(f"{draw(space)}{amount}{slash}{multiple}{' ' if multiple else ''}{unit}{draw(space)}")
    return draw(st.sampled_from([";", ",", "|"])).join(pieces)


@settings(deadline=None)
@given(notations())
def test_a_notation_means_what_it_means_to_the_limits_package(text):
    import limits

    theirs = [(item.amount, item.get_expiry()) for item in limits.parse_many(text)]
    assert [(rate.amount, rate.seconds) for rate in parse_rates(text)] == list(dict.fromkeys(theirs))


@settings(deadline=None)
@given(st.text("0123456789/ per;,minutesdayhour\0\ud800", max_size=40))
def test_any_text_is_rates_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert parse_rates(text)


@pytest.mark.parametrize(
    "limits",
    [
        "", " ", ";", "10", "ten/minute", "/minute", "10/", "10/fortnight", "-1/minute", "0/minute", "1.5/minute",
        "10/0 minutes", "10/-1 minute", "10/minute;", "10/minute; 0/day", "10/minute x", "1e3/minute", "10/minute\0",
        "\u0661\u0660/minute", "\ud800/minute", f"{MAX_AMOUNT + 1}/minute", f"1/{MAX_PERIOD_SECONDS + 1} seconds",
        "9" * 999 + "/day", "10/minute;" * 100_000, " " * 50_000_000, [], [""], ["10/minute", "nonsense"],
    ],
    ids=lambda limits: ascii(limits)[:24],
)  # fmt: skip
def test_nonsense_is_refused_with_a_text_that_helps(limits):
    with pytest.raises(ValueError, match=r"limit|period") as error:
        RateLimiter(limits)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("limits", [None, 10, 1.5, b"10/minute", [10], [None], object()])
def test_what_is_no_limit_at_all_is_a_type_error(limits):
    with pytest.raises(TypeError, match=r"limit"):
        RateLimiter(limits)


def test_several_forms_are_taken_and_repetitions_left_out():
    import limits

    items: list[Any] = ["10/minute", Rate(5, 1), limits.RateLimitItemPerDay(1000), "10 per minute"]
    assert parse_rates(items) == (Rate(10, 60), Rate(5, 1), Rate(1000, 86_400))


@pytest.mark.parametrize(
    ("text", "words"),
    [("10/minute", "10 per minute"), ("1/90 seconds", "1 per 90 seconds"), ("7/14 days", "7 per 14 days"),
     ("2/month", "2 per month"), ("3/60 minutes", "3 per hour")],
)  # fmt: skip
def test_a_rate_reads_as_people_say_it(text, words):
    assert str(parse_rates(text)[0]) == words


@pytest.mark.parametrize(
    "amount", [0, -1, MAX_AMOUNT + 1, 10**5000], ids=["zero", "negative", "large", "huge"]
)
def test_an_amount_out_of_range_is_refused(amount):
    with pytest.raises(ValueError, match="allows from 1"):
        Rate(amount, 60)


@pytest.mark.parametrize("amount", [True, 1.0, "1", None])
def test_an_amount_is_a_whole_number(amount):
    with pytest.raises(TypeError):
        Rate(amount, 60)
