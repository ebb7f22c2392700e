"""A store on a real server whose scripts read a clock that the test sets; the only change is where from."""

from __future__ import annotations

from aisecure.quotas import RedisStore
from aisecure.quotas._redis_wire import Script


def clocked(script: Script) -> Script:
    """Return the script with its one look at the clock replaced."""
    assert script.source.count(b"call('TIME')") == 1
    return Script(script.source.replace(b"call('TIME')", b"call('HMGET', 'test:clock', 's', 'us')"))


class ClockedStore(RedisStore):
    def __init__(self, url, client):
        super().__init__(url)
        self.client = client
        self.script, self.refund_script = map(clocked, (self.script, self.refund_script))

    def set(self, microseconds):
        seconds, rest = divmod(microseconds, 1_000_000)
        self.client.hset("test:clock", mapping={"s": seconds, "us": rest})
