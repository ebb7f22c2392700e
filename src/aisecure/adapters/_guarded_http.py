"""An HTTP request as one call: its body is the input, its response the output."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from aisecure._flow import Passage, adrive, decision_of
from aisecure._pace import Pacer, Watch
from aisecure._stream import Gate
from aisecure.adapters._answer import Message, Outlet, Receive, Send, header
from aisecure.adapters._bodies import decode, encode, is_json, is_text, media_type
from aisecure.adapters._form import FORM, too_large
from aisecure.adapters._wire import Codec, codec_for
from aisecure.errors import AISecureError, Denied, InputRejected, OutputBlocked

__all__ = ["BLIND", "App", "plain", "read_body", "replay", "resized", "serve"]

App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

#: Ways of sending that leave the body where no guard sees it.
BLIND = frozenset({"http.response.pathsend", "http.response.zerocopysend", "http.response.push"})


async def read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """Return the whole body, or None if the client went away first.

    Raises:
        InputRejected: It is too large; no more than the limit and one piece were held.
    """
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > max_bytes:
            raise too_large(max_bytes)
        if not message.get("more_body", False):
            return b"".join(pieces)


async def serve(
    app: App,
    scope: MutableMapping[str, Any],
    receive: Receive,
    answer: Outlet,
    passage: Passage,
    content_type: str,
    max_bytes: int,
) -> None:
    """Run the application as the protected function of a passage."""
    output = _Output(passage, answer, max_bytes)
    try:
        kind = media_type(content_type)
        try:
            body = await read_body(receive, max_bytes)
            if body is None:
                return
            value = decode(body, kind)
        except InputRejected as err:
            passage.judge(FORM, decision_of(err))  # raises
            raise
        passage.call = passage.call.with_input(value)
        call = await adrive(passage.enter())
        if call.input is not value:
            body = _encoded(passage, call.input, kind)
            scope = resized(scope, len(body))
        await output.run(app(plain(scope), replay(body, receive), output.send))
        output.require()
    except BaseException as err:
        passage.fail(output.refusal or err)
        output.require()  # the application may have made something else of it
        raise
    finally:
        output.note_findings()
        passage.close()


def _encoded(passage: Passage, value: Any, kind: str) -> bytes:
    try:
        return encode(value, kind)
    except (ValueError, TypeError) as err:
        raise passage.broken(FORM, err) from err


def resized(scope: MutableMapping[str, Any], size: int) -> MutableMapping[str, Any]:
    """Return the scope with another length of the body, where it states one."""
    headers = [
        (name, str(size).encode() if name == b"content-length" else value) for name, value in scope["headers"]
    ]
    return {**scope, "headers": headers}


def plain(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return the scope without what would make the application compress its answer or send it unseen."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
    extensions = {k: v for k, v in (scope.get("extensions") or {}).items() if k not in BLIND}
    return {**scope, "headers": headers, "extensions": extensions}


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a body which was read already."""
    told = False

    async def told_again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return told_again


