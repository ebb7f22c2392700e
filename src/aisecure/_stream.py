"""Streams on their way out: text filters over chunks of any shape, with one gate and two short drivers."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from functools import partial
from inspect import isawaitable
from typing import Any

from aisecure._flow import Flow, Passage, adrive, decision_of, drive
from aisecure._json_place import JsonPlace
from aisecure._json_text import JsonText
from aisecure._pace import Pacer
from aisecure.call import Call
from aisecure.content import Part, rewrite
from aisecure.errors import Denied
from aisecure.guard import Guard
from aisecure.ports import TextFilter

__all__ = ["Gate", "alate", "astream", "is_stream", "late", "stream"]


#: What a chunk says once for the whole stream, and how it says nothing; readers add these up.
_TOTALS: dict[str, Any] = {
    "chunk_position": None,
    "response_metadata": {},
    "usage": None,
    "usage_metadata": None,
}


def is_stream(output: Any) -> bool:
    """Whether an output is to be guarded chunk by chunk: an iterator, sync or async, that is not a file."""
    kind = type(output)
    return (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and not hasattr(kind, "read")


class Gate:
    """What stands between a source of chunks and its reader; it does no I/O.

    Each text inside the chunks (each choice, each tool call) has its own chain of filters, named by its path.
    """

    __slots__ = ("_bare", "_chains", "_decoder", "_guards", "_last", "_observers", "_passage", "free")

    def __init__(self, passage: Passage) -> None:
        plan = passage.plan
        self._passage = passage
        resource = passage.call.resource
        self._observers = tuple(guard for guard in plan.observe if guard.applies(resource))
        self._guards = tuple(guard for guard in plan.stream if guard.applies(resource))
        self._chains: dict[str, list[tuple[Guard, TextFilter]]] = {}
        self._decoder: codecs.IncrementalDecoder | None = None
        self._last: dict[str, Any] = {}
        first = self._bare = self._chain()
        if first:
            self._chains[""] = first
        else:
            self._guards = ()
        #: Types of chunks that may pass by this gate: where nobody filters text, bare text costs nothing.
        self.free: tuple[type, ...] = () if first else (str, bytes)
        passage.chunks = 0

    @property
    def transparent(self) -> bool:
        """Whether no guard wants to see anything of this stream, nor what it says of its tokens."""
        if self._guards or self._observers:
            return False
        passage = self._passage
        return not any(
            guard.reads_usage and guard.applies(passage.call.resource) for guard in passage.plan.settle
        )

    def count(self, passed: int = 1) -> None:
        """Take note of chunks that passed by."""
        self._passage.chunks = (self._passage.chunks or 0) + passed

    def feed(self, chunk: Any) -> Iterable[Any]:
        """Take a chunk from the source; return what may go on to the reader.

        Raises:
            Denied: The stream must end here.
            Unavailable: A guard could not run.
        """
        self.count()
        kind = type(chunk)
        if kind is not str and kind is not bytes:
            self._passage.note_reply(chunk)
            for guard in self._observers:
                self._observe(guard, chunk)
        if not self._guards:
            return (chunk,)
        if isinstance(chunk, str) and not isinstance(chunk, Enum):
            text = self.filtered(str(chunk))
            return (text,) if text else ()
        if isinstance(chunk, bytes | bytearray | memoryview):
            # Bytes that are no UTF-8 go through unchanged, also when a character is cut by a chunk's edge.
            if self._decoder is None:
                self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
            text = self._push("", self._decoder.decode(bytes(chunk)))
            return (text.encode("utf-8", "surrogateescape"),) if text else ()
        return (self._rewrite(chunk),)

    def filtered(self, text: str, chain: list[tuple[Guard, TextFilter]] | None = None) -> str:
        """Return what may go on of a chunk that is bare text, or of a text with a chain of its own; it is not counted.

        Raises:
            Denied: The stream must end here.
            Unavailable: A guard could not run.
        """
        for guard, text_filter in self._bare if chain is None else chain:
            try:
                new = text_filter.feed(text)
            except Exception as err:  # noqa: BLE001  (as in `_run`)
                new = self._failed(guard, err, text)
            if not guard.shadow:
                text = new
        return text

    def finish(self) -> Iterable[Any]:
        """Say that the source ended; return what was held back.

        Raises:
            Denied: What was held back must not go out.
            Unavailable: A guard could not run.
        """
        out: list[Any] = []
        if self._decoder is not None:
            rest = self._push("", self._decoder.decode(b"", True)) + self._flush("")
            if rest:
                out.append(rest.encode("utf-8", "surrogateescape"))
        for path in self._chains:
            if not path and self._decoder is not None:
                continue
            rest = self._flush(path)
            if rest:
                template = self._last.get(path)
                out.append(rest if template is None else _only(template, path, rest))
        return out

    def note_findings(self) -> None:
        """Hand the filters' findings to the passage; call once, however the stream ended."""
        for path, chain in self._chains.items():
            for _, text_filter in chain:
                self._passage.note_findings(replace(finding, path=path) for finding in text_filter.findings)

    def _observe(self, guard: Guard, chunk: Any) -> None:
        try:
            decision = guard.observe(self._passage.call, chunk)
        except Denied as err:
            decision = decision_of(err)
        except Exception as err:  # noqa: BLE001  (whatever it is, the check did not run)
            self._passage.skip_or_raise(guard, err)
            return
        if decision is not None:
            self._passage.judge(guard, decision)

    def _rewrite(self, chunk: Any) -> Any:
        def change(part: Part) -> str:
            if part.text:
                self._last[part.path] = chunk
            return self._push(part.path, part.text, is_json="json" in part.labels)

        return rewrite(chunk, change, origin="model", chunk=True)

    def _push(self, path: str, text: str, *, is_json: bool = False) -> str:
        chain = self._chains.get(path)
        if chain is None:
            chain = self._chains[path] = self._chain(path, is_json=is_json)
        return self.filtered(text, chain)

    def _flush(self, path: str) -> str:
        rest = ""
        for guard, text_filter in self._chains.get(path, ()):
            rest = (self._run(guard, text_filter.feed, rest) if rest else "") + self._run(
                guard, text_filter.finish
            )
        return rest

    def _chain(self, path: str = "", *, is_json: bool = False) -> list[tuple[Guard, TextFilter]]:
        call = self._passage.call
        chain: list[tuple[Guard, TextFilter]] = []
        for guard in self._guards:
            try:
                text_filter = guard.stream_text(call, path) if path else guard.stream(call)
            except Denied as err:
                self._passage.judge(guard, decision_of(err))
            except Exception as err:  # noqa: BLE001  (whatever it is, the check did not run)
                self._passage.skip_or_raise(guard, err)
            else:
                if text_filter is not None:
                    chain.append((guard, JsonText(partial(_fresh, guard, call)) if is_json else text_filter))
        return chain

    def _run(self, guard: Guard, step: Callable[..., str], *args: str) -> str:
        """Run one step of a filter; a filter in shadow mode sees the text and changes nothing."""
        unchanged = args[0] if args else ""
        try:
            text = step(*args)
        except Exception as err:  # noqa: BLE001  (all are judged)
            return self._failed(guard, err, unchanged)
        return unchanged if guard.shadow else text

    def _failed(self, guard: Guard, err: Exception, unchanged: str) -> str:
        """Judge what a filter raised; return the text as it was where that lets it pass."""
        if isinstance(err, Denied):
            self._passage.judge(guard, decision_of(err))
        elif not guard.shadow:
            # Blocks whatever on_unavailable says: what the filter held back is lost with it.
            raise self._passage.broken(guard, err) from err
        return unchanged


