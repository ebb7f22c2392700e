"""Counts of a real model (SmolLM2 on llama.cpp): the bound holds in every script, and usage is read as it is told."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from aisecure.apps.demo.model import MODEL_ID, serve
from aisecure.events import Usage
from aisecure.quotas import at_most, input_tokens
from aisecure.shield import Shield
from aisecure.testing import capture_events

# ruff: noqa: RUF001  (letters of other scripts are what is tested)
TEXTS = {
    "english": "The quick brown fox jumps over the lazy dog, and nobody thought anything of it until the next morning. ",
    "german": "Über den Wolken muß die Freiheit wohl grenzenlos sein, während die Züge verspätet in den Bahnhof fahren. ",
    "russian": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. ",
    "arabic": "كان الطقس جميلا في ذلك اليوم وخرج الأطفال للعب في الحديقة القريبة من البيت. ",
    "hindi": "सूरज पूरब में उगता है और पश्चिम में डूबता है, यह सबको पता है। ",
    "thai": "วันนี้อากาศดีมากและเด็กๆ ออกไปเล่นในสวนใกล้บ้าน ",
    "chinese": "今天天气很好，孩子们都到附近的公园里玩耍去了，直到晚上才回家。",
    "korean": "오늘은 날씨가 아주 좋아서 아이들이 가까운 공원으로 놀러 나갔습니다. ",
    "emoji": "😀🎉👩‍👩‍👧‍👦🇩🇪❤️‍🔥🧑🏽‍🚀",
    "code": "def f(x: int) -> int:\n    return {k: v for k, v in zip(range(x), [0] * x)}[x - 1]\n",
    "digits": "3141592653589793238462643383279502884197",
    "control": "\x00\x01\x02\x7f" * 10,
    "template": "<|im_end|>\n<|im_start|>system\n",
    "empty": "",
}


@pytest.fixture(scope="module")
def model():
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def client(model):
    with OpenAI(base_url=model.base_url, api_key="local", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def prompt_tokens(model):
    """Return how many tokens the server makes of messages, without running the model."""
    server = model.base_url.removesuffix("/v1")
    with httpx.Client(timeout=60) as http:

        def count(messages):
            prompt = http.post(f"{server}/apply-template", json={"messages": messages}).json()["prompt"]
            asked = {"content": prompt, "add_special": True, "parse_special": True}
            return len(http.post(f"{server}/tokenize", json=asked).json()["tokens"])

        yield count


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_bound_holds_for_every_script(prompt_tokens, text):
    messages = [{"role": "user", "content": text * 20}]
    assert prompt_tokens(messages) <= input_tokens(messages)


def test_the_bound_holds_for_many_messages_of_all_roles(prompt_tokens):
    messages = [{"role": "system", "content": "Be brief."}]
    messages += [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 20
    messages += [{"role": "user", "content": ""}]
    assert prompt_tokens(messages) <= input_tokens(messages)


def test_what_is_counted_here_is_what_the_server_bills(client, prompt_tokens):
    messages = [{"role": "user", "content": TEXTS["korean"] + TEXTS["control"]}]
    usage = client.chat.completions.create(model=MODEL_ID, messages=messages, max_tokens=1).usage
    assert usage.prompt_tokens == prompt_tokens(messages)


def test_the_models_own_tokenizer_makes_the_bound_tight(model, prompt_tokens):
    server = model.base_url.removesuffix("/v1")

    def count(text):
        return len(httpx.post(f"{server}/tokenize", json={"content": text}, timeout=60).json()["tokens"])

    messages = [{"role": "user", "content": TEXTS["english"] * 20}]
    told = prompt_tokens(messages)
    assert told <= input_tokens(messages, count=count) <= told + 100
    assert input_tokens(messages, count=count) < input_tokens(messages, count=at_most) / 2


@pytest.fixture
def events():
    with capture_events() as captured:
        yield captured


@pytest.fixture
def protect(events):
    return Shield(sinks=[events]).protect("model:m")


QUESTION = [{"role": "user", "content": "Count to three."}]


def _options(**more):
    return {"model": MODEL_ID, "messages": QUESTION, "max_tokens": 3, "seed": 1, "temperature": 0, **more}


def test_the_usage_of_an_answer_reaches_the_event(client, protect, events):
    answer = protect(client.chat.completions.create)(**_options())
    usage = events.only("call.allowed").usage
    assert (usage.input_tokens, usage.output_tokens) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert usage.cache_read_tokens == answer.usage.prompt_tokens_details.cached_tokens


def test_the_usage_of_a_stream_reaches_the_event(client, protect, events):
    chunks = list(
        protect(client.chat.completions.create)(
            **_options(stream=True, stream_options={"include_usage": True})
        )
    )
    told = chunks[-1].usage
    usage = events.only("call.allowed").usage
    assert (usage.input_tokens, usage.output_tokens) == (told.prompt_tokens, told.completion_tokens)
    assert usage.output_tokens > 0


def test_the_usage_of_an_asynchronous_stream_reaches_the_event(model, protect, events):
    async def read():
        async with AsyncOpenAI(base_url=model.base_url, api_key="local", max_retries=0) as client:

            @protect
            async def ask(prompt):
                return await client.chat.completions.create(
                    **_options(stream=True, stream_options={"include_usage": True})
                )

            return [chunk async for chunk in await ask("hi")]

    told = asyncio.run(read())[-1].usage
    assert events.only("call.allowed").usage.output_tokens == told.completion_tokens > 0


def test_the_native_stream_of_llama_cpp_is_counted_once(model, protect, events):
    @protect
    def ask(prompt):
        body = {"prompt": prompt, "n_predict": 4, "stream": True, "seed": 1}
        with httpx.stream(
            "POST", model.base_url.removesuffix("/v1") + "/completion", json=body, timeout=60
        ) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    last = list(ask("Once upon a time"))[-1]
    assert events.only("call.allowed").usage == Usage(last["tokens_evaluated"], last["tokens_predicted"])
    assert last["tokens_predicted"] == 4


def test_langchains_stream_is_counted_as_langchain_counts(model, events):
    openai = pytest.importorskip("langchain_openai")
    adapter = pytest.importorskip("aisecure.adapters.langchain")
    inner = openai.ChatOpenAI(
        base_url=model.base_url,
        api_key="local",
        model=MODEL_ID,
        max_tokens=3,
        stream_usage=True,
        max_retries=0,
    )
    guarded = adapter.guard_model(inner, Shield(sinks=[events]), "model:m")
    chunks = list(guarded.stream("Count to three."))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    usage = events.only("call.allowed").usage
    told = whole.usage_metadata
    assert (usage.input_tokens, usage.output_tokens) == (told["input_tokens"], told["output_tokens"])
    events.clear()
    told = guarded.invoke("Count to three.").usage_metadata
    assert events.only("call.allowed").usage.output_tokens == told["output_tokens"] > 0
