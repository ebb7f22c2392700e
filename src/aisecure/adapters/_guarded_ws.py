"""A WebSocket: known before it is accepted, and on a mapped path every message a call.

Each message that arrives is the input of a call, and each message that leaves before the next one arrives is an
output of it. What is refused is answered with ``{"error": problem}`` and the connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from aisecure._flow import Passage, adrive, decision_of
from aisecure.adapters._answer import Message, Receive, Send
from aisecure.adapters._form import FORM, too_large
from aisecure.adapters._problems import body_of, close_code, headers_of, status_of
from aisecure.errors import AISecureError

__all__ = ["Socket", "refuse_handshake"]


class Socket:
    """One connection between server and application.

    Args:
        receive: From the server.
        send: To the server.
        can_answer: Whether the server offers ``websocket.http.response``, an HTTP answer instead of a bare 403.
        request_id: For problem documents.
        passages: Makes the passage of one message's value.
        mapped: Whether messages are calls on this path.
        max_bytes: Limit of one message.
        headers: Returns those of a refused handshake.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        can_answer: bool,
        request_id: str,
        passages: Callable[[Any], Passage],
        mapped: bool,
        max_bytes: int,
        headers: Callable[[AISecureError], Iterable[tuple[str, str]]],
    ) -> None:
        self._receive = receive
        self._send = send
        self._can_answer = can_answer
        self._request_id = request_id
        self._passages = passages
        self._mapped = mapped
        self._max_bytes = max_bytes
        self._headers = headers
        self._passage: Passage | None = None
        self._accepted = False
        self._closed = False
        self._answered = False

    async def receive(self) -> Message:
        """Return the next message for the application, after the guards let it in."""
        if self._is_over():
            return {"type": "websocket.disconnect", "code": 1008}
        message = await self._receive()
        if self._is_over():  # refused from another task while this one waited
            return {"type": "websocket.disconnect", "code": 1008}
        try:
            if message["type"] == "websocket.disconnect":
                self.end()
            elif message["type"] == "websocket.receive" and self._mapped:
                self.end(complete=True)
                return await self._enter(message)
        except AISecureError as err:
            await self.refuse(err)
            return {"type": "websocket.disconnect", "code": close_code(err)}
        return message

    async def send(self, message: Message) -> None:
        """Send what the application says, after the guards let it out."""
        if self._closed:
            return
        if message["type"] == "websocket.accept":
            self._accepted = True
        elif message["type"] == "websocket.send" and self._mapped:
            try:
                message = await self._leave(message)
            except AISecureError as err:
                await self.refuse(err)
                return
        elif message["type"] == "websocket.close":
            self._closed = True
        await self._send(message)

    async def refuse(self, err: AISecureError) -> None:
        """End the connection with an error, in the form that its state allows."""
        if self._closed:
            return
        self._closed = True
        if self._accepted:
            body = body_of(err, self._request_id)
            text = b'{"error":' + body + b"}"
            await self._send({"type": "websocket.send", "text": text.decode()})
            await self._send({"type": "websocket.close", "code": close_code(err)})
        else:
            await refuse_handshake(
                self._send, err, self._request_id, can_answer=self._can_answer, headers=self._headers
            )

    def end(self, err: BaseException | None = None, *, complete: bool = False) -> None:
        """End the call of the last message, if there is one.

        Raises:
            Unavailable: Its event could not be recorded.
        """
        passage, self._passage = self._passage, None
        if passage is None:
            return
        if err is not None:
            passage.fail(err)
        elif complete or self._answered:
            passage.succeed()
        passage.close()

    def _is_over(self) -> bool:
        return self._closed

    async def _enter(self, message: Message) -> Message:
        text, data = message.get("text"), message.get("bytes")
        value, is_json = _value(text) if text is not None else (data, False)
        passage = self._passages(value)
        try:
            if _size(text, data) > self._max_bytes:
                passage.judge(FORM, decision_of(too_large(self._max_bytes)))
            call = await adrive(passage.enter())
        except BaseException as err:
            passage.fail(err)
            passage.close()
            raise
        self._passage, self._answered = passage, False
        return message if call.input is value else _message("websocket.receive", call.input, is_json=is_json)

    async def _leave(self, message: Message) -> Message:
        passage = self._passage
        if passage is None:
            # Said before anything was asked: a call without input, so that it too must be permitted.
            passage = self._passage = self._passages(None)
            self._answered = False
            try:
                await adrive(passage.enter())
            except BaseException as err:
                self.end(err)
                raise
        text = message.get("text")
        value, is_json = _value(text) if text is not None else (message.get("bytes"), False)
        try:
            output = await adrive(passage.leave(value))
        except BaseException as err:
            self.end(err)
            raise
        self._answered = True
        return message if output is value else _message("websocket.send", output, is_json=is_json)


async def refuse_handshake(
    send: Send,
    err: AISecureError,
    request_id: str,
    *,
    can_answer: bool,
    headers: Callable[[AISecureError], Iterable[tuple[str, str]]] = headers_of,
) -> None:
    """Refuse a WebSocket that is not accepted yet; a server that offers no answer makes a bare 403 of it."""
    if not can_answer:
        await send({"type": "websocket.close", "code": close_code(err)})
        return
    lines = [(name.encode(), value.encode()) for name, value in headers(err)]
    lines.append((b"x-request-id", request_id.encode()))
    await send({"type": "websocket.http.response.start", "status": status_of(err), "headers": lines})
    await send({"type": "websocket.http.response.body", "body": body_of(err, request_id)})


def _size(text: str | None, data: bytes | None) -> int:
    return len(data or b"") if text is None else len(text.encode("utf-8", "replace"))


def _value(text: str) -> tuple[Any, bool]:
    """Return the JSON object or array that a message is, or its text."""
    if text[:1] in ("{", "["):
        try:
            return orjson.loads(text), True
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            pass
    return text, False


def _message(kind: str, value: Any, *, is_json: bool) -> Message:
    if isinstance(value, bytes | bytearray):
        return {"type": kind, "bytes": bytes(value)}
    text = orjson.dumps(value).decode() if is_json or not isinstance(value, str) else value
    return {"type": kind, "text": text}
