"""The guard: inputs, outputs and streams, and originals that come back to their own call only."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aisecure.detect import RedactGuard, Redactor, Settings, build
from aisecure.detect import guards as guards_module
from aisecure.errors import Misconfigured
from aisecure.testing import capture_events, memory_ports

MAIL = "ada@example.org"


def test_the_function_sees_labels_and_so_does_the_caller() -> None:
    seen: list[str] = []

    @RedactGuard()
    def ask(prompt: str) -> str:
        seen.append(prompt)
        return "Call +44 20 7946 0958."

    assert ask(f"I am {MAIL}") == "Call [PHONE]."
    assert seen == ["I am [EMAIL]"]


def test_message_lists_are_redacted_inside_and_keep_their_shape() -> None:
    seen: list[Any] = []

    @RedactGuard(output=False)
    def ask(messages: list[dict[str, Any]]) -> None:
        seen.append(messages)

    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": MAIL}, {"type": "image_url", "image_url": "data:x"}],
        }
    ]
    ask(messages)
    assert seen[0][0]["content"][0]["text"] == "[EMAIL]"
    assert seen[0][0]["content"][1] == messages[0]["content"][1]  # type: ignore[index]
    assert messages[0]["content"][0]["text"] == MAIL  # type: ignore[index]


def test_findings_reach_the_event_with_their_path_and_without_text() -> None:
    with capture_events() as events:

        def ask(messages: list[dict[str, str]]) -> str:
            return "ok"

        RedactGuard().decorate(events=events)(ask)([{"role": "user", "content": f"at {MAIL}"}])
    (finding,) = events[-1].findings
    assert (finding.kind, finding.start, finding.end) == ("pii.email", 3, 3 + len(MAIL))
    assert finding.path.endswith("/0/content")
    assert MAIL not in repr(events[-1].to_dict())


def test_what_the_model_says_of_a_placeholder_comes_back_as_the_original() -> None:
    seen: list[str] = []

    @RedactGuard(restore=True)
    def ask(prompt: str) -> str:
        seen.append(prompt)
        return f"I wrote to [EMAIL_1] and eve@example.net. {prompt}"

    assert ask(f"write to {MAIL}") == f"I wrote to {MAIL} and [EMAIL]. write to {MAIL}"
    assert seen == ["write to [EMAIL_1]"]


def test_a_stream_is_restored_also_when_placeholders_are_cut() -> None:
    @RedactGuard(restore=True)
    def ask(prompt: str) -> Iterator[str]:
        yield from f"Dear [EMAIL_1], see {prompt}; or eve@example.net, [EMAIL_2]."

    assert "".join(ask(MAIL)) == f"Dear {MAIL}, see {MAIL}; or [EMAIL], [EMAIL_2]."


def test_asynchronous_functions_and_streams_are_guarded_alike() -> None:
    guard = RedactGuard(restore=True)

    @guard
    async def ask(prompt: str) -> str:
        return f"re: {prompt}"

    @guard
    async def tell(prompt: str) -> AsyncIterator[str]:
        for character in f"re: {prompt}":
            yield character

    async def both() -> tuple[str, str]:
        return await ask(MAIL), "".join([piece async for piece in tell(MAIL)])

    assert asyncio.run(both()) == (f"re: {MAIL}", f"re: {MAIL}")
    assert not guard._held


def test_a_placeholder_that_the_caller_wrote_stays_what_it_was() -> None:
    @RedactGuard(restore=True)
    def ask(prompt: str) -> str:
        return prompt

    assert ask(f"[EMAIL_1] is not {MAIL}") == f"[EMAIL_1] is not {MAIL}"


def test_no_call_gets_the_originals_of_another() -> None:
    guard = RedactGuard(restore=True)
    inside = threading.Barrier(2)
    answers: dict[str, str] = {}

    @guard
    def ask(prompt: str) -> str:
        inside.wait(5)
        return "[EMAIL_1]"

    def caller(address: str) -> None:
        answers[address] = ask(address)

    threads = [threading.Thread(target=caller, args=(f"u{number}@example.org",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {"u0@example.org": "u0@example.org", "u1@example.org": "u1@example.org"}


def test_a_nested_call_has_originals_of_its_own() -> None:
    guard = RedactGuard(restore=True)

    @guard
    def inner(prompt: str) -> str:
        return "[EMAIL_1]"

    @guard
    def outer(prompt: str) -> str:
        return inner("eve@example.net") + " [EMAIL_1]"

    # The inner answer is an output of the outer function, and is redacted as such.
    assert outer(MAIL) == f"[EMAIL] {MAIL}"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_originals_are_forgotten_when_the_call_ends_however_it_ends(error: type[BaseException]) -> None:
    guard = RedactGuard(restore=True)

    @guard
    def ask(prompt: str) -> str:
        assert len(guard._held) == 1
        raise error

    with pytest.raises(error):
        ask(MAIL)
    assert not guard._held


def test_a_stream_that_the_reader_leaves_forgets_its_originals() -> None:
    guard = RedactGuard(restore=True)

    @guard
    def ask(prompt: str) -> Iterator[str]:
        while True:
            yield "again "

    stream = ask(MAIL)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not guard._held


def test_held_calls_are_bounded_and_the_oldest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards_module, "MAX_CALLS", 1)
    guard = RedactGuard(restore=True)

    @guard
    def inner(prompt: str) -> str:
        return "[EMAIL_1]"

    @guard
    def outer(prompt: str) -> str:
        inner("eve@example.net")
        return "[EMAIL_1]"

    assert outer(MAIL) == "[EMAIL_1]"


def test_values_are_escaped_inside_the_json_of_a_tool_call() -> None:
    key = "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIE" * 20 + "\n-----END " + "PRIVATE KEY-----"

    @RedactGuard(restore=True)
    def ask(prompt: str) -> dict[str, Any]:
        return {"type": "function_call", "name": "store", "arguments": json.dumps({"note": prompt})}

    assert json.loads(ask(f"keep {key}")["arguments"]) == {"note": f"keep {key}"}


def test_shadow_mode_changes_nothing() -> None:
    @RedactGuard(shadow=True)
    def ask(prompt: str) -> str:
        return prompt

    assert ask(MAIL) == MAIL


def test_input_and_output_may_be_left_alone() -> None:
    def echo(prompt: str) -> str:
        assert MAIL in prompt
        return prompt

    assert RedactGuard(input=False)(echo)(MAIL) == "[EMAIL]"
    assert RedactGuard(input=False, output=False)(echo)(MAIL) == MAIL


@pytest.mark.parametrize(
    ("redactor", "options"),
    [(Redactor(), {}), (Redactor(reversible=True), {"input": False})],
    ids=["plain", "no input"],
)
def test_restoring_needs_placeholders(redactor: Redactor, options: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="reversible"):
        RedactGuard(redactor, restore=True, **options)  # type: ignore[arg-type]


def test_settings_make_the_guard_they_describe(tmp_path: Path) -> None:
    ports = memory_ports(tmp_path)
    (guard,) = build(
        Settings(types={"pii.email"}, styles={"pii.email": "drop"}, allow={"b@example.org"}), ports
    )  # type: ignore[arg-type]

    def echo(prompt: str) -> str:
        return prompt

    assert guard(echo)(f"{MAIL}|b@example.org|192.0.2.7") == "|b@example.org|192.0.2.7"
    assert build(Settings(input=False, output=False), ports) == ()
    (restoring,) = build(Settings(restore=True), ports)
    assert restoring(echo)(MAIL) == MAIL


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"types": ["pii.shoe_size"]}, "types"),
        ({"types": []}, "types"),
        ({"styles": {"pii.shoe_size": "drop"}}, "styles"),
        ({"restore": True, "style": "mask"}, "style"),
        ({"restore": True, "input": False}, "input"),
        ({"restore": True, "input": False, "output": False}, "restore"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused_with_their_key(
    settings: dict[str, Any], key: str, tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match=key):
        build(Settings(**settings), memory_ports(tmp_path))


@pytest.mark.parametrize("settings", [{"tpyes": []}, {"style": "paint"}, {"threshold": 2}], ids=str)
def test_misspelt_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**settings)


def test_the_key_of_a_value_says_what_it_is() -> None:
    seen = []

    @RedactGuard()
    def ask(form: dict[str, object]) -> str:
        seen.append(form)
        return "ok"

    ask({"ssn": "536904399", "order_id": "536904399", "people": [{"passportNumber": ["123456789"]}]})
    assert seen == [
        {"ssn": "[US_SSN]", "order_id": "536904399", "people": [{"passportNumber": ["[US_PASSPORT]"]}]}
    ]


ARGUMENTS = json.dumps({"to": "[EMAIL_1]", "text": 'Say "hi" to bob@example.org', "é": [1, None]})


def openai_chunk(text: str) -> dict[str, object]:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "send", "arguments": text}}
    return {
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}],
    }


def openai_text(chunk: dict) -> str:  # type: ignore[type-arg]
    return "".join(
        call["function"].get("arguments") or ""
        for choice in chunk.get("choices", ())
        for call in choice["delta"].get("tool_calls", ())
    )


def anthropic_chunk(text: str) -> dict[str, object]:
    return {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": text},
    }


def anthropic_text(chunk: dict) -> str:  # type: ignore[type-arg]
    return str(chunk.get("delta", {}).get("partial_json", ""))


@pytest.mark.parametrize(
    ("make", "read"),
    [(openai_chunk, openai_text), (anthropic_chunk, anthropic_text)],
    ids=["openai", "anthropic"],
)
@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_the_arguments_of_a_streamed_tool_call_stay_json(make, read, size: int) -> None:  # type: ignore[no-untyped-def]
    @RedactGuard(restore=True)
    def ask(prompt: str):  # type: ignore[no-untyped-def]
        for at in range(0, len(ARGUMENTS), size):
            yield make(ARGUMENTS[at : at + size])

    joined = "".join(map(read, ask('I am "Ada" <ada@example.org>')))
    assert json.loads(joined) == {"to": "ada@example.org", "text": 'Say "hi" to [EMAIL]', "é": [1, None]}


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_a_key_says_what_a_value_is_in_streamed_arguments_as_in_whole_ones(size: int) -> None:
    arguments = json.dumps({"medical_record_number": "4471203", "count": "4471203"})

    @RedactGuard()
    def stream(prompt: str) -> Iterator[dict[str, object]]:
        for at in range(0, len(arguments), size):
            yield openai_chunk(arguments[at : at + size])

    @RedactGuard()
    def whole(prompt: str) -> dict[str, object]:
        return {"type": "function_call", "name": "store", "arguments": arguments}

    wanted = {"medical_record_number": "[MEDICAL_RECORD_NUMBER]", "count": "4471203"}
    assert json.loads("".join(map(openai_text, stream("x")))) == wanted
    assert json.loads(str(whole("x")["arguments"])) == wanted


def test_settings_choose_countries_and_leave_kinds_out(tmp_path: Path) -> None:
    ports = memory_ports(tmp_path)
    (guard,) = build(
        Settings(countries=frozenset({"US"}), exclude=frozenset({"pii.phone"}), spelled_out=True), ports
    )
    text = "NINO AB123456C, SSN 536-90-4399, +44 20 7946 0958, ada (at) example (dot) org"
    assert isinstance(guard, RedactGuard)
    assert guard.redactor.redact(text).text == "NINO AB123456C, SSN [US_SSN], +44 20 7946 0958, [EMAIL]"
    for wrong in ({"countries": frozenset({"XX"})}, {"exclude": frozenset({"pii.none"})}):
        with pytest.raises(Misconfigured, match="detect"):
            build(Settings(**wrong), ports)
