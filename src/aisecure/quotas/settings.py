"""The section ``[quotas]`` of a configuration, and the guards it makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from aisecure.events import SecurityEvent
from aisecure.guard import Guard
from aisecure.ports import Ports
from aisecure.quotas.guard import Limit, RateLimitGuard
from aisecure.quotas.keys import BY
from aisecure.quotas.memory import MemoryStore
from aisecure.quotas.rates import Quota, parse_rates
from aisecure.quotas.store import Store

if TYPE_CHECKING:
    from aisecure.quotas.budgets.ledger import Ledger

__all__ = [
    "BreakerRule",
    "BudgetRule",
    "ConcurrencyRule",
    "InputRule",
    "Rule",
    "Settings",
    "SheddingRule",
    "StreamRule",
    "build",
]


def _readable(limits: str) -> str:
    parse_rates(limits)
    return limits


def _affordable(limits: str) -> str:
    from aisecure.quotas.budgets.notation import parse_budget

    parse_budget(limits)
    return limits


def _known(by: str | tuple[str, ...]) -> str | tuple[str, ...]:
    names = (by,) if isinstance(by, str) else by
    if not names or any(name not in BY for name in names):
        raise ValueError(f"write one of {', '.join(BY)}, or several in a list")
    return by


Limits = Annotated[str, AfterValidator(_readable)]
By = Annotated[str | tuple[str, ...], AfterValidator(_known)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Strategy = Literal["sliding_log", "gcra", "fixed_window"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Table):
    """One more limit beside the section's own: ``[[quotas.rules]]``.

    Attributes:
        name: Separates its counts from those of other rules.
        limits: Such as ``10/minute; 1000/day``.
        by: ``principal``, ``tenant``, ``source``, ``resource``, ``model``, ``tool``, ``route``, or several in a list.
        on: Pattern of the resources it concerns, such as ``tool:*``.
        across_tenants: Count all tenants together.
        strategy: ``sliding_log``, ``gcra`` or ``fixed_window``.
        burst: For ``gcra``.
        shadow: Count and tell, but refuse nothing.
    """

    name: Name
    limits: Limits
    by: By = "principal"
    on: str = "*"
    across_tenants: bool = False
    strategy: Strategy = "sliding_log"
    burst: int | None = Field(default=None, ge=1)
    shadow: bool = False

    @model_validator(mode="after")
    def _has_its_burst(self) -> Self:
        Quota(self.name, parse_rates(self.limits), self.strategy, self.burst)
        return self


class BudgetRule(_Table):
    """One budget of tokens or money: ``[[quotas.budgets]]``.

    Attributes:
        limits: Such as ``200k tokens/day; 50 USD/month``.
        by: As for `Rule`.
        on: Pattern of the resources it concerns.
        across_tenants: One budget for all tenants.
        window: ``sliding`` or ``calendar``.
        soft: Refuse nothing; only tell.
    """

    limits: Annotated[str, AfterValidator(_affordable)]
    by: By = "principal"
    on: str = "model:*"
    across_tenants: bool = False
    window: Literal["sliding", "calendar"] = "sliding"
    soft: bool = False


class ConcurrencyRule(_Table):
    """So many calls at a time: ``[[quotas.concurrency]]``.

    Attributes:
        name: The guard's name.
        slots: Calls at a time for each key.
        by: As for `Rule`.
        on: Pattern of the resources it concerns.
        queue: Calls that may wait.
        wait_seconds: For how long at most; needed with a queue.
        shadow: Tell, but refuse nothing.
    """

    name: Name = "concurrency"
    slots: int = Field(ge=1)
    by: By = "principal"
    on: str = "*"
    queue: int = Field(default=0, ge=0)
    wait_seconds: float | None = Field(default=None, gt=0)
    shadow: bool = False


class BreakerRule(_Table):
    """Leaves a failing model alone: ``[[quotas.breakers]]``.

    Attributes:
        name: The guard's name.
        by: What fails: a model by default.
        on: Pattern of the resources it concerns.
        failures: So many in a row open the circuit.
        failure_rate: So does this part of the calls of a window.
        open_seconds: How long it stays open at first.
        across_tenants: One circuit for all tenants.
    """

    name: Name = "breaker"
    by: By = "model"
    on: str = "model:*"
    failures: int = Field(default=5, ge=1)
    failure_rate: float | None = Field(default=None, gt=0, le=1)
    open_seconds: float = Field(default=30.0, gt=0)
    across_tenants: bool = False


class SheddingRule(_Table):
    """Refuses at once when the process has too much to do: ``[quotas.shedding]``.

    Attributes:
        max_in_flight: Calls at a time in this process.
        target_seconds: A call slower than that lowers the limit.
        min_in_flight: How low it may go.
    """

    max_in_flight: int = Field(ge=1)
    target_seconds: float | None = Field(default=None, gt=0)
    min_in_flight: int = Field(default=1, ge=1)


class InputRule(_Table):
    """How large an input may be: ``[quotas.input]``; see `InputLimits`."""

    max_bytes: int = Field(default=1 << 20, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_items: int = Field(default=100_000, ge=1)
    max_depth: int = Field(default=64, ge=1)


class StreamRule(_Table):
    """How long and how large a streamed answer may be: ``[quotas.streams]``; see `StreamLimits`."""

    max_seconds: float | None = Field(default=None, gt=0)
    idle_seconds: float | None = Field(default=None, gt=0)
    max_chunks: int | None = Field(default=None, ge=1)
    max_bytes: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("write max_seconds, idle_seconds, max_chunks or max_bytes")
        return self


class Settings(_Table):
    """Rate limits, budgets, slots.

    Attributes:
        limits: What every caller may do, counted ``by``; one call a second on average by default.
        by: As for `Rule`.
        rules: Further limits; all of them hold, and a refused call spends nothing from any.
        redis_url: Where to count; in this process when absent. Budgets are then kept in the data folder.
        redis_timeout_seconds: For connecting, for an answer, and for a free connection, each.
        redis_max_connections: For plain code, and as many for each event loop.
        lease_seconds: Take shares of limits from Redis for so long, instead of asking for each call.
        local_share: While Redis is away, go on with this part of each limit: the number of processes.
        max_keys: Keys that are counted exactly in this process.
        budgets: Budgets of tokens and money; all of them hold.
        prices_file: What models cost, for budgets of money; the shipped prices when absent.
        models: The model behind a resource: ``{"model:support-bot" = "gpt-4o-mini"}``.
        max_output_tokens: The longest answer, where the input does not say.
        warn_at: Part of a budget from which it is told that it runs out.
        concurrency, breakers, shedding, input, streams: Tables of their own.
    """

    limits: Limits = "60/minute"
    by: By = "principal"
    rules: tuple[Rule, ...] = ()
    redis_url: SecretStr | None = None
    redis_timeout_seconds: float = Field(default=0.5, gt=0, le=60)
    redis_max_connections: int = Field(default=50, ge=1, le=10_000)
    lease_seconds: float | None = Field(default=None, gt=0, le=3600)
    local_share: int | None = Field(default=None, ge=1)
    max_keys: int = Field(default=100_000, ge=1, le=10_000_000)
    budgets: tuple[BudgetRule, ...] = ()
    prices_file: str | None = None
    models: dict[str, str] = Field(default_factory=dict)
    max_output_tokens: int = Field(default=4096, ge=0)
    warn_at: float | None = Field(default=0.8, gt=0, le=1)
    concurrency: tuple[ConcurrencyRule, ...] = ()
    breakers: tuple[BreakerRule, ...] = ()
    shedding: SheddingRule | None = None
    input: InputRule | None = None
    streams: StreamRule | None = None

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = ["rate_limit", *(rule.name for rule in self.rules)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two limits are called {name!r} and would count each other's calls; rename one"
                )
        return self

    @model_validator(mode="after")
    def _redis_is_named(self) -> Self:
        if self.redis_url is None and (self.lease_seconds is not None or self.local_share is not None):
            raise ValueError("lease_seconds and local_share are of limits on Redis; write redis_url")
        if self.lease_seconds is not None and any(rule.strategy != "sliding_log" for rule in self.rules):
            raise ValueError("only the strategy sliding_log can be leased")
        return self


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return the guards of the section, in the order in which a call is to meet them.

    Load shedding and the size of the input come first, then rate limits (all in one guard, but for those in shadow mode),
    budgets, slots and streams, and the circuit breakers last. Counting in this process is recorded as
    ``quota.per_process``, since every worker then allows the whole limit.

    Raises:
        Misconfigured: The Redis URL is none, the `redis` package is missing, or the prices cannot be read.
    """
    # What is not asked for is not imported: the first shield of a process is to be ready soon.
    store = _store(settings, ports)
    guards: list[Guard] = []
    if settings.shedding is not None:
        from aisecure.quotas.shedding import LoadShedder

        guards.append(LoadShedder(**settings.shedding.model_dump(), clock=ports.clock, events=ports.events))
    if settings.input is not None:
        from aisecure.quotas.input_limits import InputLimits

        guards.append(InputLimits(**settings.input.model_dump()))
    own = Limit(settings.limits, settings.by)
    guards.append(
        RateLimitGuard(own, *(_limit(rule) for rule in settings.rules if not rule.shadow), store=store)
    )
    guards += [
        RateLimitGuard(_limit(rule), store=store, name=rule.name, shadow=True)
        for rule in settings.rules
        if rule.shadow
    ]
    if settings.budgets:
        guards.append(_budget(settings, ports))
    if settings.concurrency:
        from aisecure.quotas.concurrency import Concurrency

        guards += [Concurrency(**rule.model_dump(), clock=ports.clock) for rule in settings.concurrency]
    if settings.streams is not None:
        from aisecure.quotas.stream_limits import StreamLimits

        guards.append(StreamLimits(**settings.streams.model_dump()))
    if settings.breakers:
        from aisecure.quotas.breaker import CircuitBreaker

        for rule in settings.breakers:
            guards.append(CircuitBreaker(**rule.model_dump(), clock=ports.clock, events=ports.events))
    return tuple(guards)


