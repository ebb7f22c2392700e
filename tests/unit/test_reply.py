"""What an answer says about its model, whatever made it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.call import Call
from aisecure.events import SecurityEvent, Usage
from aisecure.principal import Principal
from aisecure.reply import Reply, read_reply
from aisecure.shield import Shield

# Shapes as the providers' references give them, with numbers that tell each field from the others.
OPENAI_CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5", "system_fingerprint": "fp_1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {
        "prompt_tokens": 1000, "completion_tokens": 300, "total_tokens": 1300,
        "prompt_tokens_details": {"cached_tokens": 600, "audio_tokens": 0, "cache_write_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 200, "audio_tokens": 0},
    },
}  # fmt: skip
OPENAI_RESPONSE = {
    "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5",
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}],
    "usage": {
        "input_tokens": 1000, "input_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 50},
        "output_tokens": 300, "output_tokens_details": {"reasoning_tokens": 200}, "total_tokens": 1300,
    },
}  # fmt: skip
ANTHROPIC = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hi"}],
    "usage": {
        "input_tokens": 350, "cache_read_input_tokens": 600, "cache_creation_input_tokens": 50, "output_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 0},
    },
}  # fmt: skip
GOOGLE = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
    "modelVersion": "gemini-2.5-pro",
    "usageMetadata": {
        "promptTokenCount": 950, "toolUsePromptTokenCount": 50, "candidatesTokenCount": 100, "thoughtsTokenCount": 200,
        "cachedContentTokenCount": 600, "totalTokenCount": 1300,
    },
}  # fmt: skip
BEDROCK = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}, "stopReason": "end_turn",
    "usage": {
        "inputTokens": 350, "outputTokens": 300, "totalTokens": 1300, "cacheReadInputTokens": 600, "cacheWriteInputTokens": 50,
    },
}  # fmt: skip
LLAMA = {
    "content": "Hi",
    "model": "m",
    "stop": True,
    "tokens_evaluated": 1000,
    "tokens_predicted": 300,
    "tokens_cached": 1299,
}
OLLAMA = {
    "model": "llama3", "created_at": "", "message": {"role": "assistant", "content": "Hi"}, "done": True,
    "total_duration": 5, "prompt_eval_count": 1000, "eval_count": 300,
}  # fmt: skip
DEEPSEEK = {
    "model": "d",
    "usage": {"prompt_tokens": 1000, "completion_tokens": 300, "prompt_cache_hit_tokens": 600},
}
XAI = {
    "model": "grok-4",
    "usage": {
        "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1300, "completion_tokens_details": {"reasoning_tokens": 200},
    },
}  # fmt: skip

ALL = Usage(1000, 300, 600, 50, 200)
PLAIN = Usage(1000, 300)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (OPENAI_CHAT, Reply("gpt-5", "fp_1", ALL)),
        (OPENAI_RESPONSE, Reply("gpt-5", "", ALL)),
        ({"type": "response.completed", "response": OPENAI_RESPONSE}, Reply("gpt-5", "", ALL)),
        (ANTHROPIC, Reply("claude-opus-5", "", Usage(1000, 300, 600, 50))),
        ({"type": "message_start", "message": ANTHROPIC}, Reply("claude-opus-5", "", Usage(1000, 300, 600, 50))),
        ({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 300}}, Reply(usage=Usage(0, 300))),
        (GOOGLE, Reply("gemini-2.5-pro", "", Usage(1000, 300, 600, 0, 200))),
        (BEDROCK, Reply(usage=Usage(1000, 300, 600, 50))),
        ({"metadata": {"usage": BEDROCK["usage"], "metrics": {}}}, Reply(usage=Usage(1000, 300, 600, 50))),
        (LLAMA, Reply("m", "", PLAIN)),
        (OLLAMA, Reply("llama3", "", PLAIN)),
        ({"model": "m", "response": "Hi", "prompt_eval_count": 1000, "eval_count": 300}, Reply("m", "", PLAIN)),
        (DEEPSEEK, Reply("d", "", Usage(1000, 300, 600))),
        (XAI, Reply("grok-4", "", Usage(1000, 300, 0, 0, 200))),
        ({"usage": {"prompt_tokens": 5, "total_tokens": 5}}, Reply(usage=Usage(5, 0))),
        ({"model": "m", "system_fingerprint": "fp"}, Reply("m", "fp")),
    ],
    ids=(
        "openai-chat openai-response openai-event anthropic anthropic-start anthropic-delta google bedrock bedrock-event llama.cpp"
        " ollama-chat ollama-generate deepseek xai embeddings no-usage"
    ).split(),
)  # fmt: skip
def test_every_providers_form_is_read(value, expected):
    assert read_reply(value) == expected


def _as_object(value):
    if isinstance(value, dict):
        return SimpleNamespace(**{key: _as_object(item) for key, item in value.items()})
    return value


@pytest.mark.parametrize("value", [OPENAI_CHAT, OPENAI_RESPONSE, ANTHROPIC, LLAMA], ids=lambda v: v["model"])
def test_objects_are_read_like_dicts(value):
    assert read_reply(_as_object(value)) == read_reply(value)


@pytest.mark.parametrize(
    "value",
    [
        None, "text", b"", 5, [], {}, {"model": 5}, object(), {"usage": "x"}, {"message": None}, {"usage": []},
        {"messages": [{"role": "assistant", "usage": {"prompt_tokens": 1}}]},
        {"metadata": {"model": "m"}}, {"response": {"model": "m"}}, {"result": [OPENAI_CHAT]}, {"generations": [[OPENAI_CHAT]]},
        {"type": "response.completed"}, {"type": "response.completed", "response": None}, SimpleNamespace(result=[], generations=[]),
    ],
    ids=repr,
)  # fmt: skip
def test_what_says_nothing_of_this_answer_is_none(value):
    assert read_reply(value) is None


@pytest.mark.parametrize(
    "count",
    [-1, True, 1.5, "7", None, float("nan"), 2**53 + 1, 1 << 99_999, [], {}],
    ids=lambda count: type(count).__name__,
)
@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("prompt_tokens", "usage"), ("input_tokens", "usage"), ("inputTokens", "usage"), ("promptTokenCount", "usageMetadata"),
        ("tokens_evaluated", None), ("prompt_eval_count", None),
    ],
)  # fmt: skip
def test_what_is_no_count_never_counts(value, name, count):
    counts = {value: count}
    assert read_reply({name: counts} if name else counts) is None


@pytest.mark.parametrize("wrong", ["x", 5, [], None, True, {"cached_tokens": "x"}, {"cached_tokens": -5}])
def test_details_that_make_no_sense_count_for_nothing(wrong):
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "prompt_tokens_details": wrong,
        "completion_tokens_details": wrong,
    }
    assert read_reply({"usage": usage}) == Reply(usage=Usage(7, 2))


_COUNTS = st.integers() | st.floats() | st.booleans() | st.text(max_size=3) | st.none()
_NAMES = [
    "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cache_read_input_tokens",
    "cache_creation_input_tokens", "promptTokenCount", "thoughtsTokenCount", "cachedContentTokenCount", "inputTokens",
    "cacheReadInputTokens", "cacheWriteInputTokens", "prompt_cache_hit_tokens", "cached_tokens", "reasoning_tokens", "cache_read",
]  # fmt: skip
_DETAILS = [f"{side}_tokens_details" for side in ("prompt", "completion", "input", "output")] + [
    "input_token_details"
]


@given(
    st.dictionaries(st.sampled_from(_NAMES), _COUNTS),
    st.dictionaries(st.sampled_from(_DETAILS), st.dictionaries(st.sampled_from(_NAMES), _COUNTS) | _COUNTS),
)
def test_the_parts_never_exceed_the_totals(counts, details):
    reply = read_reply({"usage": {**counts, **details}})
    usage = reply.usage if reply else Usage()
    assert min(dataclasses.astuple(usage)) >= 0
    assert usage.cache_read_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.reasoning_tokens <= usage.output_tokens


@given(
    st.dictionaries(
        st.sampled_from(["model", "usage", "message", "response_metadata", "type", "response", "metadata", "usage_metadata"]),
        st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.integers()) | st.lists(st.integers()),
    )
)  # fmt: skip
def test_no_shape_of_an_answer_is_an_error(value):
    read_reply(value)
    read_reply(SimpleNamespace(**value))


def test_an_object_that_fails_when_asked_says_nothing():
    class Hostile:
        @property
        def usage(self):
            raise RuntimeError("no")

    assert read_reply(Hostile()) is None


def test_a_message_inside_a_message_without_end_says_nothing():
    cycle: dict = {}
    cycle["message"] = cycle
    deep: dict = {"model": "m"}
    for _ in range(100_000):
        deep = {"message": deep}
    assert read_reply(cycle) is None
    assert read_reply(deep) is None


def test_events_name_the_parts_as_opentelemetry_does():
    event = SecurityEvent("call.allowed", usage=ALL).to_dict()
    assert {name: count for name, count in event.items() if name.startswith("gen_ai.usage")} == {
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 300,
        "gen_ai.usage.cache_read.input_tokens": 600,
        "gen_ai.usage.cache_creation.input_tokens": 50,
        "gen_ai.usage.reasoning.output_tokens": 200,
    }
    assert "gen_ai.usage.cache_read.input_tokens" not in SecurityEvent("call.allowed", usage=PLAIN).to_dict()


# -- LangChain


def _langchain_usage(read=600, write=50, reasoning=200):
    return {
        "input_tokens": 1000, "output_tokens": 300, "total_tokens": 1300,
        "input_token_details": {"cache_read": read, "cache_creation": write}, "output_token_details": {"reasoning": reasoning},
    }  # fmt: skip


def _ai(usage=None, **metadata):
    messages = pytest.importorskip("langchain_core.messages")
    return messages.AIMessage("hi", response_metadata=metadata, usage_metadata=usage)


def test_langchain_messages_are_read():
    assert read_reply(_ai(_langchain_usage(), model_name="m")) == Reply("m", "", ALL)


def test_langchain_messages_of_older_integrations_are_read():
    assert read_reply(_ai(token_usage=OPENAI_CHAT["usage"], model_name="m")) == Reply("m", "", ALL)


def test_langchain_generations_and_results_are_read():
    outputs = pytest.importorskip("langchain_core.outputs")
    one = outputs.ChatGeneration(message=_ai(_langchain_usage(), model_name="m"))
    assert read_reply(one) == Reply("m", "", ALL)
    assert read_reply(outputs.ChatResult(generations=[one])).usage == ALL
    two_candidates = outputs.LLMResult(generations=[[one, one]])
    assert read_reply(two_candidates).usage == ALL
    two_prompts = outputs.LLMResult(generations=[[one], [one]])
    assert read_reply(two_prompts).usage == ALL + ALL
    told = outputs.LLMResult(
        generations=[[one], [one]], llm_output={"token_usage": OPENAI_CHAT["usage"], "model_name": "m"}
    )
    assert read_reply(told) == Reply("m", "", ALL)
    assert read_reply(outputs.LLMResult(generations=[])) is None


def test_what_a_model_call_of_an_agent_returns_is_read():
    types = pytest.importorskip("langchain.agents.middleware.types")
    messages = pytest.importorskip("langchain_core.messages")
    response = types.ModelResponse(
        result=[_ai(_langchain_usage(), model_name="m"), messages.ToolMessage("x", tool_call_id="1")]
    )
    assert read_reply(response) == Reply("m", "", ALL)
    assert read_reply(types.ExtendedModelResponse(model_response=response)) == Reply("m", "", ALL)


def test_the_history_that_an_agent_returns_is_not_counted_again():
    assert read_reply({"messages": [_ai(_langchain_usage()), _ai(_langchain_usage())]}) is None


# -- real objects of OpenAI's and boto's clients


def test_objects_of_openais_client_are_read():
    chat = pytest.importorskip("openai.types.chat")
    responses = pytest.importorskip("openai.types.responses")
    assert read_reply(chat.ChatCompletion.model_validate(OPENAI_CHAT)) == Reply("gpt-5", "fp_1", ALL)
    response = responses.Response.model_construct(
        **{**OPENAI_RESPONSE, "usage": responses.ResponseUsage(**OPENAI_RESPONSE["usage"])}
    )
    assert read_reply(response) == Reply("gpt-5", "", ALL)
    event = responses.ResponseCompletedEvent.model_construct(
        type="response.completed", response=response, sequence_number=9
    )
    assert read_reply(event) == Reply("gpt-5", "", ALL)
    last = chat.ChatCompletionChunk(
        id="1",
        created=1,
        model="gpt-5",
        object="chat.completion.chunk",
        choices=[],
        usage=OPENAI_CHAT["usage"],
    )
    assert read_reply(last) == Reply("gpt-5", "", ALL)


# -- streams


def usage_of(chunks):
    passage = Shield().passage(Call(Principal("a"), "invoke", "model:m"))
    for chunk in chunks:
        passage.note_reply(chunk)
    return passage.usage


def test_the_counts_of_anthropics_first_and_last_events_are_put_together():
    start = {**ANTHROPIC, "usage": {**ANTHROPIC["usage"], "output_tokens": 1}}
    chunks = [
        {"type": "message_start", "message": start},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 120}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 300}},
        {"type": "message_stop"},
    ]
    assert usage_of(chunks) == Usage(1000, 300, 600, 50)


def test_counts_that_grow_are_not_added():
    chunks = [{"usage": {"prompt_tokens": 9, "completion_tokens": n}} for n in (1, 2, 5)]
    assert usage_of(chunks) == Usage(9, 5)
    assert usage_of([{"tokens_evaluated": 9, "tokens_predicted": n} for n in (1, 2, 5)]) == Usage(9, 5)
    assert usage_of(
        [{"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": n}} for n in (1, 2, 5)]
    ) == Usage(9, 5)


def test_a_late_chunk_without_all_counts_takes_nothing_away():
    assert usage_of([OPENAI_CHAT, {"usage": {"prompt_tokens": 1}}, {"usage": None}, {"model": "m"}]) == ALL


def test_the_chunks_of_langchain_add_up_as_langchain_adds_them():
    messages = pytest.importorskip("langchain_core.messages")
    first = {
        "input_tokens": 1000,
        "output_tokens": 0,
        "total_tokens": 1000,
        "input_token_details": {"cache_read": 600},
    }
    chunks = [
        messages.AIMessageChunk("", usage_metadata=first),
        messages.AIMessageChunk("hi"),
        messages.AIMessageChunk(
            "", usage_metadata={"input_tokens": 0, "output_tokens": 100, "total_tokens": 100}
        ),
        messages.AIMessageChunk(
            "", usage_metadata={"input_tokens": 0, "output_tokens": 200, "total_tokens": 200}
        ),
    ]
    whole = chunks[0] + chunks[1] + chunks[2] + chunks[3]
    assert usage_of(chunks) == Usage(1000, 300, 600)
    assert read_reply(whole).usage == Usage(1000, 300, 600)
    outputs = pytest.importorskip("langchain_core.outputs")
    assert usage_of([outputs.ChatGenerationChunk(message=chunk) for chunk in chunks]) == Usage(1000, 300, 600)


_USAGES = st.builds(Usage, *[st.integers(0, 10**9)] * 5)


@given(_USAGES, _USAGES, _USAGES)
def test_usages_add_and_merge_in_any_order(one, two, three):
    assert (one + two) + three == three + (two + one)
    assert one.most(two).most(three) == three.most(two.most(one))
    assert one.most(one) == one
