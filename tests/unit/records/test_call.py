"""Calls, credentials, and the context in which code runs on somebody's behalf."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import suppress

import pytest

from aisecure import Call, Principal
from aisecure.call import Context, Credential, acting_as, current_context

ADA, BOB = Principal("ada"), Principal("bob")


def test_without_a_context_nobody_is_calling() -> None:
    assert contextvars.Context().run(current_context) == Context()
    assert Context().principal.is_anonymous


def test_the_context_ends_with_its_block_also_when_the_block_raises() -> None:
    before = current_context()
    with suppress(RuntimeError), acting_as(ADA):
        assert current_context().principal is ADA
        raise RuntimeError
    assert current_context() is before


def test_an_inner_principal_keeps_the_request_it_belongs_to() -> None:
    with (
        acting_as(ADA, source="192.0.2.1", conversation="c-1", trace="00-ab-cd-01") as outer,
        acting_as(BOB) as inner,
    ):
        assert inner == Context(BOB, "192.0.2.1", outer.request_id, "c-1", "00-ab-cd-01")


def test_what_is_given_replaces_what_would_be_inherited() -> None:
    with (
        acting_as(ADA, request_id="r-1", source="192.0.2.1"),
        acting_as(BOB, request_id="r-2", source="") as inner,
    ):
        assert (inner.request_id, inner.source) == ("r-2", "")


def test_a_request_id_is_made_when_there_is_none_and_differs_each_time() -> None:
    ids = set()
    for _ in range(100):
        with acting_as(ADA) as context:
            ids.add(context.request_id)
    assert len(ids) == 100
    assert all(len(bytes.fromhex(request_id)) == 16 for request_id in ids)


def test_concurrent_tasks_do_not_see_each_other() -> None:
    async def act(principal: Principal) -> bool:
        with acting_as(principal):
            await asyncio.sleep(0)
            return current_context().principal is principal

    async def both() -> list[bool]:
        return await asyncio.gather(*(act(Principal(f"u-{number}")) for number in range(20)))

    assert all(asyncio.run(both()))


def test_a_new_thread_starts_as_nobody() -> None:
    seen: list[Context] = []
    with acting_as(ADA):
        thread = threading.Thread(target=lambda: seen.append(current_context()))
        thread.start()
        thread.join()
    assert seen[0].principal.is_anonymous


@pytest.mark.parametrize("principal", ["ada", None, {"id": "ada"}], ids=str)
def test_acting_as_takes_a_principal_only(principal: object) -> None:
    with pytest.raises(TypeError), acting_as(principal):  # type: ignore[arg-type]
        pytest.fail("the block ran")


def test_the_repr_of_a_call_shows_neither_input_nor_source_nor_credential() -> None:
    call = Call(
        ADA, "invoke", "model:m", "my card is 4111", "192.0.2.1", credential=Credential("bearer", "s3cret")
    )
    assert not [text for text in ("4111", "192.0.2.1", "s3cret", "ada") if text in repr(call)]
    assert "s3cret" not in repr(call.credential)


def test_an_established_principal_consumes_the_credential() -> None:
    call = Call(Principal.anonymous(), "invoke", "model:m", credential=Credential("bearer", "s3cret"))
    known = call.with_principal(ADA)
    assert (known.principal, known.credential) == (ADA, None)
    assert call.credential is not None


def test_another_input_leaves_the_first_call_as_it_was() -> None:
    call = Call(ADA, "invoke", "model:m", "one")
    assert call.with_input("two").input == "two"
    assert call.input == "one"
