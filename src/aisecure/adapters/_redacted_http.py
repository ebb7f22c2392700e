"""Redaction of bodies over ASGI: the request before the application sees it, the response after the guards."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

from aisecure.adapters._answer import Answer, Message, Receive, header
from aisecure.adapters._guarded_http import BLIND, plain, read_body, replay, resized
from aisecure.adapters._redaction import OF_BYTES, UNWANTED, Redacting, Redaction
from aisecure.errors import AISecureError, OutputBlocked

__all__ = ["RedactedAnswer", "redacted_request"]

Scope = MutableMapping[str, Any]

_UNWANTED = frozenset(name.encode() for name in UNWANTED)
#: Bytes that are redacted before others on the same loop have their turn: about 20 ms.
_TURN = 1 << 14
_OF_BYTES = frozenset(name.encode() for name in OF_BYTES)


async def redacted_request(
    redaction: Redaction, scope: Scope, receive: Receive, max_bytes: int
) -> tuple[Scope, Receive] | None:
    """Return scope and ``receive`` for the application, or None if the client went away.

    Raises:
        Denied: The body is too large, or cannot be read.
        Unavailable: It could not be redacted.
    """
    if redaction.rule.responses:
        scope = plain(scope)
        scope["headers"] = [line for line in scope["headers"] if line[0] not in _UNWANTED]
    redacting = redaction.request(
        header(scope["headers"], b"content-type").decode("latin-1"),
        header(scope["headers"], b"content-encoding").decode("latin-1"),
    )
    if redacting is None:
        return scope, receive
    body = await read_body(receive, max_bytes)
    if body is None:
        return None
    new = await _whole(redacting, body)
    if len(new) != len(body):
        scope = resized(scope, len(new))
    return scope, replay(new, receive)


class RedactedAnswer:
    """Stands before an `Answer`: what is sent to it is redacted, unless it is an error of ours."""

    def __init__(self, answer: Answer, redaction: Redaction, method: str) -> None:
        self._answer = answer
        self._redaction = redaction
        self._method = method
        self._redacting: Redacting | None = None
        self._begun = False

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if self._answer.refusal is not None:
            return
        try:
            await self._take(message)
        except AISecureError as err:
            # Kept as well as raised: the application may catch what its ``send`` raises.
            self._answer.refusal = err
            raise

    def resize(self, size: int) -> None:
        """Set the length of the body in a head that is still held back; what is redacted has another one."""
        if self._redacting is None:
            self._answer.resize(size)

    def close(self) -> None:
        """Record what was found in a response that did not come to its end."""
        if self._redacting is not None:
            self._redacting.close()

    async def _take(self, message: Message) -> None:
        if message["type"] in BLIND and self._redaction.rule.responses:
            raise self._redaction.ended(
                "response", OutputBlocked("The answer cannot be checked in this form.", code="output.form")
            )
        if message["type"] == "http.response.start":
            message = self._head(message)
        elif message["type"] == "http.response.body" and self._redacting is not None:
            data, more = message.get("body", b""), message.get("more_body", False)
            whole = not (self._begun or more)
            self._begun = True
            if whole:
                data = await _whole(self._redacting, data)
                self._answer.resize(len(data))
            else:
                data = await _fed(self._redacting, data)
                if not more:
                    data += self._redacting.finish()
                elif not data:
                    return
            message = {**message, "body": data}
        await self._answer.send(message)

    def _head(self, message: Message) -> Message:
        headers = list(message.get("headers", ()))
        self._redacting = self._redaction.response(
            self._method,
            message["status"],
            header(headers, b"content-type").decode("latin-1"),
            header(headers, b"content-encoding").decode("latin-1"),
        )
        if self._redacting is None:
            return message
        return {
            **message, "headers": [line for line in headers if line[0].lower() not in _OF_BYTES],
        }  # fmt: skip


async def _whole(redacting: Redacting, data: bytes) -> bytes:
    """Do as `Redacting.whole`, in turns with others."""
    new = await _fed(redacting, data) + redacting.finish()
    return new if redacting.changed else data


async def _fed(redacting: Redacting, data: bytes) -> bytes:
    """Do as `Redacting.feed`, in turns with others."""
    out = []
    for start in range(0, len(data), _TURN):
        if start:
            await _give_way()
        out.append(redacting.feed(data[start : start + _TURN]))
    return b"".join(out)


async def _give_way() -> None:
    events = sys.modules.get("asyncio.events")  # nobody runs a loop before somebody imported it
    if events is not None and events._get_running_loop() is not None:  # noqa: SLF001  (documented for loop implementers)
        import asyncio

        await asyncio.sleep(0)
