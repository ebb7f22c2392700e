"""The shield as its users hold it: context, parts, health, closing, and what it prints."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from aisecure import Principal, Shield, protect
from aisecure.call import current_context
from aisecure.errors import Misconfigured
from aisecure.guard import Guard
from aisecure.testing import CapturedEvents


class Named(Guard):
    def __init__(self, name, **options):
        super().__init__(name=name, **options)
        self.closed = 0

    def close(self):
        self.closed += 1


class Ill(Guard):
    name = "ill"

    def health(self):
        raise OSError("/secret")


def test_the_context_is_set_inside_and_restored_after_also_by_an_error():
    shield = Shield()
    with shield.acting_as(Principal("a"), request_id="r"):
        with pytest.raises(KeyError), shield.acting_as(Principal("b")) as context:
            assert (context.principal.id, context.request_id, current_context()) == ("b", "r", context)
            raise KeyError
        assert current_context().principal.id == "a"
    assert current_context().principal.is_anonymous


def test_tasks_inherit_the_context_and_threads_do_not():
    seen = []

    async def look():
        seen.append(current_context().principal.id)

    async def main():
        with Shield().acting_as(Principal("a")):
            await asyncio.gather(
                look(), asyncio.to_thread(lambda: seen.append(current_context().principal.id))
            )
            thread = threading.Thread(target=lambda: seen.append(current_context().principal.id))
            thread.start()
            thread.join()

    contextvars.copy_context().run(asyncio.run, main())
    assert sorted(seen) == ["", "a", "a"]


@pytest.mark.parametrize("who", ["ana", None, {"id": "ana"}])
def test_only_a_principal_acts(who):
    with pytest.raises(TypeError), Shield().acting_as(who):
        pass


def test_parts_are_found_by_type():
    events = CapturedEvents()
    guard = Named("n")
    shield = Shield(guard, sinks=[events])
    assert shield.part(Named) is guard
    assert shield.part(CapturedEvents) is events
    assert (shield.guards, shield.sinks) == ((guard,), (events,))
    with pytest.raises(LookupError, match="Ill"):
        shield.part(Ill)


def test_health_answers_also_when_a_part_is_broken_and_tells_no_secret():
    health = Shield(Named("n", shadow=True), Ill()).health()
    assert health == {
        "ok": False,
        "guards": {"n": {"ok": True, "shadow": True}, "ill": {"ok": False, "error_type": "OSError"}},
    }


def test_closing_closes_every_guard():
    guards = [Named("a"), Named("b")]
    with Shield(*guards):
        pass
    assert [guard.closed for guard in guards] == [1, 1]


def test_a_shield_without_a_file_cannot_be_reloaded():
    with pytest.raises(Misconfigured) as caught:
        Shield().reload()
    assert caught.value.code == "config.reload"


def test_its_repr_names_the_guards():
    assert repr(Shield(Named("a"), Named("b", shadow=True))) == "Shield(a, b (shadow))"


def test_an_empty_shield_lets_everything_pass_and_records_it():
    events = CapturedEvents()
    assert protect(events=events, resource="model:m")(lambda prompt: prompt)("x") == "x"
    assert events.only("call.allowed").resource == "model:m"
