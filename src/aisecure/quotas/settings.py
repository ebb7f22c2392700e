"""The section ``[quotas]`` of a configuration, and the guards it makes."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from aisecure.events import SecurityEvent
from aisecure.guard import Guard
from aisecure.ports import Ports
from aisecure.quotas.guard import rate_limit
from aisecure.quotas.keys import BY
from aisecure.quotas.memory import MemoryStore
from aisecure.quotas.rates import parse_rates
from aisecure.quotas.store import Store

__all__ = ["Rule", "Settings", "build"]


def _readable(limits: str) -> str:
    parse_rates(limits)
    return limits


def _known(by: str) -> str:
    if by not in BY:
        raise ValueError(f"write one of {', '.join(BY)}")
    return by


Limits = Annotated[str, AfterValidator(_readable)]
By = Annotated[str, AfterValidator(_known)]


class Rule(BaseModel):
    """One more limit beside the section's own: ``[[quotas.rules]]``.

    Attributes:
        name: Separates its counts from those of other rules; shown in events.
        limits: Such as ``10/minute; 1000/day``.
        by: ``principal``, ``tenant``, ``resource`` or ``source``.
        on: Pattern of the resources it concerns, such as ``tool:*``.
        shadow: Count and tell, but refuse nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    limits: Limits
    by: By = "principal"
    on: str = "*"
    shadow: bool = False


class Settings(BaseModel):
    """Rate limits.

    Attributes:
        limits: What every caller may do, counted ``by``; one call a second on average by default.
        by: ``principal``, ``tenant``, ``resource`` or ``source``.
        rules: Further limits; all of them hold.
        redis_url: Where to count; in this process when absent.
        redis_timeout_seconds: For connecting, for an answer, and for a free connection, each.
        redis_max_connections: For plain code, and as many for each event loop.
        max_keys: Keys that are counted exactly in this process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: Limits = "60/minute"
    by: By = "principal"
    rules: tuple[Rule, ...] = ()
    redis_url: SecretStr | None = None
    redis_timeout_seconds: float = Field(default=0.5, gt=0, le=60)
    redis_max_connections: int = Field(default=50, ge=1, le=10_000)
    max_keys: int = Field(default=100_000, ge=1, le=10_000_000)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = ["rate_limit", *(rule.name for rule in self.rules)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two limits are called {name!r} and would count each other's calls; rename one"
                )
        return self


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return one guard for the section's own limits, and one for each rule.

    Counting in this process is recorded as ``quota.per_process``, since every worker then allows the whole limit.

    Raises:
        Misconfigured: The Redis URL is none, or the `redis` package is missing.
    """
    store: Store
    if settings.redis_url is None:
        store = MemoryStore(max_keys=settings.max_keys, clock=ports.clock, events=ports.events)
        limits = [settings.limits, *(rule.limits for rule in settings.rules)]
        ports.events.record(
            SecurityEvent("quota.per_process", time=ports.clock.time(), detail={"limits": limits})
        )
    else:
        from aisecure.quotas.redis_store import RedisStore

        store = RedisStore(
            settings.redis_url,
            timeout_seconds=settings.redis_timeout_seconds,
            max_connections=settings.redis_max_connections,
        )
    return (
        rate_limit(settings.limits, by=settings.by, store=store),
        *(
            rate_limit(rule.limits, by=rule.by, on=rule.on, store=store, name=rule.name, shadow=rule.shadow)
            for rule in settings.rules
        ),
    )
