"""One request and its response on their way through redaction, and what of that is recorded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from aisecure._flow import Passage, Plan, decision_of, drive, record
from aisecure.adapters._redact_bodies import RedactBodies, is_readable, is_utf8
from aisecure.adapters._redact_texts import BodyFilter, Found
from aisecure.call import Call
from aisecure.errors import AISecureError, Denied, InputRejected, OutputBlocked, Unavailable
from aisecure.events import SecurityEvent
from aisecure.guard import Guard
from aisecure.shield import Shield

__all__ = ["OF_BYTES", "UNWANTED", "Redacting", "Redaction"]

#: The adapter's own check, named in events like any guard.
_REDACT = Guard(name="redact")
#: What a request may not ask for: an answer that cannot be read, or a part of one, in which values may be cut.
UNWANTED = ("accept-encoding", "if-range", "range")
#: What a response says of its bytes, which are others now.
OF_BYTES = frozenset({"content-digest", "content-length", "content-md5", "digest", "repr-digest"})
#: Responses that have no body whatever their headers say.
_EMPTY = frozenset({204, 304})

Body = Literal["request", "response"]


class Redaction:
    """What becomes of one request's bodies.

    Args:
        rule: What is redacted.
        shield: Where events go.
        call: What the events are about.
    """

    def __init__(self, rule: RedactBodies, shield: Shield, call: Call) -> None:
        self.rule = rule
        self.call = call
        plan = shield.passage(call).plan
        self._plan = Plan.compile((), sinks=plan.sinks, clock=plan.clock)

    def request(self, content_type: str, encoding: str) -> Redacting | None:
        """Return what the request's body goes through, or None."""
        return self._body("request", content_type, encoding) if self.rule.requests else None

    def response(self, method: str, status: int, content_type: str, encoding: str) -> Redacting | None:
        """Return what the response's body goes through, or None."""
        if not self.rule.responses or method == "HEAD" or status in _EMPTY or status < 200:
            return None
        return self._body("response", content_type, encoding)

    def _body(self, body: Body, content_type: str, encoding: str) -> Redacting | None:
        found = Found()
        body_filter = self.rule.filter_for(content_type, found, streams=body == "response")
        if body_filter is None:
            return None
        return Redacting(self, body, content_type, encoding, body_filter, found)

    def record(self, body: Body, found: Found) -> None:
        """Record what was found in a body.

        Raises:
            Unavailable: It could not be recorded.
        """
        event = SecurityEvent.about(
            self.call,
            "content.redacted",
            time=self._plan.clock.time(),
            findings=tuple(found.first),
            detail={"body": body, "found": found.number},
        )
        failed = record(self._plan.sinks, event)
        if isinstance(failed, Unavailable):
            raise failed
        if failed is not None:
            raise Unavailable(
                f"The event could not be recorded ({type(failed).__name__}).", code="unavailable.events"
            ) from failed

    def ended(self, body: Body, err: Exception) -> AISecureError:
        """Record that a body may not go on; return the error to raise.

        Raises:
            Unavailable: It could not be recorded.
        """
        passage = Passage(self._plan, self.call)
        if body == "response":
            drive(passage.enter())  # so that it counts as withheld
        if isinstance(err, Denied):
            try:
                passage.judge(_REDACT, decision_of(err))
            except Denied as judged:
                ours: AISecureError = judged
        else:
            ours = passage.broken(_REDACT, err)
        passage.fail(ours)
        passage.close()
        return ours


class Redacting:
    """One body on its way. What it raises was recorded, and nothing may go on after that."""

    def __init__(
        self,
        redaction: Redaction,
        body: Body,
        content_type: str,
        encoding: str,
        body_filter: BodyFilter,
        found: Found,
    ) -> None:
        self._redaction = redaction
        self._body: Body = body
        self._content_type = content_type
        self._encoding = encoding.strip().lower()
        self._filter = body_filter
        self._found = found
        self._start = b""
        self._recorded = False

    def feed(self, data: bytes) -> bytes:
        """Take a piece, return what may go on.

        Raises:
            Denied: The body cannot be read.
            Unavailable: It could not be redacted.
        """
        if not data:
            return b""
        if len(self._start) < 4:
            self._start += bytes(data[:4])
            self._require_readable()
        return self._run(lambda: self._filter.feed(bytes(data)))

    def finish(self) -> bytes:
        """Return what was held back, after what was found is recorded.

        Raises:
            Denied: The rest cannot be read.
            Unavailable: It could not be redacted, or recorded.
        """
        rest = self._run(self._filter.finish)
        self._record()
        return rest

    def whole(self, data: bytes) -> bytes:
        """Return a body that came at once; it is the same when nothing was found, so that its signature stays true.

        Raises:
            Denied, Unavailable: As for `feed` and `finish`.
        """
        new = self.feed(data) + self.finish()
        return new if self.changed else data

    @property
    def changed(self) -> bool:
        """Whether anything was found."""
        return bool(self._found.number)

    def close(self) -> None:
        """Record what was found in a body that did not come to its end."""
        with suppress(Unavailable):  # the body is broken off already
            self._record()

    def _record(self) -> None:
        if not self._recorded:
            self._recorded = True
            if self._found.number:
                self._redaction.record(self._body, self._found)

    def _require_readable(self) -> None:
        compressed = self._encoding not in ("", "identity")
        if not compressed and is_readable(self._content_type) and is_utf8(self._content_type, self._start):
            return
        err: Denied
        if self._body == "response":
            why = "compressed" if compressed else "not UTF-8"
            err = OutputBlocked(f"The answer is {why}, so it cannot be checked.", code="output.encoding")
        elif compressed:
            err = InputRejected("The body is compressed, so it cannot be checked.", code="input.media_type")
        else:
            err = InputRejected("The body is not UTF-8, so it cannot be checked.", code="input.encoding")
        raise self._redaction.ended(self._body, err)

    def _run(self, step: Callable[[], bytes]) -> bytes:
        try:
            return step()
        except Exception as err:  # noqa: BLE001  (whatever it is, the body is not redacted)
            raise self._redaction.ended(self._body, err) from (None if isinstance(err, Denied) else err)
