"""The guard that lets only pinned models be called, and only pinned models answer."""

from __future__ import annotations

from typing import Any

from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.events import Result, SecurityEvent
from aisecure.guard import Ending, Guard
from aisecure.models.pins import ModelPins
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.reply import read_reply

__all__ = ["ModelPinGuard"]

_PREFIX = "model:"
_LONGEST_SHOWN = 200


class ModelPinGuard(Guard):
    """Refuses calls to models that the lock file does not have, and answers of others than it names.

    It concerns itself with resources ``model:<name>`` alone. The bytes of a local model are verified at its first call,
    and again when its file changed. An answer or chunk that names a model must name an accepted one; an answer that
    names none passes, since many say nothing.

    Args:
        pins: The lock file.
        events: Where ``model.drift`` events go.
        clock: Time, for tests.
        options: As for `aisecure.guard.Guard`.

    >>> guard = ModelPinGuard(ModelPins.from_text('''
    ... version = 1
    ... [models.bot]
    ... provider = "openai"
    ... id = "gpt-4.1-2025-04-14"
    ... '''))
    >>> @guard.decorate("model:bot")
    ... def ask(prompt: str) -> dict[str, str]:
    ...     return {"model": "gpt-4.1-2025-04-14", "text": "hi"}
    >>> ask("hello")["text"]
    'hi'
    """

    name = "models"

    def __init__(
        self,
        pins: ModelPins,
        *,
        events: EventSink = discard,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**{"on": "model:*", **options})
        if not isinstance(pins, ModelPins):
            raise TypeError("pins is a ModelPins")
        self.pins = pins
        self._events = events
        self._clock = clock or SystemClock()
        # Calls whose drift was told: in shadow mode a stream goes on, and every chunk names the model.
        self._told: set[str] = set()

    def before(self, call: Call) -> Decision | None:
        """Decide whether the model may be called."""
        if not call.resource.startswith(_PREFIX):
            return None
        name = call.resource[len(_PREFIX) :]
        decision = self.pins.decide(name)
        if decision.allowed and self.pins[name].is_local:
            verified = self.pins.verify_file(name)
            return decision if verified.allowed else verified
        return decision

    def after(self, call: Call, output: Any) -> Decision | None:
        """Decide whether the answer came from the pinned model."""
        return self._check(call, output)

    def observe(self, call: Call, chunk: Any) -> Decision | None:
        """Decide whether a chunk came from the pinned model."""
        return self._check(call, chunk)

    def settle(self, call: Call, ending: Ending) -> None:
        """Forget the call."""
        self._told.discard(call.id)

    def health(self) -> dict[str, Any]:
        """Return how many models are pinned."""
        return {"ok": True, "models": len(self.pins)}

    def _check(self, call: Call, output: Any) -> Decision | None:
        if not call.resource.startswith(_PREFIX):
            return None
        reply = read_reply(output)
        if reply is None or not (reply.model or reply.fingerprint):
            return None
        name = call.resource[len(_PREFIX) :]
        decision = self.pins.check_response(name, reply.model, reply.fingerprint)
        if decision.code == "model.drift":
            self._tell(call, decision, name, reply.model, reply.fingerprint)
        return None if decision.allowed else decision

    def _tell(self, call: Call, decision: Decision, name: str, model: str, fingerprint: str) -> None:
        if call.id in self._told:
            return
        self._told.add(call.id)
        pin = self.pins[name]
        seen = model if not pin.accepts(model) or not fingerprint else f"{model} {fingerprint}"
        event = SecurityEvent.about(
            call,
            "model.drift",
            time=self._clock.time(),
            result=Result.FAILURE,
            code=decision.code,
            reasons=decision.reasons,
            detail={"pinned": pin.id or pin.digest, "seen": seen[:_LONGEST_SHOWN]},
        )
        self._events.record(event)
