"""What a call costs in each unit: at most, before it; and really, or as well as can be known, after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from aisecure.call import Call
from aisecure.events import Usage
from aisecure.quotas.budgets.notation import MAX_AMOUNT, is_money, money_units
from aisecure.quotas.prices import Price, Prices
from aisecure.quotas.tokens import TokenCounter, at_most, input_tokens, output_limit

__all__ = ["Estimate", "Models", "Tariff"]

#: Which model a call goes to, where its resource does not say so.
Models = Mapping[str, str] | Callable[[Call], str]

#: How long an answer may be when nobody says: what Anthropic's older models and many servers end at.
MAX_OUTPUT_TOKENS = 4096


class Estimate(NamedTuple):
    """What a call may cost.

    Attributes:
        model: To which it goes; empty when unknown.
        price: Of that model; None when unknown.
        input_tokens: Of the prompt, at most.
        output_tokens: Of the answer, at most.
    """

    model: str
    price: Price | None
    input_tokens: int
    output_tokens: int


class Tariff:
    """Counts tokens and prices them.

    Args:
        units: What is counted.
        prices: Of models; needed for units of money. The shipped ones by default.
        models: Which model a call goes to, by resource, or a function of the call. By default ``model:x`` goes to x.
        count: Counts the tokens of a text.
        max_output_tokens: How long an answer may be when the request does not say.

    Raises:
        ValueError: The prices are in another currency than the budget, or a number is out of range.
    """

    def __init__(
        self,
        units: Collection[str],
        *,
        prices: Prices | None = None,
        models: Models | None = None,
        count: TokenCounter = at_most,
        max_output_tokens: int = MAX_OUTPUT_TOKENS,
    ) -> None:
        if type(max_output_tokens) is not int or not 0 <= max_output_tokens <= 10**9:
            raise ValueError("max_output_tokens is a whole number of tokens")
        if not callable(count):
            raise TypeError("count is a function from a text to its number of tokens")
        currencies = sorted(unit for unit in units if is_money(unit))
        if currencies and prices is None:
            prices = Prices.shipped()
        for currency in currencies:
            if prices is not None and currency != prices.currency:
                raise ValueError(
                    f"the budget is in {currency}, the prices are in {prices.currency}; "
                    f"give prices=Prices({{...}}, currency={currency!r})"
                )
        self.currency = currencies[0] if currencies else ""
        self.count = count
        self._prices = prices
        self._models: Models = {} if models is None else models
        self._max_output_tokens = max_output_tokens

    def estimate(self, call: Call, *, prompt: int | None = None, answer: int | None = None) -> Estimate:
        """Return what a call may cost; the numbers of tokens of prompt and answer may be known already.

        Raises:
            InputRejected: As for `input_tokens`.
        """
        model = self.model_of(call)
        return Estimate(
            model,
            self.price_of(model),
            input_tokens(call.input, count=self.count) if prompt is None else prompt,
            output_limit(call.input, self._max_output_tokens) if answer is None else answer,
        )

    def model_of(self, call: Call) -> str:
        """Return the name of the model that a call goes to, or nothing when unknown."""
        name = self._models(call) if callable(self._models) else self._models.get(call.resource)
        if name:
            return name
        kind, _, rest = call.resource.partition(":")
        return rest if kind == "model" else ""

    def price_of(self, model: str) -> Price | None:
        """Return what a model costs, or None when that is unknown."""
        return self._prices.of(model) if self._prices is not None and model else None

    def worst(self, estimate: Estimate) -> Usage:
        """Return the dearest usage that an estimate allows."""
        price = estimate.price
        dear = price is not None and price.cache_write is not None and price.cache_write > price.input
        # Whether a provider writes a prompt to its cache, and charges extra for that, is seen only afterwards.
        return Usage(
            estimate.input_tokens,
            estimate.output_tokens,
            cache_write_tokens=estimate.input_tokens if dear else 0,
        )

    def amount(self, unit: str, usage: Usage, price: Price | None) -> int:
        """Return what a usage is in a unit, in whole counted units; money without a price is nothing."""
        if unit == "tokens":
            counted = usage.input_tokens + usage.output_tokens
        elif unit == "input tokens":
            counted = usage.input_tokens
        elif unit == "output tokens":
            counted = usage.output_tokens
        else:
            counted = 0 if price is None else money_units(price.cost(usage))
        return min(max(counted, 0), MAX_AMOUNT)

    def cost(self, usage: Usage, price: Price | None) -> Decimal | None:
        """Return what a usage costs, where money is counted."""
        return price.cost(usage) if self.currency and price is not None else None

    def of_output(self, output: Any) -> int | None:
        """Return the tokens of a whole output, or None when they cannot be counted."""
        try:
            return input_tokens(output, count=self.count, per_message=0, per_call=0)
        except Exception:  # noqa: BLE001  (a counter of the user's, or an output that cannot be walked: not known)
            return None

    def of_text(self, text: str) -> int:
        """Return the tokens of a piece of text, also where the counter fails on pieces."""
        try:
            return self.count(text)
        except Exception:  # noqa: BLE001  (a stream must not break because its pieces cannot be counted)
            return at_most(text)
