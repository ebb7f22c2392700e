"""The storages of the `limits` package as a place that counts, with what they can promise."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from aisecure.errors import Misconfigured, Unavailable
from aisecure.quotas.rates import Quota
from aisecure.quotas.store import Ask, Refusal, Subject, canonical, standing
from aisecure.standing import Standing

__all__ = ["LimitsStore"]

T = TypeVar("T")


class LimitsStore:
    """Counts in a storage of `limits`: memcached, MongoDB, etcd, Valkey and what else has a plug-in; needs that package.

    What it promises is less than `RedisStore` and `MemoryStore` do. Within one limit it holds as well as the storage keeps
    it. Several limits of a call are asked one after the other: a refused call may have spent from those asked before. The
    wait is what the storage says, in some to the whole second. The strategy ``sliding_log`` needs a storage with moving
    windows, and ``fixed_window`` works on all; ``gcra`` on none.

    Args:
        storage: A URI such as ``memcached://localhost:11211``, or a storage object of `limits`.

    Raises:
        Misconfigured: The package is missing, or does not know the URI.
    """

    over_network = True

    def __init__(self, storage: Any) -> None:
        try:
            from limits import RateLimitItemPerSecond, strategies
            from limits import storage as storages
            from limits.errors import ConfigurationError
        except ImportError as err:
            raise Misconfigured(
                "counting in storages of limits needs that package: pip install limits", code="config.extra"
            ) from err
        if isinstance(storage, str):
            try:
                storage = storages.storage_from_string(storage)
            except (ConfigurationError, ValueError):
                # ``from None``: the text may quote a password.
                raise Misconfigured(
                    "storage: limits knows no storage for this URI, or lacks its package",
                    code="config.storage",
                ) from None
        if not isinstance(storage, storages.Storage):
            raise TypeError(f"storage is a URI or a storage of limits, not {type(storage).__name__}")
        self._storage = storage
        self._item = RateLimitItemPerSecond
        self._windows = {
            "sliding_log": strategies.MovingWindowRateLimiter
            if isinstance(storage, storages.MovingWindowSupport)
            else None,
            "fixed_window": strategies.FixedWindowRateLimiter,
        }

    def __repr__(self) -> str:
        return f"LimitsStore({type(self._storage).__name__})"

    def counter(self, quota: Quota) -> LimitsCounter:
        """Return the counts of a quota.

        Raises:
            ValueError: The storage cannot keep what the quota's strategy promises.
        """
        kind = self._windows.get(quota.strategy)
        if kind is None:
            raise ValueError(
                f"{type(self._storage).__name__} has no {quota.strategy}; what every storage of limits has is "
                'strategy="fixed_window", which lets up to twice the limit through round the edge of two windows'
            )
        return LimitsCounter(quota, kind(self._storage), self._item)

    def hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Spend from one limit after the other; stop at the first that refuses."""
        refused: tuple[int, Refusal] | None = None
        for index, ask in enumerate(asks):
            refusal = ask.counter.hit(ask.subject, cost) if cost else None
            if refusal is not None:
                refused = index, refusal
                break
        if tell is not None:
            tell += [
                told for ask in asks for told in cast("LimitsCounter", ask.counter).standings(ask.subject)
            ]
        return refused

    async def ahit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Do as `hit_all`, in a thread."""
        return await asyncio.to_thread(self.hit_all, asks, cost, tell)

    def reset(self, asks: Sequence[Ask]) -> None:
        """Forget what was spent."""
        for ask in asks:
            cast("LimitsCounter", ask.counter).clear(ask.subject)

    def health(self) -> dict[str, Any]:
        """Ask the storage whether it is there."""
        try:
            ok = bool(self._storage.check())
        except Exception as err:  # noqa: BLE001  (each storage has errors of its own)
            return {"ok": False, "store": "limits", "error_type": type(err).__name__}
        return {"ok": ok, "store": "limits"}

    def close(self) -> None:
        """Do nothing: the storage is its owner's to close."""

    async def aclose(self) -> None:
        """Do nothing: the storage is its owner's to close."""


class LimitsCounter:
    """The counts of one quota."""

    def __init__(self, quota: Quota, limiter: Any, item: Any) -> None:
        self.quota = quota
        self._limiter = limiter
        # Periods as seconds: the package's months and years are as long as ours.
        self._items = [item(rate.amount, rate.seconds, namespace="aisecure") for rate in quota.rates]

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        """Spend from one rate after the other; stop at the first that refuses."""
        name = self._name(subject)
        for index, item in enumerate(self._items):
            # Asked first: a fixed window counts also what it refuses.
            fits = self._ask(partial(self._limiter.test, item, name, cost=cost))
            if not fits or not self._ask(partial(self._limiter.hit, item, name, cost=cost)):
                reset, _ = self._ask(partial(self._limiter.get_window_stats, item, name))
                return index, max(0.001, min(reset - time.time(), self.quota.rates[index].seconds))
        return None

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        """Do as `hit`, in a thread."""
        return await asyncio.to_thread(self.hit, subject, cost)

    def standings(self, subject: Subject) -> list[Standing]:
        """Return how much is left of each rate."""
        name = self._name(subject)
        out = []
        for index, (item, rate) in enumerate(zip(self._items, self.quota.rates, strict=True)):
            reset, left = self._ask(partial(self._limiter.get_window_stats, item, name))
            used = rate.amount - left
            out.append(standing(self.quota, index, used, math.ceil(reset - time.time()) if used else 0.0))
        return out

    def clear(self, subject: Subject) -> None:
        """Forget what was spent."""
        name = self._name(subject)
        for item in self._items:
            self._ask(partial(self._limiter.clear, item, name))

    def _name(self, subject: Subject) -> str:
        digest = hashlib.sha256()
        for part in (self.quota.id, *canonical(subject)):
            raw = (
                part.encode("utf-8", "surrogatepass")
                if isinstance(part, str)
                else part[0].encode() + b"#" + part[1]
            )
            digest.update(len(raw).to_bytes(4, "big") + bytes([isinstance(part, str)]) + raw)
        return digest.hexdigest()[:40]

    def _ask(self, what: Callable[[], T]) -> T:
        try:
            return what()
        except Exception as err:  # each storage has errors of its own
            raise Unavailable(
                f"the limit could not be checked in a storage of limits ({type(err).__name__})",
                code="unavailable.quota",
            ) from err
