"""Known answers of this concern, for `aisecure doctor`."""

from __future__ import annotations

from collections.abc import Callable

from aisecure.quotas.limiter import RateLimiter
from aisecure.quotas.memory import MemoryStore

__all__ = ["self_tests"]


class _Hand:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def self_tests() -> dict[str, Callable[[], None]]:
    """Return the checks by capability; each raises AssertionError when the capability is broken."""
    return {
        "quotas.exact_window": _exact_window,
        "quotas.all_or_nothing": _all_or_nothing,
        "quotas.beyond_the_cap": _beyond_the_cap,
    }


def _expect(what: str, seen: object, known: object) -> None:
    # Not ``assert``, which python -O leaves out.
    if seen != known:
        raise AssertionError(f"{what}: {seen!r} instead of {known!r}")


def _exact_window() -> None:
    clock = _Hand()
    limiter = RateLimiter("2/minute", clock=clock)
    answers = []
    for clock.now in (0.0, 59.0, 59.5, 60.0, 60.0, 119.0):
        decision = limiter.decide("k")
        answers.append((decision.allowed, decision.retry_after))
    known = [(True, None), (True, None), (False, 0.5), (True, None), (False, 59.0), (True, None)]
    _expect("two in any minute", answers, known)


def _all_or_nothing() -> None:
    clock = _Hand()
    limiter = RateLimiter("3/second; 4/minute", clock=clock)
    _expect("three at once", limiter.decide("k", cost=3).allowed, True)
    clock.now = 1.0
    _expect("two more of a minute's one", limiter.decide("k", cost=2).retry_after, 59.0)
    _expect("a refusal spent nothing", limiter.decide("k", cost=1).allowed, True)
    _expect("the minute is full", limiter.decide("k").retry_after, 59.0)


def _beyond_the_cap() -> None:
    clock = _Hand()
    limiter = RateLimiter("4/minute", store=MemoryStore(max_keys=1, clock=clock))
    limiter.require("first")
    _expect("a burst", [limiter.decide("second").allowed for _ in range(4)], [True, True, True, False])
    clock.now = 59.0
    _expect("never over", [limiter.decide("second").allowed for _ in range(2)], [True, False])
