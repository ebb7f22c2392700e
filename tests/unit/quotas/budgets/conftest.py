"""Each ledger, in a time that the test sets."""

from __future__ import annotations

import pytest
from tests.unit.quotas.clocked import clocked

from aisecure.quotas import MemoryLedger, RedisLedger, SqliteLedger
from aisecure.testing import FrozenClock, memory_storage

#: 2026-01-15T12:00:00Z.
START = 1_768_478_400


class Memory:
    def __init__(self):
        self.clock = FrozenClock(time=START, monotonic=START)
        self.ledger = MemoryLedger(clock=self.clock)

    def advance(self, seconds):
        self.clock.advance(seconds)

    def set_back(self, seconds):
        self.clock._time -= seconds
        self.clock._monotonic -= seconds


class Sqlite(Memory):
    def __init__(self):
        super().__init__()
        self.ledger = SqliteLedger(memory_storage(), clock=self.clock)


class Redis:
    def __init__(self, url, client):
        self.clock = FrozenClock(time=START, monotonic=START)
        self.client = client
        self.ledger = RedisLedger(url)
        self.ledger.script = clocked(self.ledger.script)
        self.advance(0)

    def advance(self, seconds):
        self.clock.advance(seconds)
        self._tell()

    def set_back(self, seconds):
        self.clock._time -= seconds
        self._tell()

    def _tell(self):
        seconds, rest = divmod(round(self.clock.time() * 1_000_000), 1_000_000)
        self.client.hset("test:clock", mapping={"s": seconds, "us": rest})


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make(request):
    """Returns a function that makes an empty ledger."""
    if request.param != "redis":
        yield {"memory": Memory, "sqlite": Sqlite}[request.param]
        return
    client = request.getfixturevalue("redis_client")
    made = []

    def new():
        client.flushall()
        made.append(Redis(request.getfixturevalue("redis_server").url, client))
        return made[-1]

    yield new
    for one in made:
        one.ledger.close()
