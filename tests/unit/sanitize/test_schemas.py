"""Inputs and answers follow their schema, in every shape of function, and errors never tell a value."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, field_validator
from typing_extensions import TypedDict

from aisecure import InputRejected, OutputBlocked, Shield
from aisecure.sanitize import JsonLimits, SchemaGuard, parse_output, validated
from aisecure.testing import capture_events

SECRET = "s3cr3t-value"


class Item(BaseModel):
    name: Annotated[str, StringConstraints(max_length=20)]
    count: int = 0


class Order(BaseModel):
    items: list[Item]
    notes: dict[str, int] = {}

    @field_validator("notes")
    @classmethod
    def no_secret(cls, notes: dict[str, int]) -> dict[str, int]:
        if SECRET in notes:
            raise ValueError(f"not {notes}")
        return notes


class Row(TypedDict):
    name: str


@dataclass
class Point:
    x: int
    on: date | None = None


TEA = Order(items=[Item(name="tea")])


def refused(answer: Any, schema: Any = Order, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(OutputBlocked) as caught:
        parse_output(answer, schema, **options)
    assert caught.value.code == "output.schema"
    assert SECRET not in repr(caught.value.decision) + str(caught.value) + str(caught.value.problem())
    assert caught.value.__cause__ is None
    return [
        (finding.path, finding.kind.removeprefix("schema.")) for finding in caught.value.decision.findings
    ]


@pytest.mark.parametrize(
    "answer",
    [
        '{"items": [{"name": "tea"}]}',
        b'\xef\xbb\xbf {"items": [{"name": "tea"}]}\n',
        'Here you are:\n```json\n{"items": [{"name": "tea"}]}\n```\nAnything else?',
        'As [1] says, {"items": [{"name": "tea"}]}.',
        {"items": [{"name": "tea"}]},
        {"items": [Item(name="tea")]},
        TEA,
    ],
)
def test_an_answer_is_found_in_whatever_form_it_comes(answer):
    assert parse_output(answer, Order) == TEA


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [
        (list[Item], '[{"name": "tea"}]', [Item(name="tea")]),
        (Row, 'so {"name": "tea"}', {"name": "tea"}),
        (Point, '{"x": 1, "on": "2026-01-02"}', Point(1, date(2026, 1, 2))),
        (Point, Point(1), Point(1)),
        (TypeAdapter(dict[str, int]), '{"a": 1}', {"a": 1}),
        (Annotated[str, StringConstraints(max_length=5)], "tea", "tea"),
        (int, "12", 12),
    ],
)
def test_any_type_that_pydantic_takes_is_a_schema(schema, answer, value):
    assert parse_output(answer, schema) == value


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ('{"items": [], "items": []}', "json_duplicate_key"),
        ('{"items": [], "notes": {"a": NaN}}', "json_number"),
        ('{"items": [], "notes": {"a": -Infinity}}', "json_number"),
        ('{"items": [], "notes": {"a": 1e999}}', "json_number"),
        ('{"items": [], "notes": {"a": 18446744073709551616}}', "json_number"),
        ('{"items": [], "notes": {"a": ' + "9" * 5000 + "}}", "json_number"),
        ('{"items": [{"name": "\\ud800"}]}', "json_unicode"),
        ("\ud800", "json_unicode"),
        (b"\xff{}", "json_unicode"),
        ("", "json_invalid"),
        ("\0", "json_invalid"),
        ("no", "json_invalid"),
        ('{"items": []} {"items": []}', "json_ambiguous"),
        ("[" * 1_000_000, "too_deep"),
        ('[{"a":' * 100_000, "too_deep"),
        ("[" + "1," * 100_001 + "1]", "too_many_items"),
        ('"' + "x" * 2_000_000 + '"', "too_large"),
        ('\\"' * 500_000, "json_invalid"),
        ({"items": [{"name": "a", "count": math.nan}]}, "json_number"),
        ({"items": [{"name": "\udc00"}]}, "json_unicode"),
        ({"items": [{"name": "a", "count": 1 << 70}]}, "json_number"),
    ],
    ids=lambda value: str(value)[:24].encode("ascii", "replace").decode(),
)
def test_what_parsers_read_differently_or_what_is_too_large_is_refused(answer, rule):
    assert refused(answer) == [("", rule)]


def test_data_that_contains_itself_is_refused():
    cyclic: dict[str, Any] = {}
    cyclic["items"] = [cyclic]
    assert refused(cyclic) == [("", "too_deep")]
    assert refused(Order.model_construct(items=[cyclic])) == [("", "too_deep")]


def test_an_object_of_the_schema_is_checked_again():
    assert refused(Order.model_construct(items=SECRET)) == [("/items", "list_type")]


def test_errors_name_places_and_rules_but_neither_values_nor_foreign_keys():
    answer = {"items": [{"name": SECRET * 9, SECRET: 1}, {"count": SECRET}], "notes": {SECRET + "2": SECRET}}
    assert refused(json.dumps(answer)) == [
        ("/items/0/name", "string_too_long"),
        ("/items/0/*", "extra_forbidden"),
        ("/items/1/name", "missing"),
        ("/items/1/count", "int_parsing"),
        ("/notes/*", "int_parsing"),
    ]
    assert refused({"items": [], "notes": {SECRET: 1}}) == [("/notes", "value_error")]


def test_labels_of_unions_are_no_part_of_a_place():
    class Either(BaseModel):
        one: Item | int

    assert refused({"one": {"count": 1}}, Either) == [("/one/name", "missing"), ("/one", "int_type")]


def test_fields_that_the_schema_does_not_name_are_taken_only_when_asked_for():
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        x: int

    assert refused('{"x": 1, "y": 2}', Open) == [("/*", "extra_forbidden")]
    assert parse_output('{"x": 1, "y": 2}', Open, extra="ignore").model_extra in ({}, None)
    assert parse_output('{"x": 1, "y": 2}', Open, extra=None).model_extra == {"y": 2}


def test_a_strict_schema_converts_nothing_but_what_json_has_no_form_for():
    assert refused('{"x": "1"}', Point, strict=True) == [("/x", "int_type")]
    assert parse_output('{"x": 1, "on": "2026-01-02"}', Point, strict=True).on == date(2026, 1, 2)


@pytest.mark.parametrize(
    ("answer", "slip"),
    [
        ('{"items": [{"name": "tea",},],}', "trailing_comma"),
        ('{"items": [{"name": "tea"}], "notes": None}', "literal"),
        ('```json\n{"items": [{"name": "tea"}]\n```', "closing_bracket"),
    ],
)
def test_a_slip_with_one_meaning_is_mended_when_asked_for_and_told(answer, slip):
    class Loose(BaseModel):
        items: list[Item]
        notes: dict[str, int] | None = None

    assert refused(answer, Loose)[0][1] == "json_invalid"
    assert parse_output(answer, Loose, on_invalid="repair").items == TEA.items
    events = capture_events()

    @SchemaGuard(output=Loose, on_invalid="repair").decorate(events=events)
    def ask(prompt: str) -> str:
        return answer

    ask("?")
    assert f"schema.repaired_{slip}" in {finding.kind for event in events for finding in event.findings}


@pytest.mark.parametrize(
    "answer",
    [
        '{"items": [{"name": "te',  # within a text
        '{"items": [], "notes": {"a": 10',  # a number that may go on
        '{"items": [{"name": "tea"}',  # a list that may go on
        '{"items": [{"name": "tea"}],',
        '{"items": [], "notes": {"a": 1, "a": 2,}}',
        '{"items": [], "items": [],}',
    ],
)
def test_a_text_that_may_have_meant_something_else_is_not_mended(answer):
    assert refused(answer, on_invalid="repair")


def test_mending_leaves_texts_alone():
    answer = '{"items": [{"name": "True, None,] ,}"}],}'
    assert parse_output(answer, Order, on_invalid="repair").items[0].name == "True, None,] ,}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON, st.booleans())
def test_all_json_is_read_as_the_standard_library_reads_it(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_output(text, Any) == value
    assert parse_output(value if not isinstance(value, str) else text, Any) == value


@given(
    st.dictionaries(
        st.text("abc{}[]\"'\\ ", max_size=6), st.text("{}[]\"'\\,` TrueNon", max_size=12), max_size=4
    )
)
def test_an_object_is_found_between_sentences_whatever_its_texts_hold(value):
    text = f"Of course:\n```json\n{json.dumps(value, indent=1)}\n```\nThat's all."
    assert parse_output(text, dict[str, str]) == value
    assert parse_output(text, dict[str, str], on_invalid="repair") == value


@given(st.text('{}[]",:\\ntrue01TrueNone` \ud800', max_size=60) | st.binary(max_size=40))
def test_any_text_is_an_answer_or_refused(text):
    for on_invalid in ("refuse", "repair"):
        with suppress(OutputBlocked):
            parse_output(text, Any, on_invalid=on_invalid)


# -- the decorator


def test_functions_of_every_kind_get_and_return_what_the_schemas_say():
    options = {"input": Item, "output": Order}

    @validated(**options)
    def plain(item: Item) -> str:
        return json.dumps({"items": [item.model_dump()]})

    @validated(**options)
    async def coroutine(item: Item) -> dict[str, Any]:
        return {"items": [item]}

    @validated(**options)
    def generator(item: Item):
        yield 'Sure: {"items": [{"na'
        yield f'me": "{item.name}"}}]}}'

    @validated(**options)
    async def async_generator(item: Item):
        yield json.dumps({"items": [{"name": item.name}]})

    async def collected() -> list[str]:
        return [chunk async for chunk in async_generator(b'{"name": "tea"}')]

    assert plain('{"name": "tea"}') == TEA
    assert asyncio.run(coroutine({"name": "tea"})) == TEA
    whole = ['{"items":[{"name":"tea","count":0}],"notes":{}}']
    assert list(generator(Item(name="tea"))) == whole
    assert asyncio.run(collected()) == whole
    assert plain.__name__ == "plain"


@pytest.mark.parametrize("bad", ["{", "", None, 3, {"nam": 1}, ["x"], '{"name": "a", "name": "b"}', object()])
def test_an_input_that_breaks_its_schema_reaches_nobody(bad):
    @validated(input=Item)
    def ask(item: Item) -> str:
        raise AssertionError

    with pytest.raises(InputRejected) as caught:
        ask(bad)
    assert caught.value.code == "input.schema"


def test_a_rejected_input_is_a_problem_with_places_and_rules():
    @validated(input=Order, prompt="order")
    def ask(who: str, order: Order) -> str:
        return who

    with pytest.raises(InputRejected) as caught:
        ask("ana", {"items": [{"name": 3, SECRET: 1}]})
    problem = caught.value.problem()
    assert problem["status"] == 422
    assert problem["errors"] == [
        {"pointer": "/items/0/name", "rule": "string_type"},
        {"pointer": "/items/0/*", "rule": "extra_forbidden"},
    ]
    assert ask("ana", order={"items": []}) == "ana"


def test_without_an_output_schema_a_stream_passes_as_it_comes():
    @validated(input=Item)
    def ask(item: Item):
        yield "a"
        yield item.name

    assert list(ask({"name": "b"})) == ["a", "b"]


def test_a_stream_is_refused_at_its_end_or_at_its_limit():
    taken = []

    @validated(output=Item, limits=JsonLimits(max_bytes=1_000))
    def ask(piece: str):
        for _ in range(100):
            taken.append(piece)
            yield piece

    for piece in ("{", "x" * 400):
        with pytest.raises(OutputBlocked):
            list(ask(piece))
    assert len(taken) == 103


def test_a_model_is_asked_again_with_places_and_rules_a_bounded_number_of_times():
    told = []

    def again(summary: str) -> str:
        told.append(summary)
        return json.dumps({"items": [{"name": SECRET * len(told)}]}) if len(told) == 2 else SECRET

    @validated(output=Order, ask_again=again, attempts=3)
    def ask(prompt: str) -> str:
        return json.dumps({"items": [{"name": SECRET * 5}]})

    with pytest.raises(OutputBlocked):
        ask("?")
    assert len(told) == 2
    assert "/items/0/name: string_too_long (max_length=20)" in told[0]
    assert SECRET not in "".join(told)


def test_a_coroutine_is_asked_again_by_a_coroutine():
    async def again(summary: str) -> str:
        return '{"name": "tea"}'

    @validated(output=Item, ask_again=again)
    async def ask(prompt: str) -> str:
        return "tea"

    assert asyncio.run(ask("?")) == Item(name="tea")


def test_a_guard_refuses_per_resource_and_hands_on_what_it_checked():
    events = capture_events()
    shield = Shield(SchemaGuard(input=Item, output=Item, on="tool:*"), sinks=[events])

    @shield.protect("tool:order")
    def order(prompt: Any) -> Any:
        return prompt

    @shield.protect("model:free")
    def free(prompt: Any) -> Any:
        return prompt

    assert free("anything") == "anything"
    assert order('{"count": "2", "name": "tea"}') == '{"name":"tea","count":2}'
    assert order({"name": "tea"}) == {"name": "tea", "count": 0}
    assert order(Item(name="tea")) == Item(name="tea")
    with pytest.raises(InputRejected):
        order({"name": SECRET, SECRET: 1})
    assert events[-1].code == "input.schema"
    assert SECRET not in repr(events[-1])


def test_a_guard_in_shadow_mode_changes_and_refuses_nothing():
    @SchemaGuard(output=Item, shadow=True)
    def ask(prompt: str) -> str:
        return prompt

    assert ask("no") == "no"
    assert ask('so {"name": "tea"}') == 'so {"name": "tea"}'


def test_the_answer_inside_messages_of_providers_and_langchain_is_checked():
    @SchemaGuard(output=Item)
    def ask(answer: Any) -> Any:
        return answer

    text, clean = 'so {"name": "tea"}', '{"name":"tea","count":0}'
    assert ask(AIMessage(content=text)).content == clean
    message = {"role": "assistant", "content": text}
    assert ask({"choices": [{"index": 0, "message": message}]})["choices"][0]["message"]["content"] == clean
    for bad in (AIMessage(content="no"), AIMessage(content=""), {"role": "assistant", "content": "no"}):
        with pytest.raises(OutputBlocked):
            ask(bad)
    calls = AIMessage(content="I look.", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    assert ask(calls) == calls


def test_a_model_that_looks_like_a_message_is_still_checked_by_its_schema():
    class Said(BaseModel):
        role: str
        content: str = Field(max_length=3)

    @SchemaGuard(output=Said)
    def ask(prompt: Any) -> Any:
        return prompt

    assert ask({"role": "x", "content": "abc"}) == {"role": "x", "content": "abc"}
    with pytest.raises(OutputBlocked):
        ask({"role": "x", "content": "abcd"})


def test_streamed_chunks_of_a_provider_are_held_back_and_checked():
    @SchemaGuard(output=Item)
    def ask(prompt: str):
        for piece in ('{"name"', ': "tea"}'):
            yield {"choices": [{"index": 0, "delta": {"content": piece}}]}

    contents = [chunk["choices"][0]["delta"]["content"] for chunk in ask("?")]
    assert contents == ["", "", '{"name":"tea","count":0}']


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content", "thinking"])
def test_what_a_model_thinks_before_it_answers_passes_as_it_comes(key: str):
    @SchemaGuard(output=Item)
    def ask(answer: str):
        for delta in ({key: "Let me "}, {key: "see."}, {"content": answer[:4]}, {"content": answer[4:]}):
            yield {"choices": [{"index": 0, "delta": delta}]}

    deltas = [chunk["choices"][0]["delta"] for chunk in ask('{"name": "tea"}')]
    assert [delta[key] for delta in deltas if key in delta] == ["Let me ", "see."]
    assert deltas[-1]["content"] == '{"name":"tea","count":0}'
    with pytest.raises(OutputBlocked):
        list(ask("tea, I think"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"output": Item, "attempts": 0},
        {"output": Item, "on_invalid": "guess"},
        {"input": Item, "extra": "some"},
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(options):
    with pytest.raises(ValueError):
        SchemaGuard(**options)


def test_a_validator_that_fails_otherwise_lets_nothing_through():
    class Broken(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def fail(cls, x: int) -> int:
            raise KeyError(SECRET)

    @validated(input=Broken)
    def ask(prompt: Any) -> str:
        return "never"

    from aisecure import Unavailable

    with pytest.raises(Unavailable) as caught:
        ask({"x": 1})
    assert SECRET not in str(caught.value)
