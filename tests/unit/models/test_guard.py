from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from aisecure import Shield
from aisecure.call import Call
from aisecure.errors import Misconfigured, ModelNotPinned, Unavailable
from aisecure.events import SecurityEvent
from aisecure.models import ModelPinGuard, ModelPins, Settings, build, lock_entry_for_file
from aisecure.notices import LocalNotices
from aisecure.ports import Ports
from aisecure.principal import Principal
from aisecure.storage import Storage

ID = "gpt-4.1-2025-04-14"
LOCK = f'version = 1\n[models.bot]\nprovider = "openai"\nid = "{ID}"\n'


class Kept:
    def __init__(self) -> None:
        self.events: list[SecurityEvent] = []

    def record(self, event: SecurityEvent) -> None:
        self.events.append(event)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def guard(kept: Kept) -> ModelPinGuard:
    return ModelPinGuard(ModelPins.from_text(LOCK), events=kept)


def drifts(kept: Kept) -> list[SecurityEvent]:
    return [event for event in kept.events if event.type == "model.drift"]


def test_a_pinned_model_answers(guard: ModelPinGuard, kept: Kept) -> None:
    @guard.decorate("model:bot")
    def ask(prompt: str) -> dict[str, str]:
        return {"model": ID, "text": prompt}

    assert ask("hi") == {"model": ID, "text": "hi"}
    assert kept.events == []


@pytest.mark.parametrize(
    "resource", ["model:other", "model:", "model:BOT", "model:bot ", "model:bot/../other"]
)
def test_a_model_without_entry_is_never_called(guard: ModelPinGuard, resource: str) -> None:
    called: list[str] = []
    ask = guard.decorate(resource)(called.append)
    with pytest.raises(ModelNotPinned) as caught:
        ask("hi")
    assert caught.value.code == "model.not_pinned"
    assert called == []


@pytest.mark.parametrize("resource", ["tool:mail", "document:5", "models:bot", "function:f"])
def test_other_resources_are_not_its_concern(guard: ModelPinGuard, resource: str) -> None:
    assert guard.decorate(resource)(lambda prompt: {"model": "any"})("hi") == {"model": "any"}


def test_an_answer_of_another_model_is_withheld_and_recorded(guard: ModelPinGuard, kept: Kept) -> None:
    shield = Shield(guard, sinks=[kept])

    @shield.protect("model:bot")
    def ask(prompt: str) -> dict[str, str]:
        return {"model": "gpt-4o-2024-08-06", "text": "hi"}

    with shield.acting_as(Principal("u-1", tenant="acme")), pytest.raises(ModelNotPinned) as caught:
        ask("hi")
    assert caught.value.code == "model.drift"
    (event,) = drifts(kept)
    assert dict(event.detail) == {"pinned": ID, "seen": "gpt-4o-2024-08-06"}
    assert (event.tenant, event.resource, event.code) == ("acme", "model:bot", "model.drift")
    assert [event.type for event in kept.events] == ["model.drift", "call.blocked"]


@pytest.mark.parametrize(
    "output", ["hi", None, b"hi", {"text": "hi"}, {"model": ""}, {"model": None}, 5, ["model"], {"model": 5}]
)
def test_an_answer_that_names_no_model_passes(guard: ModelPinGuard, output: Any) -> None:
    assert guard.decorate("model:bot")(lambda prompt: output)("hi") == output


def chunks(*models: str) -> Iterator[dict[str, str]]:
    for model in models:
        yield {"model": model, "delta": "x"} if model else {"delta": "x"}


def test_a_stream_is_cut_at_the_first_chunk_of_another_model(guard: ModelPinGuard, kept: Kept) -> None:
    @guard.decorate("model:bot")
    def ask(prompt: str) -> Iterator[dict[str, str]]:
        yield from chunks(ID, "", ID, "other", ID)

    answer = ask("hi")
    assert len(list(islice(answer, 3))) == 3
    with pytest.raises(ModelNotPinned):
        next(answer)
    assert len(drifts(kept)) == 1