class _Output:
    """Takes the application's response through the guards: JSON and texts of known length whole, others as they come."""

    def __init__(self, passage: Passage, answer: Outlet, max_bytes: int) -> None:
        self._passage = passage
        self._answer = answer
        self._max_bytes = max_bytes
        self._kind = ""
        self._pieces: list[bytes] | None = None
        self._size = 0
        self._codec: Codec | None = None
        self._gate: Gate | None = None
        self._pacer: Pacer | None = None
        self._watch: Watch | None = None
        #: Kept here as well as raised: the application may catch what its ``send`` raises.
        self.refusal: AISecureError | None = None

    async def run(self, application: Awaitable[None]) -> None:
        """Run the application, and interrupt it when its stream is late and a guard wants that.

        Raises:
            Denied: A stream was late.
        """
        if not self._passage.plan.pace:
            await application
            return
        self._watch = Watch()
        try:
            async with self._watch:
                await application
        except Denied as err:
            self.refusal = self.refusal or err
            raise

    async def send(self, message: Message) -> None:
        if self.refusal is not None:
            return
        try:
            if message["type"] == "http.response.start":
                await self._head(message)
            elif message["type"] == "http.response.body":
                await self._body(message.get("body", b""), message.get("more_body", False))
            else:
                await self._other(message)
        except OutputBlocked as err:
            self.refusal = err
            if err.decision is None:  # a check of this adapter, not of a guard
                try:
                    self._passage.judge(FORM, decision_of(err))
                except Denied as judged:
                    self.refusal = judged
            raise self.refusal from None
        except AISecureError as err:
            self.refusal = err
            raise

    def note_findings(self) -> None:
        """Hand the findings of a stream to the event, once."""
        if self._gate is not None:
            self._gate.note_findings()
            self._gate = None

    def require(self) -> None:
        """Return if nothing was refused.

        Raises:
            AISecureError: What was.
        """
        if self.refusal is not None:
            raise self.refusal

    async def _other(self, message: Message) -> None:
        if message["type"] in BLIND:
            raise OutputBlocked("The answer cannot be checked in this form.", code="output.form")
        await self._answer.send(message)

    async def _head(self, message: Message) -> None:
        headers = list(message.get("headers", ()))
        if header(headers, b"content-encoding").lower() not in (b"", b"identity"):
            raise OutputBlocked("The answer is compressed, so it cannot be checked.", code="output.encoding")
        self._kind = media_type(header(headers, b"content-type").decode("latin-1"))
        readable = is_text(self._kind)
        if is_json(self._kind) or (readable and header(headers, b"content-length")):
            self._pieces = []
        else:
            self._gate = Gate(self._passage)
            if readable and not self._gate.transparent:
                self._codec = codec_for(self._kind, self._gate)
        if self._pieces is not None or self._codec is not None:
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        await self._answer.send({**message, "headers": headers})
        if self._gate is not None and self._watch is not None:
            self._pacer = Pacer.of(self._passage)
            if self._pacer is not None:
                self._watch.wait(self._pacer, silent=True)

    async def _body(self, data: bytes, more: bool) -> None:  # noqa: FBT001  (the message's own field)
        if self._pieces is not None:
            self._pieces.append(data)
            self._size += len(data)
            if self._size > self._max_bytes:
                raise OutputBlocked("The answer is too large to be checked.", code="output.too_large")
            if not more:
                await self._finish_whole(b"".join(self._pieces))
            return
        if self._pacer is not None and self._watch is not None:
            if data:
                self._pacer.came(data)
            if not more:
                self._watch.rest()
                await self._piece(data, more)
                return
            self._watch.wait(self._pacer, silent=False)
            await self._piece(data, more)
            self._watch.wait(self._pacer, silent=True)
            return
        await self._piece(data, more)

    async def _piece(self, data: bytes, more: bool) -> None:  # noqa: FBT001  (as above)
        """Take a piece of a stream through the gate and send what may go on."""
        if self._codec is not None:
            data = self._codec.feed(bytes(data)) + (b"" if more else self._codec.finish())
        elif self._gate is not None and data:
            self._gate.count()
        if more:
            if data:
                await self._answer.send({"type": "http.response.body", "body": data, "more_body": True})
            return
        if data:
            await self._answer.send({"type": "http.response.body", "body": data, "more_body": True})
        self._settle()
        await self._answer.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _finish_whole(self, raw: bytes) -> None:
        value: Any = None
        if is_json(self._kind) and raw:
            try:
                value = orjson.loads(raw)
            except orjson.JSONDecodeError:
                raise OutputBlocked("The answer is not valid JSON.", code="output.json") from None
        elif raw:
            value = raw.decode("utf-8", "surrogateescape")
        output = await adrive(self._passage.leave(value))
        if output is not value:
            try:
                raw = encode(output, self._kind)
            except (ValueError, TypeError) as err:
                raise OutputBlocked("The answer cannot be encoded.", code="output.encoding") from err
        self._settle()
        self._answer.resize(len(raw))
        await self._answer.send({"type": "http.response.body", "body": raw, "more_body": False})

    def _settle(self) -> None:
        """Record before the last byte leaves: an output that leaves no evidence does not leave."""
        self.note_findings()
        self._passage.succeed()
        self._passage.close()
