"""A block of code that spends from budgets, for those who call a provider by hand."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.errors import denied
from aisecure.events import Usage
from aisecure.guard import Ending, Verdict
from aisecure.reply import read_reply

if TYPE_CHECKING:
    from aisecure.quotas.budgets.guard import TokenBudget

__all__ = ["Spending"]


class Spending:
    """What one block spends; made by `TokenBudget.spend`, used once, in ``with`` or ``async with``.

    Entering holds the worst case, and raises `QuotaExceeded` where there is no room for it. Leaving books the usage;
    where none was given, all that was held. A block that raises is charged what the budget's ``failed`` says, unless
    there is a usage; one that timed out or was cancelled is charged.

    Attributes:
        usage: The tokens that were used, once they are known.
        model: The model that answered, when it differs.
    """

    def __init__(
        self, budget: TokenBudget, call: Call, input_tokens: int | None, max_output_tokens: int | None
    ) -> None:
        for name, number in (("input_tokens", input_tokens), ("max_output_tokens", max_output_tokens)):
            if number is not None and (type(number) is not int or number < 0):
                raise ValueError(f"{name} is a whole number of 0 or more")
        self.usage: Usage | None = None
        self.model = ""
        self._budget = budget
        self._call = call
        self._known = input_tokens, max_output_tokens
        self._entered = False

    def note(self, reply: Any) -> None:
        """Take model and usage from a provider's answer, or from each chunk of a streamed one."""
        told = read_reply(reply)
        if told is None:
            return
        self.model = told.model or self.model
        if told.usage is not None:
            if self.usage is None:
                self.usage = told.usage
            else:
                self.usage = self.usage + told.usage if told.adds else self.usage.most(told.usage)

    def __enter__(self) -> Self:
        self._once()
        self._judge(self._budget.begin(self._call, *self._known))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    async def __aenter__(self) -> Self:
        self._once()
        budget = self._budget
        if budget.ledger.over_network:
            self._judge(await budget.abegin(self._call, *self._known))
        else:
            self._judge(budget.begin(self._call, *self._known))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _once(self) -> None:
        if self._entered:
            raise RuntimeError("a block of spending is used once; ask for another with spend()")
        self._entered = True

    def _judge(self, verdict: Verdict) -> None:
        if isinstance(verdict, Decision) and not verdict.allowed and not self._budget.shadow:
            raise denied(verdict)

    def _leave(self, error: BaseException | None) -> None:
        if error is None:
            kind = "call.allowed"
        else:
            kind = "call.failed" if isinstance(error, Exception) else "call.cancelled"
        error_type = type(error).__name__ if kind == "call.failed" else ""
        self._budget.settle(self._call, Ending(kind, self.usage, self.model, error_type=error_type))