def test_an_asynchronous_stream_is_cut_alike(guard: ModelPinGuard) -> None:
    @guard.decorate("model:bot")
    async def ask(prompt: str) -> AsyncIterator[dict[str, str]]:
        for chunk in chunks(ID, "other"):
            yield chunk

    async def read() -> None:
        answer = ask("hi")
        assert await anext(answer) == {"model": ID, "delta": "x"}
        with pytest.raises(ModelNotPinned):
            await anext(answer)

    asyncio.run(read())


def test_in_shadow_mode_a_drifting_stream_passes_and_is_told_once(kept: Kept) -> None:
    guard = ModelPinGuard(ModelPins.from_text(LOCK), events=kept, shadow=True)
    shield = Shield(guard, sinks=[kept])

    @shield.protect("model:bot")
    def ask(prompt: str) -> Iterator[dict[str, str]]:
        yield from chunks("other", "other", "other")

    with shield.acting_as(Principal("u-1")):
        assert len(list(ask("hi"))) == 3
    assert len(drifts(kept)) == 1
    assert guard._told == set()


def test_a_long_foreign_name_is_cut_in_the_event(guard: ModelPinGuard, kept: Kept) -> None:
    guard.after(Call(Principal("u"), "invoke", "model:bot"), {"model": "x" * 1_000_000})
    assert len(drifts(kept)[0].detail["seen"]) == 200


def test_a_foreign_fingerprint_is_drift(kept: Kept) -> None:
    guard = ModelPinGuard(ModelPins.from_text(LOCK + 'fingerprints = ["fp_1"]'), events=kept)
    call = Call(Principal("u"), "invoke", "model:bot")
    assert guard.after(call, {"model": ID, "system_fingerprint": "fp_1"}) is None
    decision = guard.after(call, {"model": ID, "system_fingerprint": "fp_2"})
    assert decision is not None
    assert decision.code == "model.drift"
    assert drifts(kept)[0].detail["seen"] == f"{ID} fp_2"


def test_a_local_model_is_verified_at_its_calls(tmp_path: Path) -> None:
    model = tmp_path / "bot.gguf"
    model.write_bytes(b"weights")
    guard = ModelPinGuard(ModelPins.from_text("version = 1\n" + lock_entry_for_file(model)))
    ask = guard.decorate("model:bot")(lambda prompt: "hi")
    assert ask("hi") == "hi"
    model.write_bytes(b"Weights")
    with pytest.raises(ModelNotPinned) as caught:
        ask("hi")
    assert caught.value.code == "model.changed"
    assert str(tmp_path) not in caught.value.detail
    model.unlink()
    with pytest.raises(ModelNotPinned):
        ask("hi")
    model.symlink_to(model)
    with pytest.raises(Unavailable):
        ask("hi")


@pytest.fixture
def ports(tmp_path: Path, kept: Kept) -> Ports:
    return Ports(tmp_path, tmp_path, lambda: Storage(":memory:"), LocalNotices(), events=kept)


def test_without_a_lock_file_there_is_no_guard(ports: Ports) -> None:
    assert build(Settings(), ports) == ()


def test_a_lock_file_beside_the_configuration_is_found(ports: Ports, kept: Kept) -> None:
    (ports.base_dir / "models.lock").write_text(LOCK)
    (guard,) = build(Settings(), ports)
    assert isinstance(guard, ModelPinGuard)
    assert guard.health() == {"ok": True, "models": 1}
    guard.after(Call(Principal("u"), "invoke", "model:bot"), {"model": "other"})
    assert len(drifts(kept)) == 1


def test_a_lock_file_that_was_asked_for_must_be_there(ports: Ports) -> None:
    with pytest.raises(Misconfigured, match=r"pins/models\.toml: No such file"):
        build(Settings.model_validate({"lock": "pins/models.toml"}), ports)


def test_a_dangling_link_is_not_taken_for_no_lock_file(ports: Ports) -> None:
    (ports.base_dir / "models.lock").symlink_to("nowhere")
    with pytest.raises(Misconfigured):
        build(Settings(), ports)


def test_the_guard_takes_pins_only() -> None:
    with pytest.raises(TypeError):
        ModelPinGuard({"bot": ID})  # type: ignore[arg-type]
