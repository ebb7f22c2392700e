"""One level of a hierarchy of budgets, and what of it concerns one call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil
from typing import Any, NamedTuple

from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.quotas.budgets.ledger import Account, Balance, Line
from aisecure.quotas.budgets.notation import BudgetLimit, WindowKind, parse_budget
from aisecure.quotas.keys import By, Key, key_function, label_of, resources_of
from aisecure.quotas.store import EVERYBODY
from aisecure.standing import Standing

__all__ = ["Budget", "Level", "compile_levels"]


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget of a guard that has several.

    Attributes:
        limits: ``"200k tokens/day"``, ``"200k tokens/day; 50 USD/month"``, or as `parse_budget` takes them.
        by: Whom it counts for, inside a tenant: ``principal``, ``tenant``, ``source``, ``resource``, ``model``, several
            of these for one count each combination, or a function of the call; as for `Limit`.
        on: Resources that it concerns, as shell patterns such as ``model:*``.
        across_tenants: Count all tenants together. On a Redis Cluster that is a second round trip.
        soft: Refuse nothing; tell when the budget is exceeded.
        window: ``sliding``: in no window of the period more than the limit. ``calendar``: in no minute, day or month of
            UTC more than the limit.
        name: Separates its accounts from others; the guard's name by default.
    """

    limits: str | BudgetLimit | Iterable[str | BudgetLimit]
    by: By = "principal"
    on: str | Collection[str] = "*"
    across_tenants: bool = False
    soft: bool = False
    window: WindowKind = "sliding"
    name: str = ""


class Level(NamedTuple):
    """One limit, ready to be asked.

    Attributes:
        name: Of the budget, the same in every process.
        limit: What is allowed.
        key: Whom a call counts for.
        on: Patterns of the resources that it concerns.
        everybody: Whether all tenants count together.
        soft: Whether it only tells.
        marks: Amounts that are told when they are reached, with what they mean.
    """

    name: str
    limit: BudgetLimit
    key: Callable[[Call], Key]
    on: tuple[str, ...]
    everybody: bool
    soft: bool
    marks: dict[int, str]

    def concerns(self, resource: str) -> bool:
        """Whether the limit concerns a resource."""
        return any(fnmatchcase(resource, pattern) for pattern in self.on)

    def account(self, call: Call) -> Account:
        """Return what a call is counted on."""
        subject: tuple[Any, ...] = (EVERYBODY if self.everybody else call.principal.tenant, *self.key(call))
        return Account(self.name, subject, self.limit)

    def line(self, call: Call, amount: int, *, soft: bool) -> Line:
        """Return what a call may spend."""
        return Line(self.account(call), amount, soft or self.soft, tuple(self.marks))

    def standing(self, balance: Balance) -> Standing:
        """Return how the account of a call stands, in numbers for people."""
        limit, public = self.limit, self.limit.public
        used = balance.used + balance.held
        return Standing(
            self.name,
            public(limit.amount),
            limit.seconds,
            public(max(0, limit.amount - used)),
            balance.reset_seconds,
            limit.unit,
            public(used),
            public(balance.held),
        )

    def refuse(self, retry_after: float) -> Decision:
        """Return the refusal of a call that the budget has no room for now."""
        # Where only calls on their way are in the way, they may end at any moment.
        return Decision.deny(
            "quota.budget",
            f"The budget of {self.limit} has not enough left for this call.",
            retry_after=max(1.0, retry_after),
        )

    def refuse_for_ever(self) -> Decision:
        """Return the refusal of a call that the whole budget has no room for."""
        return Decision.deny(
            "quota.cost",
            f"This call may cost more than the whole budget of {self.limit}; "
            "shorten the prompt, or allow fewer output tokens.",
        )


def compile_levels(budgets: Iterable[Budget], name: str, warn_at: float | None) -> tuple[Level, ...]:
    """Return the limits of budgets, ready to be asked.

    Raises:
        ValueError: A limit is nonsense, or stands there twice.
    """
    levels = []
    for budget in budgets:
        by, on = budget.by, resources_of(budget.by, budget.on)
        full = f"{budget.name or name}:{label_of(by)}{'*' if budget.across_tenants else ''}{'~' if budget.soft else ''}"
        key = key_function(by)
        for limit in parse_budget(budget.limits, window=budget.window):
            marks = {} if warn_at is None else {ceil(limit.amount * warn_at): "budget.warning"}
            if budget.soft:
                marks[limit.amount + 1] = "budget.exceeded"
            patterns = (on,) if isinstance(on, str) else tuple(on)
            levels.append(Level(full, limit, key, patterns, budget.across_tenants, budget.soft, marks))
    seen = set()
    for level in levels:
        if (level.name, level.limit) in seen:
            raise ValueError(f"the budget of {level.limit} stands there twice; give one of them a name")
        seen.add((level.name, level.limit))
    return tuple(levels)
