"""Many processes on one Redis: never over a limit in any window of the server's clock, and never under it."""

from __future__ import annotations

import json
import subprocess
import sys
from bisect import bisect_left, bisect_right

import pytest
from tests.unit.quotas.conftest import redis_client, redis_server

__all__ = ["redis_client", "redis_server"]

pytestmark = pytest.mark.proof

AMOUNT, SECONDS, DURATION = 400, 2, 5

#: Each thread asks as fast as it can, and notes the server's stamp on each admission and each refusal.
CLIENT = """
import json, sys, threading, time
from aisecure._flow import drive
from aisecure.quotas import RateLimiter, RedisStore
url, threads, seconds, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
store = RedisStore(url, timeout_seconds=30)
counter = RateLimiter(limit, store=store).counter
end, stamps, refusals = time.monotonic() + seconds, [], []
def client():
    while time.monotonic() < end:
        receipt, refusal = drive(counter.take(("t", "k"), 1, partial=False))
        (stamps if refusal is None else refusals).append(int(receipt.stamp))
        if refusal is not None:
            time.sleep(min(0.002, refusal[1]))
running = [threading.Thread(target=client) for _ in range(threads)]
[thread.start() for thread in running]
[thread.join() for thread in running]
store.close()
print(json.dumps([stamps, refusals]))
"""


@pytest.mark.parametrize("processes", [1, 2, 8])
def test_no_window_holds_more_than_the_limit_and_nobody_is_refused_for_less(
    redis_server, redis_client, processes
):
    command = [
        sys.executable, "-c", CLIENT, redis_server.url, str(24 // processes), str(DURATION), f"{AMOUNT}/{SECONDS} seconds",
    ]  # fmt: skip
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    told = [json.loads(one.communicate()[0]) for one in running]
    admitted = sorted(stamp for stamps, _ in told for stamp in stamps)
    refused = [stamp for _, stamps in told for stamp in stamps]
    window = SECONDS * 1_000_000
    assert len(admitted) > AMOUNT * (DURATION // SECONDS)
    assert len(refused) > AMOUNT
    assert max(bisect_left(admitted, stamp + window) - i for i, stamp in enumerate(admitted)) <= AMOUNT
    # Whoever was refused was refused because the window that ended at that moment was full.
    held = [bisect_right(admitted, stamp) - bisect_right(admitted, stamp - window) for stamp in refused]
    assert min(held) == AMOUNT