def _fresh(guard: Guard, call: Call, place: JsonPlace) -> TextFilter:
    """Return another filter of a guard that has given one before."""
    text_filter = guard.stream_value(call, place.name)
    if text_filter is None:
        raise RuntimeError(f"{guard.name} filters some texts of a stream and not others")
    return text_filter


def _only(template: Any, path: str, text: str) -> Any:
    """Return a copy of a chunk in which one text is replaced, every other is empty, and no total is told again."""
    chunk = rewrite(template, lambda part: text if part.path == path else "", origin="model", chunk=True)
    if isinstance(chunk, Mapping):
        return {key: value for key, value in chunk.items() if key not in _TOTALS}
    if hasattr(chunk, "model_copy"):
        told = {name: empty for name, empty in _TOTALS.items() if getattr(chunk, name, None)}
        return chunk.model_copy(update=told) if told else chunk
    return chunk


def stream(passage: Passage, source: Iterator[Any]) -> Generator[Any, Any, None]:
    """Return a generator of the guarded chunks of a source that has been opened already.

    It is started up to its first chunk, so that closing or dropping it unread still settles and records.
    """
    chunks = _stream(passage, source, None)
    next(chunks)
    return chunks


def late(passage: Passage, opening: Flow[Iterator[Any]]) -> Generator[Any, Any, None]:
    """Return a generator of the guarded chunks of a source that is opened when the first is asked for."""
    return _stream(passage, None, opening)


