"""Prices are found by exact names, cost exactly, and come with their date and source."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.errors import Misconfigured
from aisecure.events import Usage
from aisecure.quotas import Price, Prices

TEN = Price(10, 20)
SOME = Prices(
    {"gpt-4o": TEN, "gpt-4o-mini": Price(1, 2), "org/llama": Price(3, 4)}, date="2026-01-31", source="a list"
)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("gpt-4o", "gpt-4o"), ("gpt-4o-2024-08-06", "gpt-4o"), ("gpt-4o-20250514", "gpt-4o"), ("gpt-4o@20250514", "gpt-4o"),
        ("gpt-4o-latest", "gpt-4o"), ("openai/gpt-4o", "gpt-4o"), ("azure/openai/gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"), ("org/llama-latest", "org/llama"), ("x/org/llama", "org/llama"),
    ],
)  # fmt: skip
def test_a_model_is_found_without_its_version_and_provider(asked, known):
    assert SOME.of(asked) is SOME[known]


@pytest.mark.parametrize(
    "asked",
    ["gpt-4o-super", "gpt-4", "gpt-4o-2024-08", "llama", "", "/", "gpt-4o/", "gpt-4o\n", "GPT-4o", "gpt-4o-latest-latest", "x" * 1_000_000, "/" * 1_000_000],
)  # fmt: skip
def test_no_price_is_guessed_from_a_similar_name(asked):
    assert SOME.of(asked) is None


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (Price("2.50", "10"), Usage(1_000_000, 0), "2.5"),
        (Price("2.50", "10"), Usage(1, 1), "0.0000125"),
        (Price("3", "15", "0.30", "3.75"), Usage(1000, 10, 600, 300), "0.001755"),
        (Price("3", "15"), Usage(1000, 0, 600, 300), "0.003"),
        (Price("0", "0"), Usage(5, 5), "0"),
    ],
    ids="million one-token cached cached-at-full-price free".split(),
)
def test_the_cost_is_exact(price, usage, cost):
    assert price.cost(usage) == Decimal(cost)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_cost_never_is_less_than_nothing_nor_more_than_without_a_cache(fresh, output, read, write):
    price = Price("3", "15", "0.30", "3")
    usage = Usage(fresh + read + write, output, read, write)
    assert 0 <= price.cost(usage) <= price.cost(Usage(fresh + read + write, output))


_PRICES = st.decimals(0, 1000, places=6)
_TOKENS = st.integers(0, 2**53)


@given(_PRICES, _PRICES, _PRICES, _PRICES, _TOKENS, _TOKENS, _TOKENS, _TOKENS)
def test_the_cost_is_that_of_fractions_whatever_the_precision(a, b, c, d, fresh, output, read, write):
    usage = Usage(fresh + read + write, output, read, write)
    with localcontext(prec=3):
        cost = Price(a, b, c, d).cost(usage)
    exact = fresh * Fraction(a) + output * Fraction(b) + read * Fraction(c) + write * Fraction(d)
    assert Fraction(cost) == exact / 1_000_000


@pytest.mark.parametrize("wrong", [0.1, True, None, b"1", [1]])
def test_a_price_is_a_decimal(wrong):
    with pytest.raises(TypeError):
        Price(wrong, 1)


@pytest.mark.parametrize("wrong", ["-1", "NaN", "Infinity", "1e9", "lots", "", "1e-25", "1" * 100_000])
def test_an_absurd_price_is_refused(wrong):
    with pytest.raises(ValueError):
        Price(1, wrong)


def test_shipped_prices_are_dated_sourced_and_sane():
    shipped = Prices.shipped()
    assert Prices.shipped() is shipped
    assert (shipped.currency, shipped.date[:2]) == ("USD", "20")
    assert shipped.source
    assert 30 <= len(shipped) <= 100
    for name, price in shipped.items():
        assert 0 < min(price.input, price.output) <= max(price.input, price.output) < 1000, name
        assert price.input / 10 <= price.output <= price.input * 20, name
        assert price.cache_read is None or 0 < price.cache_read <= price.input, name
        assert price.cache_write is None or price.input <= price.cache_write <= price.input * 2, name


def test_prices_of_ones_own_are_put_over_others():
    own = SOME | {"gpt-4o": Price(1, 1), "mine": TEN}
    assert own.of("gpt-4o") == Price(1, 1)
    assert own.of("mine") is TEN
    assert own.of("gpt-4o-mini") is SOME["gpt-4o-mini"]
    assert SOME.of("gpt-4o") is TEN
    assert SOME.with_({}, date="2026-02-01", source="contract").date == "2026-02-01"
    with pytest.raises(ValueError, match="do not mix"):
        SOME | Prices({"mine": TEN}, currency="EUR")


GOOD = """
version = 1
currency = "EUR"
[provider.mine]
date = 2026-01-31
source = "contract 7"
models = { small = { input = 0.1, output = "0.2", cache_read = 0 } }
"""


def test_a_file_of_prices_is_read_exactly(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(GOOD)
    prices = Prices.from_file(path)
    assert prices == {"small": Price("0.1", "0.2", 0)}
    assert (prices.currency, prices.date, prices.source) == ("EUR", "2026-01-31", "contract 7")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version = 1", "version = 2", "version"),
        ("version = 1", "version = [", "TOML"),
        ('"EUR"', '"euro"', "currency"),
        ("2026-01-31", '"soon"', "date"),
        ("date = 2026-01-31", "", "date"),
        ('source = "contract 7"', "", "source"),
        ("input = 0.1, ", "", "input and output"),
        ("cache_read", "cache_reed", "cache_reed"),
        ("input = 0.1", "input = -0.1", "'small'"),
        ("input = 0.1", "input = nan", "'small'"),
        ("input = 0.1", "input = true", "'small'"),
        ('{ small = { input = 0.1, output = "0.2", cache_read = 0 } }', "5", "table of models"),
        ('{ small = { input = 0.1, output = "0.2", cache_read = 0 } }', "{}", "no price"),
        ("[provider.mine]", "[[provider]]", "provider"),
    ],
)  # fmt: skip
def test_an_unusable_file_is_refused_by_name_and_key(tmp_path, old, new, says):
    path = tmp_path / "prices.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(Misconfigured) as caught:
        Prices.from_file(path)
    assert "prices.toml" in caught.value.detail
    assert says in caught.value.detail


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["missing", "binary"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "prices.toml"
    if content:
        path.write_bytes(content)
    with pytest.raises(Misconfigured, match="cannot be read"):
        Prices.from_file(path)


@pytest.mark.parametrize(
    ("models", "fields"),
    [({"": TEN}, {}), ({5: TEN}, {}), ({"a": TEN}, {"currency": "usd"}), ({"a": TEN}, {"date": "yesterday"})],
)
def test_nonsense_about_prices_is_a_mistake_in_the_program(models, fields):
    with pytest.raises(ValueError):
        Prices(models, **fields)


def test_a_price_that_is_none_is_a_mistake_in_the_program():
    with pytest.raises(TypeError):
        Prices({"a": 5})  # type: ignore[dict-item]