def _store(settings: Settings, ports: Ports) -> Store:
    if settings.redis_url is None:
        limits = [settings.limits, *(rule.limits for rule in settings.rules)]
        ports.events.record(
            SecurityEvent("quota.per_process", time=ports.clock.time(), detail={"limits": limits})
        )
        return MemoryStore(max_keys=settings.max_keys, clock=ports.clock, events=ports.events)
    from aisecure.quotas.leases import LeasedStore
    from aisecure.quotas.local_share import LocalShare
    from aisecure.quotas.redis_store import RedisStore

    redis = RedisStore(
        settings.redis_url,
        timeout_seconds=settings.redis_timeout_seconds,
        max_connections=settings.redis_max_connections,
    )
    store: Store = redis
    if settings.lease_seconds is not None:
        store = LeasedStore(redis, lease_seconds=settings.lease_seconds, max_keys=settings.max_keys)
    if settings.local_share is not None:
        store = LocalShare(
            store,
            processes=settings.local_share,
            max_keys=settings.max_keys,
            clock=ports.clock,
            events=ports.events,
        )
    return store


def _limit(rule: Rule) -> Limit:
    return Limit(
        rule.limits, rule.by, rule.on, rule.across_tenants, rule.strategy, rule.burst, name=rule.name
    )


def _budget(settings: Settings, ports: Ports) -> Guard:
    from aisecure.quotas.budgets.guard import TokenBudget
    from aisecure.quotas.budgets.levels import Budget
    from aisecure.quotas.prices import Prices

    ledger: Ledger
    if settings.redis_url is None:
        from aisecure.quotas.budgets.sqlite import SqliteLedger

        ledger = SqliteLedger(ports.storage(), clock=ports.clock)
    else:
        from aisecure.quotas.budgets.redis import RedisLedger

        ledger = RedisLedger(
            settings.redis_url,
            timeout_seconds=settings.redis_timeout_seconds,
            max_connections=settings.redis_max_connections,
        )
    file = settings.prices_file
    return TokenBudget(
        *(
            Budget(
                rule.limits,
                by=rule.by,
                on=rule.on,
                across_tenants=rule.across_tenants,
                soft=rule.soft,
                window=rule.window,
            )
            for rule in settings.budgets
        ),
        ledger=ledger,
        prices=None if file is None else Prices.from_file(ports.base_dir / Path(file)),
        models=settings.models,
        max_output_tokens=settings.max_output_tokens,
        warn_at=settings.warn_at,
        clock=ports.clock,
        events=ports.events,
    )
