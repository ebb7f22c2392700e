"""The response of one HTTP request over ASGI, and the one place that knows whether it has begun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, Protocol

from aisecure.adapters._bodies import media_type
from aisecure.adapters._challenges import Challenges
from aisecure.adapters._problems import PLAIN, body_of, frame, headers_of, status_of
from aisecure.adapters._ratelimit_headers import ratelimit_headers
from aisecure.errors import AISecureError
from aisecure.standing import Standing

__all__ = ["Answer", "Message", "Outlet", "Receive", "Send", "header"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """Return the first value of a response header, or nothing; applications may write its name in any case."""
    return next((value for key, value in headers if key.lower() == name), b"")


class Outlet(Protocol):
    """Takes a response."""

    def send(self, message: Message) -> Awaitable[None]:
        """Take a message of the application."""

    def resize(self, size: int) -> None:
        """Set the length of the body, of which nothing was sent yet."""


class Answer:
    """Forwards a response and can end it with an error.

    The head is held back until the first body message, which leaves at once like every other: until then a
    refusal can still be a status. So a stream that a guard refuses before its first chunk is a 403, not a 200.
    """

    __slots__ = (
        "_authorization", "_challenges", "_head", "_held", "_request_id", "_send", "_tail", "complete", "refusal", "standings", "started",
    )  # fmt: skip

    def __init__(
        self,
        send: Send,
        request_id: str,
        challenges: Challenges = PLAIN,
        authorization: Sequence[str] = (),
    ) -> None:
        self._send = send
        self._request_id = request_id
        self._challenges = challenges
        self._authorization = authorization
        self._head: Message = {}
        self._held = False
        self._tail = b""
        self.started = False
        self.complete = False
        #: What is left of the limits that were asked, for the head; None where it is not to be told.
        self.standings: list[Standing] | None = None
        #: Set when something was refused that the application may not hear of, or may answer in its own way.
        self.refusal: AISecureError | None = None

    def send(self, message: Message) -> Awaitable[None]:
        """Take a message of the application."""
        # No coroutine of its own for the chunks of a stream: each would be one more to wake.
        if self.started and message["type"] == "http.response.body":
            self._tail = message.get("body") or self._tail
            self.complete = not message.get("more_body", False)
            return self._send(message)
        return self._other(message)

    async def _other(self, message: Message) -> None:
        if self.started:
            await self._send(message)
        elif self.refusal is not None:
            return
        elif message["type"] == "http.response.start":
            self._head, self._held = message, True
        elif self._held:
            await self.begin()
            await self.send(message)
        else:
            await self._send(message)

    async def begin(self) -> None:
        """Send the head, if one is held back."""
        if not self._held:
            return
        self._held, self.started = False, True
        headers = [*self._head.get("headers", ())]
        if self._request_id and not header(headers, b"x-request-id"):
            headers.append((b"x-request-id", self._request_id.encode()))
        if self.standings:
            told = ratelimit_headers(self.standings, header(headers, b"retry-after").decode("latin-1"))
            headers += [(name.encode(), value.encode()) for name, value in told]
        await self._send({**self._head, "headers": headers})

    def resize(self, size: int) -> None:
        """Set the length of the body in a head that is still held back."""
        headers = [*self._head.get("headers", ()), (b"content-length", str(size).encode())]
        self._head = {**self._head, "headers": headers}

    async def fail(self, err: AISecureError) -> bool:
        """End the response with an error; False if nothing that a reader would understand can be sent any more."""
        if not self.started:
            self._held = False
            body = body_of(err, self._request_id)
            lines = list(headers_of(err, self._challenges, self._authorization))
            lines += ratelimit_headers(self.standings or (), dict(lines).get("retry-after", ""))
            headers = [(name.encode(), value.encode()) for name, value in lines]
            headers += [
                (b"content-length", str(len(body)).encode()),
                (b"x-request-id", self._request_id.encode()),
            ]
            self.started = self.complete = True
            await self._send({"type": "http.response.start", "status": status_of(err), "headers": headers})
            await self._send({"type": "http.response.body", "body": body})
            return True
        headers = self._head.get("headers", ())
        if self.complete or header(headers, b"content-length") or header(headers, b"content-encoding"):
            return False
        kind = media_type(header(headers, b"content-type").decode("latin-1"))
        ending = frame(err, self._request_id, kind, bytes(self._tail))
        if ending is None:
            return False
        self.complete = True
        await self._send({"type": "http.response.body", "body": ending, "more_body": False})
        return True
