"""What one call may cost and what it did: the worst case before it, the best knowledge after it."""

from __future__ import annotations

from decimal import ROUND_CEILING
from typing import Any

from aisecure.decisions import Finding
from aisecure.events import Usage
from aisecure.guard import Ending
from aisecure.quotas.budgets.ledger import Reservation
from aisecure.quotas.budgets.notation import BILLION, Amount
from aisecure.quotas.prices import Price
from aisecure.quotas.tokens import TokenCounter, input_tokens

__all__ = ["Spending", "units_of", "worst_units_of"]


class Spending:
    """One call on its way.

    Attributes:
        reservation: What is held for it.
        model: By whose price that was reckoned.
        price: That price, when money is counted.
        worst: The most that it may use.
        usage: What it used, as the provider reported; set by whoever spends by hand.
        seen: Tokens of the answer that were counted on the way, at most.
        was_seen: Whether anything of the answer came by.
    """

    __slots__ = ("count", "model", "price", "reservation", "seen", "usage", "was_seen", "worst")

    def __init__(
        self, reservation: Reservation, model: str, price: Price | None, worst: Usage, count: TokenCounter
    ) -> None:
        self.reservation = reservation
        self.model = model
        self.price = price
        self.worst = worst
        self.count = count
        self.usage: Usage | None = None
        self.seen = 0
        self.was_seen = False

    def see(self, output: Any) -> None:
        """Count an answer that came whole."""
        self.was_seen = True
        self.seen += input_tokens(output, count=self.count, per_message=0, per_call=0)

    def settled(self, ending: Ending, *, failures_cost: bool) -> tuple[Usage, bool]:
        """Return what the call used, and whether that is an estimate.

        Args:
            ending: How it ended.
            failures_cost: Whether the prompt of a call that failed is charged.
        """
        if not ending.entered:
            return Usage(), False
        reported = self.usage or ending.usage
        if reported is not None:
            return reported, False
        worst = self.worst
        if self.was_seen or ending.chunks:
            return Usage(worst.input_tokens, min(self.seen, worst.output_tokens)), True
        if ending.type == "call.failed" and "Timeout" not in ending.error_type:
            # A provider that answers with an error asks nothing for it.
            return (Usage(worst.input_tokens), True) if failures_cost else (Usage(), False)
        # Nobody saw an answer, but one may have been made: after a timeout, a cancellation, or behind another guard.
        return worst, True


class Counting:
    """Counts the text of a streamed answer on its way, and leaves it as it is."""

    __slots__ = ("_spending",)

    def __init__(self, spending: Spending) -> None:
        self._spending = spending

    def feed(self, chunk: str) -> str:
        """Take a piece and return it."""
        spending = self._spending
        spending.was_seen = True
        spending.seen += spending.count(chunk)
        return chunk

    def finish(self) -> str:
        """Return nothing: nothing was held back."""
        return ""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """None."""
        return ()


def units_of(limit: Amount, usage: Usage, price: Price | None) -> int:
    """Return what usage takes of a limit: tokens, or billionths of its currency, rounded up."""
    if limit.unit == "tokens":
        return usage.input_tokens + usage.output_tokens
    if limit.unit == "input tokens":
        return usage.input_tokens
    if limit.unit == "output tokens":
        return usage.output_tokens
    if price is None:
        raise ValueError("money without a price")
    return int((price.cost(usage) * BILLION).to_integral_value(ROUND_CEILING))


def worst_units_of(limit: Amount, usage: Usage, price: Price | None) -> int:
    """Return the most that usage may take: a prompt may go into the provider's cache, which can cost more than reading it."""
    plain = units_of(limit, usage, price)
    if not limit.is_money:
        return plain
    cached = Usage(usage.input_tokens, usage.output_tokens, 0, usage.input_tokens)
    return max(plain, units_of(limit, cached, price))
