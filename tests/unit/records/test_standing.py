from __future__ import annotations

import asyncio

from aisecure.quotas import RateLimiter
from aisecure.standing import collect_standings


def test_a_task_that_outlives_its_request_leaves_nothing_in_its_list():
    limiter = RateLimiter("1000/minute")

    async def main():
        over = asyncio.Event()

        async def outlives():
            limiter.require("k")
            await over.wait()
            for _ in range(5):
                limiter.require("k")

        with collect_standings() as seen:
            task = asyncio.create_task(outlives())
            await asyncio.sleep(0)
            limiter.require("k")
        over.set()
        await task
        return seen

    assert [standing.used for standing in asyncio.run(main())] == [1, 2]
