"""Limits that hold exactly: at most so many calls in any window, in this process or over Redis.

``rate_limit("10/minute")`` is a guard and a decorator; `RateLimiter` counts any key of your own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aisecure.quotas.guard import Limit, RateLimitGuard, rate_limit
from aisecure.quotas.limiter import RateLimiter
from aisecure.quotas.memory import MemoryStore
from aisecure.quotas.rates import Quota, Rate, parse_rates
from aisecure.quotas.store import Ask, Counter, Refusal, Store

if TYPE_CHECKING:
    from aisecure.quotas._self_tests import self_tests
    from aisecure.quotas.breaker import CircuitBreaker, CircuitState, is_dependency_failure
    from aisecure.quotas.budgets.guard import TokenBudget
    from aisecure.quotas.budgets.ledger import Ledger
    from aisecure.quotas.budgets.levels import Budget
    from aisecure.quotas.budgets.memory import MemoryLedger
    from aisecure.quotas.budgets.notation import BudgetLimit, parse_budget
    from aisecure.quotas.budgets.redis import RedisLedger
    from aisecure.quotas.budgets.spending import Spending
    from aisecure.quotas.budgets.sqlite import SqliteLedger
    from aisecure.quotas.concurrency import Concurrency, Occupancy, Slot
    from aisecure.quotas.input_limits import InputLimits
    from aisecure.quotas.leases import LeasedStore
    from aisecure.quotas.limits_store import LimitsStore
    from aisecure.quotas.local_share import LocalShare
    from aisecure.quotas.prices import Price, Prices
    from aisecure.quotas.redis_store import RedisStore
    from aisecure.quotas.settings import Rule, Settings, build
    from aisecure.quotas.shedding import LoadShedder
    from aisecure.quotas.stream_limits import StreamLimits
    from aisecure.quotas.tokens import TokenCounter, at_most, input_tokens, output_limit

__all__ = [
    "Ask",
    "Budget",
    "BudgetLimit",
    "CircuitBreaker",
    "CircuitState",
    "Concurrency",
    "Counter",
    "InputLimits",
    "LeasedStore",
    "Ledger",
    "Limit",
    "LimitsStore",
    "LoadShedder",
    "LocalShare",
    "MemoryLedger",
    "MemoryStore",
    "Occupancy",
    "Price",
    "Prices",
    "Quota",
    "Rate",
    "RateLimitGuard",
    "RateLimiter",
    "RedisLedger",
    "RedisStore",
    "Refusal",
    "Rule",
    "Settings",
    "Slot",
    "Spending",
    "SqliteLedger",
    "Store",
    "StreamLimits",
    "TokenBudget",
    "TokenCounter",
    "at_most",
    "build",
    "input_tokens",
    "is_dependency_failure",
    "output_limit",
    "parse_budget",
    "parse_rates",
    "rate_limit",
    "self_tests",
]

#: Resolved on first use: settings bring pydantic, the store over the network asyncio.
_LAZY = {
    "Budget": "aisecure.quotas.budgets.levels",
    "BudgetLimit": "aisecure.quotas.budgets.notation",
    "CircuitBreaker": "aisecure.quotas.breaker",
    "CircuitState": "aisecure.quotas.breaker",
    "Concurrency": "aisecure.quotas.concurrency",
    "InputLimits": "aisecure.quotas.input_limits",
    "LeasedStore": "aisecure.quotas.leases",
    "Ledger": "aisecure.quotas.budgets.ledger",
    "LoadShedder": "aisecure.quotas.shedding",
    "LimitsStore": "aisecure.quotas.limits_store",
    "LocalShare": "aisecure.quotas.local_share",
    "MemoryLedger": "aisecure.quotas.budgets.memory",
    "Occupancy": "aisecure.quotas.concurrency",
    "Price": "aisecure.quotas.prices",
    "Prices": "aisecure.quotas.prices",
    "RedisLedger": "aisecure.quotas.budgets.redis",
    "RedisStore": "aisecure.quotas.redis_store",
    "Rule": "aisecure.quotas.settings",
    "Settings": "aisecure.quotas.settings",
    "Slot": "aisecure.quotas.concurrency",
    "Spending": "aisecure.quotas.budgets.spending",
    "SqliteLedger": "aisecure.quotas.budgets.sqlite",
    "StreamLimits": "aisecure.quotas.stream_limits",
    "TokenBudget": "aisecure.quotas.budgets.guard",
    "TokenCounter": "aisecure.quotas.tokens",
    "at_most": "aisecure.quotas.tokens",
    "build": "aisecure.quotas.settings",
    "input_tokens": "aisecure.quotas.tokens",
    "is_dependency_failure": "aisecure.quotas.breaker",
    "output_limit": "aisecure.quotas.tokens",
    "parse_budget": "aisecure.quotas.budgets.notation",
    "self_tests": "aisecure.quotas._self_tests",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return value