def _stream(  # noqa: PLR0912  (one shape of chunk after the other)
    passage: Passage, source: Iterator[Any] | None, opening: Flow[Iterator[Any]] | None
) -> Generator[Any, Any, None]:
    gate = None
    passed = 0
    try:
        if opening is not None:
            source = drive(opening)
        gate = Gate(passage)
        pacer = Pacer.of(passage)
        if opening is None:
            yield None
        assert source is not None  # noqa: S101  (one of the two is given)
        free = gate.free
        for chunk in source if pacer is None else pacer.paced(source):
            if type(chunk) in free:
                passed += 1
                yield chunk
            elif type(chunk) is str:
                passed += 1
                text = gate.filtered(chunk)
                if text:
                    yield text
            else:
                for out in gate.feed(chunk):
                    yield out
        for out in gate.finish():
            yield out
        passage.succeed()
    except BaseException as err:
        passage.fail(err)
        raise
    finally:
        try:
            _close(source)
        finally:
            if gate is not None:
                gate.count(passed)
                gate.note_findings()
            passage.close()


def astream(passage: Passage, source: AsyncIterator[Any]) -> AsyncGenerator[Any, Any]:
    """Return an asynchronous generator of the guarded chunks, started as in `stream`."""
    chunks = _astream(passage, source, None)
    # Up to its first ``yield`` it waits for nothing, so that plain code can start it too.
    with suppress(StopIteration):
        chunks.asend(None).send(None)
    return chunks


def alate(passage: Passage, opening: Flow[AsyncIterator[Any]]) -> AsyncGenerator[Any, Any]:
    """Return an asynchronous generator as `late` does."""
    return _astream(passage, None, opening)


async def _astream(  # noqa: PLR0912  (as above)
    passage: Passage, source: AsyncIterator[Any] | None, opening: Flow[AsyncIterator[Any]] | None
) -> AsyncGenerator[Any, Any]:
    gate = None
    passed = 0
    try:
        if opening is not None:
            source = await adrive(opening)
        gate = Gate(passage)
        pacer = Pacer.of(passage)
        if opening is None:
            yield None
        assert source is not None  # noqa: S101  (one of the two is given)
        free = gate.free
        async for chunk in source if pacer is None else pacer.apaced(source):
            if type(chunk) in free:
                passed += 1
                yield chunk
            elif type(chunk) is str:
                passed += 1
                text = gate.filtered(chunk)
                if text:
                    yield text
            else:
                for out in gate.feed(chunk):
                    yield out
        for out in gate.finish():
            yield out
        passage.succeed()
    except BaseException as err:
        passage.fail(err)
        raise
    finally:
        try:
            await _aclose(source)
        finally:
            if gate is not None:
                gate.count(passed)
                gate.note_findings()
            passage.close()


def _close(source: Any) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()


async def _aclose(source: Any) -> None:
    # OpenAI's and Anthropic's streams call it ``close`` and have it awaited.
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    closing = close() if close is not None else None
    if isawaitable(closing):
        await closing
