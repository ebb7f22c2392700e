"""Budgets round a real model (SmolLM2 on llama.cpp): what is booked is what the server bills."""

from __future__ import annotations

import asyncio

import pytest
from openai import AsyncOpenAI, OpenAI

from aisecure.apps.demo.model import MODEL_ID, serve
from aisecure.quotas import TokenBudget

REQUEST = {
    "model": MODEL_ID,
    "messages": [{"role": "user", "content": "Tell me of the sea."}],
    "max_tokens": 12,
    "seed": 1,
}


@pytest.fixture(scope="module")
def model():
    with serve() as running:
        yield running


@pytest.fixture
def budget():
    return TokenBudget("10k tokens/day")


def used(budget):
    (one,) = budget.remaining()
    assert not one.reserved
    return one.used


def test_a_whole_answer_is_booked_as_the_server_counts_it(model, budget):
    with OpenAI(base_url=model.base_url, api_key="local", max_retries=0) as client:
        ask = budget(lambda request: client.chat.completions.create(**request))
        told = ask(REQUEST).usage
    assert used(budget) == told.prompt_tokens + told.completion_tokens > 12


def test_a_stream_is_booked_as_the_server_counts_it_and_a_cut_one_within_its_bound(model, budget):
    with OpenAI(base_url=model.base_url, api_key="local", max_retries=0) as client:

        @budget
        def ask(request):
            yield from client.chat.completions.create(
                **request, stream=True, stream_options={"include_usage": True}
            )

        told = list(ask(REQUEST))[-1].usage
        whole = used(budget)
        assert whole == told.prompt_tokens + told.completion_tokens > 12
        chunks = ask(REQUEST)
        for _ in range(4):
            next(chunks)
        chunks.close()
    # The prompt as bounded by its bytes, and what was read of the answer.
    assert told.prompt_tokens < used(budget) - whole <= 64 + 3 * 8 + len("Tell me of the sea.") + 12 + 100


def test_an_asynchronous_stream_is_booked_as_the_server_counts_it(model, budget):
    async def main():
        async with AsyncOpenAI(base_url=model.base_url, api_key="local", max_retries=0) as client:

            @budget
            async def ask(request):
                return await client.chat.completions.create(
                    **request, stream=True, stream_options={"include_usage": True}
                )

            return [chunk async for chunk in await ask(REQUEST)][-1].usage

    told = asyncio.run(main())
    assert used(budget) == told.prompt_tokens + told.completion_tokens > 12
