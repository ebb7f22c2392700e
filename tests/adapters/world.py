"""What every adapter's test app is built from: a shield of small guards, and a bot with protected functions."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from aisecure import Principal, Shield
from aisecure.call import Call, current_context
from aisecure.content import rewrite
from aisecure.decisions import Decision, Finding
from aisecure.errors import AuthenticationError, OutputBlocked
from aisecure.guard import Changed, Ending, Guard, Verdict
from aisecure.testing import CapturedEvents

ANA, GUS = "key-of-ana-7f3a", "key-of-gus-91bc"
#: Planted where they must not come out again.
MARKERS = (ANA, GUS, "wrong-key-5e5e", "ada@example.org", "hunter2-in-the-store")


class Keys(Guard):
    """Knows two keys."""

    name = "keys"
    _KNOWN = {ANA: ("ana", "member"), GUS: ("gus", "guest")}  # noqa: RUF012

    def identify(self, call: Call) -> Verdict:
        if call.credential is None:
            if call.principal.is_anonymous:
                raise AuthenticationError
            return None
        known = self._KNOWN.get(call.credential.value)
        if known is None:
            raise AuthenticationError
        return Changed(call.with_principal(Principal(known[0], roles=[known[1]], method="api_key")))


class Roles(Guard):
    """Guests may use only what is called public."""

    name = "roles"

    def before(self, call: Call) -> Verdict:
        if "member" in call.principal.roles or call.resource == "model:public":
            return None
        return Decision.deny("access.denied")


class Limit(Guard):
    """Two calls of model:limited, ever."""

    name = "limit"

    def __init__(self) -> None:
        super().__init__(on=["model:limited", "tool:limited"])
        self.left = 2
        self._lock = threading.Lock()

    def before(self, call: Call) -> Verdict:
        with self._lock:
            self.left -= 1
            return None if self.left >= 0 else Decision.deny("quota.exceeded", retry_after=1.5)


class Down(Guard):
    """A check whose store is gone."""

    name = "down"

    def __init__(self) -> None:
        super().__init__(on=["model:down", "tool:down"])

    def before(self, call: Call) -> Verdict:
        raise OSError("cannot reach the store, password hunter2-in-the-store")


class Literal:
    """Replaces one literal, and refuses another; holds back exactly what may still become one of them."""

    def __init__(self, needle: str, label: str, forbidden: str) -> None:
        self._needle, self._label, self._forbidden = needle, label, forbidden
        self._held = ""
        self._seen: list[Finding] = []

    def feed(self, chunk: str) -> str:
        self._held += chunk
        if self._forbidden in self._held:
            raise OutputBlocked("A forbidden word.", code="output.word")
        while self._needle in self._held:
            self._held = self._held.replace(self._needle, self._label, 1)
            self._seen.append(Finding("pii.email", 0, 1, detector="literal"))
        keep = max(
            size
            for word in (self._needle, self._forbidden)
            for size in range(len(word))
            if self._held.endswith(word[:size])
        )
        cut = len(self._held) - keep
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def finish(self) -> str:
        out, self._held = self._held, ""
        return out

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._seen)


class Redact(Guard):
    """Hides one address on the way in and out, and ends an answer that says FORBIDDEN."""

    name = "redact"

    def _change(self, value: Any) -> tuple[Any, tuple[Finding, ...]]:
        findings: list[Finding] = []

        def change(part: Any) -> str:
            filter_ = self.stream(None)
            text = filter_.feed(part.text) + filter_.finish()
            findings.extend(filter_.findings)
            return text

        return rewrite(value, change), tuple(findings)

    def before(self, call: Call) -> Verdict:
        value, findings = self._change(call.input)
        return Changed(call.with_input(value), findings) if findings else None

    def after(self, call: Call, output: Any) -> Verdict:
        value, findings = self._change(output)
        return Changed(value, findings) if findings else None

    def stream(self, call: Any) -> Any:
        return Literal("ada@example.org", "<EMAIL>", "FORBIDDEN")


class Settled(Guard):
    """Counts how calls ended."""

    name = "settled"

    def __init__(self) -> None:
        super().__init__()
        self.endings: list[str] = []

    def before(self, call: Call) -> Verdict:
        return None

    def settle(self, call: Call, ending: Ending) -> None:
        self.endings.append(ending.type)


@dataclass
class World:
    """One shield with everything it leaves behind."""

    events: CapturedEvents = field(default_factory=CapturedEvents)
    settled: Settled = field(default_factory=Settled)
    heard: list[str] = field(default_factory=list)
    #: Lets an endless stream go on; tests end with it set.
    go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.ended = threading.Event()
        guards = (Keys(), self.settled, Roles(), Limit(), Down(), Redact())
        self.shield = Shield(*guards, sinks=[self.events])

    def answer(self, text: str) -> str:
        """What the bot says: who asked, and what it heard."""
        self.heard.append(text)
        if text == "crash":
            raise ZeroDivisionError
        # Said only on the way out, so that the guard on the way in has nothing to object to.
        text = text.replace("say-the-word", "say-FORBIDDEN")
        who = current_context().principal.id
        return f"{who}: {text} write to ada@example.org"

    def pieces(self, text: str) -> Iterator[str]:
        """The same in pieces of five characters, so that what is looked for is always cut."""
        whole = self.answer(text)
        for start in range(0, len(whole), 5):
            yield whole[start : start + 5]


class Bot:
    """Functions a framework's routes call; one of each kind, so that the matrix is covered across adapters."""

    def __init__(self, world: World) -> None:
        protect = world.shield.protect

        @protect("{resource}", prompt="text")
        def ask(resource: str, text: str) -> str:
            return world.answer(text)

        @protect("{resource}", prompt="text")
        async def aask(resource: str, text: str) -> str:
            return world.answer(text)

        @protect("{resource}", prompt="text")
        def stream(resource: str, text: str) -> Iterator[str]:
            try:
                yield from world.pieces(text)
                while text == "endless":
                    world.go.wait(0.01)
                    yield "more "
            finally:
                world.ended.set()

        @protect("{resource}", prompt="text")
        async def astream(resource: str, text: str) -> AsyncIterator[str]:
            try:
                for piece in world.pieces(text):
                    yield piece
                    await asyncio.sleep(0)
                while text == "endless":
                    await asyncio.sleep(0.01)
                    yield "more "
            finally:
                world.ended.set()

        self.ask, self.aask, self.stream, self.astream = ask, aask, stream, astream


def framed(text: str, form: str) -> str:
    """One piece of text in the form of a stream."""
    if form == "sse":
        return f"data: {json.dumps({'delta': {'content': text}})}\n\n"
    if form == "ndjson":
        return json.dumps({"text": text}) + "\n"
    return text


TYPES = {
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
    "text": "text/plain",
    "binary": "application/octet-stream",
}
