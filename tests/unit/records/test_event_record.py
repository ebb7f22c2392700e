"""The event record: checked against its table, flat, JSON-ready; and its UUIDv7."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.decisions import Finding
from aisecure.events import EVENT_TYPES, Result, SecurityEvent, Usage, uuid7


def test_an_unlisted_type_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match=r"unlisted event type 'call\.maybe'"):
        SecurityEvent("call.maybe")


def test_an_unlisted_detail_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="no detail named \\['prompt'\\]"):
        SecurityEvent("call.denied", detail={"guard": "access", "prompt": "hello"})


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_an_event_of_every_type_takes_its_details_and_is_json(name: str) -> None:
    event = SecurityEvent(name, detail=dict.fromkeys(EVENT_TYPES[name].details, 1))
    data = json.loads(json.dumps(event.to_dict()))
    assert data["type"] == name
    assert data["severity"] == EVENT_TYPES[name].severity.value
    assert uuid.UUID(data["id"]).version == 7


def test_a_full_event_has_the_names_of_the_conventions() -> None:
    event = SecurityEvent(
        "call.denied", time=1.5, id="e-1", result=Result.FAILURE, principal="u", tenant="t", action="invoke",
        resource="model:m", source="192.0.2.1", request_id="r", conversation="c", trace="00-1-2-01", code="quota.exceeded",
        reasons=("Wait.",), findings=(Finding("pii.email", 0, 3),), model="m-1", usage=Usage(7, 2), latency_ms=1.235,
        detail={"guard": "quota"},
    )  # fmt: skip
    assert event.to_dict() == {
        "id": "e-1", "result": "failure", "severity": "medium", "time": 1.5, "type": "call.denied", "principal": "u",
        "tenant": "t", "action": "invoke", "resource": "model:m", "source": "192.0.2.1", "request_id": "r",
        "conversation": "c", "trace": "00-1-2-01", "code": "quota.exceeded", "reasons": ["Wait."],
        "findings": [{"kind": "pii.email", "start": 0, "end": 3, "score": 1.0, "detector": "", "path": ""}],
        "gen_ai.response.model": "m-1", "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2,
        "latency_ms": 1.235, "detail": {"guard": "quota"},
    }  # fmt: skip


def test_an_empty_event_has_only_what_every_event_has() -> None:
    assert set(SecurityEvent("log.genesis").to_dict()) == {"id", "result", "severity", "time", "type"}


@given(st.floats(0, 2**48 / 1000 - 1))
def test_a_uuid7_holds_its_milliseconds_version_and_variant(unix_seconds: float) -> None:
    value = uuid.UUID(uuid7(unix_seconds))
    assert value.int >> 80 == int(unix_seconds * 1000)
    assert value.version == 7
    assert value.variant == uuid.RFC_4122


def test_the_published_example_of_rfc_9562_has_the_same_time_field() -> None:
    # RFC 9562 appendix A.6: Tuesday, February 22, 2022 2:22:22.00 PM GMT-05:00 is 017F22E2-79B0-7...
    assert uuid7(1645557742.0).upper().startswith("017F22E2-79B0-7")


@given(st.floats(0, 1e11), st.floats(0, 1e11))
def test_uuid7_order_is_the_order_of_time(one: float, other: float) -> None:
    if int(one * 1000) < int(other * 1000):
        assert uuid7(one) < uuid7(other)


def test_uuid7_does_not_repeat_within_a_millisecond() -> None:
    assert len({uuid7(1.0) for _ in range(10_000)}) == 10_000


def test_the_id_of_an_event_carries_the_time_of_the_event() -> None:
    assert uuid.UUID(SecurityEvent("log.genesis", time=12.5).id).int >> 80 == 12_500
