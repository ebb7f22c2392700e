"""Streams end when they last, are silent or grow beyond their limits; their source is closed and every guard settles."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from aisecure.errors import QuotaExceeded, Unavailable
from aisecure.guard import Ending, Guard
from aisecure.quotas import StreamLimits
from aisecure.shield import Shield
from aisecure.testing import CapturedEvents, FrozenClock


class Settled(Guard):
    name = "settled"

    def __init__(self):
        super().__init__()
        self.endings: list[Ending] = []

    def before(self, call):
        return None

    def settle(self, call, ending):
        self.endings.append(ending)


class Source:
    """Gives chunks, moving a clock before each, and knows whether it was closed."""

    def __init__(self, clock, *steps):
        self.clock = clock
        self.steps = steps
        self.closed = False

    def plain(self):
        try:
            for seconds, chunk in self.steps:
                self.clock.advance(seconds)
                yield chunk
        finally:
            self.closed = True

    async def later(self):
        try:
            for seconds, chunk in self.steps:
                self.clock.advance(seconds)
                yield chunk
        finally:
            self.closed = True


class World:
    def __init__(self, **limits):
        self.clock = FrozenClock()
        self.events = CapturedEvents()
        self.settled = Settled()
        self.shield = Shield(StreamLimits(**limits), self.settled, sinks=[self.events], clock=self.clock)

    def run(self, *steps, pause=0):
        """Read a plain stream; return its chunks and the code that ended it."""
        source = Source(self.clock, *steps)
        out, code = [], ""
        try:
            for chunk in self.shield.protect("model:m")(source.plain)():
                out.append(chunk)
                self.clock.advance(pause)
        except QuotaExceeded as err:
            code = err.code
        assert source.closed
        return out, code

    def arun(self, *steps, pause=0):
        """As `run`, asynchronously."""
        source = Source(self.clock, *steps)

        async def read():
            out, code = [], ""
            try:
                async for chunk in self.shield.protect("model:m")(source.later)():
                    out.append(chunk)
                    self.clock.advance(pause)
            except QuotaExceeded as err:
                code = err.code
            return out, code

        read_ = asyncio.run(read())
        assert source.closed
        return read_


@pytest.fixture(params=["run", "arun"], ids=["plain", "asynchronous"])
def kind(request):
    return request.param


@pytest.mark.parametrize(
    ("limits", "steps", "out", "code"),
    [
        ({"max_seconds": 10}, [(5, "a"), (5, "b")], "ab", ""),
        ({"max_seconds": 10}, [(5, "a"), (5, "b"), (1, "c")], "ab", "quota.stream_seconds"),
        ({"max_seconds": 10}, [(11, "a")], "", "quota.stream_seconds"),
        ({"idle_seconds": 3}, [(3, "a"), (3, "b"), (3, "c")], "abc", ""),
        ({"idle_seconds": 3}, [(3, "a"), (4, "b")], "a", "quota.stream_idle"),
        ({"idle_seconds": 3}, [(4, "a")], "", "quota.stream_idle"),
        ({"max_chunks": 2}, [(0, "a"), (0, "b")], "ab", ""),
        ({"max_chunks": 2}, [(0, "a"), (0, "b"), (0, "c")], "ab", "quota.stream_size"),
        ({"max_bytes": 4}, [(0, "ä"), (0, "b"), (0, "c")], "äbc", ""),
        ({"max_bytes": 4}, [(0, "ä"), (0, "b"), (0, "ü")], "äb", "quota.stream_size"),
        ({"max_bytes": 4, "max_seconds": 1}, [(0, "a"), (2, "bcdef")], "a", "quota.stream_seconds"),
    ],
)  # fmt: skip
def test_a_stream_ends_at_its_limit(kind, limits, steps, out, code):
    world = World(**limits)
    assert getattr(world, kind)(*steps) == (list(out), code)
    ending = world.settled.endings.pop()
    assert world.settled.endings == []
    assert ending.type == ("call.blocked" if code else "call.allowed")
    assert ending.chunks == len(out)
    if code:
        assert world.events.only("call.blocked").code == code
        assert world.events.only("call.blocked").detail["guard"] == "stream_limits"


def test_the_time_of_the_reader_is_no_silence_but_counts_in_all(kind):
    assert getattr(World(idle_seconds=3), kind)((1, "a"), (1, "b"), pause=60) == (["a", "b"], "")
    assert getattr(World(max_seconds=50), kind)((1, "a"), (1, "b"), pause=60) == (
        ["a"],
        "quota.stream_seconds",
    )


@pytest.mark.parametrize(
    ("chunk", "size"),
    [
        ("ab", 2), (b"ab\xff", 3), (bytearray(3), 3), (memoryview(bytes(3)), 3), ({"text": "ab"}, 2), (["ab", "c"], 3), (None, 0), (object(), 0),
        ({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "ab"}}], "id": "long", "model": "m"}, 2),
    ],
)  # fmt: skip
def test_bytes_of_a_chunk_are_those_of_its_texts(chunk, size):
    steps = [(0, chunk)] * 10
    assert World(max_bytes=max(10 * size, 1)).run(*steps)[1] == ""
    if size:
        assert len(World(max_bytes=10 * size - 1).run(*steps)[0]) == 9


def test_each_stream_has_limits_of_its_own(kind):
    world = World(max_chunks=2, max_bytes=2, max_seconds=1)
    for _ in range(3):
        assert getattr(world, kind)((0, "a"), (0, "b")) == (["a", "b"], "")
        world.clock.advance(100)


def test_a_source_that_never_yields_is_interrupted_and_closed():
    world = World(idle_seconds=0.01)
    closed = False

    async def source():
        nonlocal closed
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            closed = True

    async def read():
        chunks = world.shield.protect("model:m")(source)()
        first = await anext(chunks)
        with pytest.raises(QuotaExceeded) as caught:
            await anext(chunks)
        return first, caught.value.code

    assert asyncio.run(read()) == ("a", "quota.stream_idle")
    assert closed
    assert [ending.type for ending in world.settled.endings] == ["call.blocked"]


def test_a_stream_that_was_opened_already_is_interrupted_too():
    async def hang():
        await asyncio.Event().wait()
        yield "never"

    @StreamLimits(max_seconds=0.01)
    async def opened():
        return hang()

    async def read():
        with pytest.raises(QuotaExceeded) as caught:
            async for _ in await opened():
                pass
        return caught.value.code

    assert asyncio.run(read()) == "quota.stream_seconds"


def test_a_source_that_ignores_being_interrupted_is_ended_all_the_same():
    @StreamLimits(idle_seconds=0.01)
    async def stubborn():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        yield "late"

    async def read():
        with pytest.raises(QuotaExceeded):
            async for _ in stubborn():
                pytest.fail("the late chunk came through")

    asyncio.run(read())


def test_a_timeout_of_the_source_stays_the_sources():
    @StreamLimits(idle_seconds=60)
    async def source():
        yield "a"
        raise TimeoutError("theirs")

    async def read():
        with pytest.raises(TimeoutError, match="theirs"):
            async for _ in source():
                pass

    asyncio.run(read())


def test_a_reader_who_cancels_is_not_told_of_a_limit():
    world = World(idle_seconds=60)

    async def source():
        yield "a"
        await asyncio.Event().wait()

    async def read():
        got = asyncio.Event()

        async def consume():
            async for _ in world.shield.protect("model:m")(source)():
                got.set()

        task = asyncio.create_task(consume())
        await got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(read())
    assert [ending.type for ending in world.settled.endings] == ["call.cancelled"]


def test_a_reader_who_goes_away_still_settles(kind):
    world = World(max_chunks=9)
    source = Source(world.clock, (0, "a"), (0, "b"))
    if kind == "run":
        chunks = world.shield.protect("model:m")(source.plain)()
        assert next(chunks) == "a"
        chunks.close()
    else:

        async def read():
            chunks = world.shield.protect("model:m")(source.later)()
            assert await anext(chunks) == "a"
            await chunks.aclose()

        asyncio.run(read())
    assert source.closed
    assert [ending.type for ending in world.settled.endings] == ["call.cancelled"]


def test_shadow_mode_tells_once_and_interrupts_nothing(kind):
    world = World(max_seconds=1, idle_seconds=0.001, max_chunks=1, shadow=True)
    assert getattr(world, kind)((5, "a"), (5, "b"), (5, "c")) == (["a", "b", "c"], "")
    assert world.events.only("guard.would_deny").code == "quota.stream_seconds"
    assert world.events.only("call.allowed").detail["would_deny"] == ["stream_limits"]


def test_streams_of_other_resources_go_on(kind):
    assert getattr(World(max_chunks=1, on="tool:*"), kind)((0, "a"), (0, "b")) == (["a", "b"], "")


def test_whole_answers_are_not_concerned():
    assert StreamLimits(max_bytes=1)(lambda: "long")() == "long"


def test_the_first_of_several_limits_ends_a_stream():
    shield = Shield(StreamLimits(idle_seconds=60, name="slow"), StreamLimits(idle_seconds=0.01, name="quick"))

    async def source():
        await asyncio.Event().wait()
        yield "never"

    async def read():
        with pytest.raises(QuotaExceeded) as caught:
            async for _ in shield.protect("model:m")(source)():
                pass
        return caught.value.detail

    assert "0.01 seconds" in asyncio.run(read())


def test_outside_of_asyncio_a_stream_that_needs_a_timer_is_refused():
    @StreamLimits(idle_seconds=60)
    async def source():
        yield "a"

    chunks = source()
    with pytest.raises(Unavailable):  # driven by hand, as another framework's loop would
        chunks.asend(None).send(None)


class Broken(Guard):
    name = "broken"

    def pace(self, call):
        raise RuntimeError("no")


class BrokenLook(Guard):
    name = "broken_look"

    def pace(self, call):
        from aisecure.guard import Pace

        def see(chunk):
            raise RuntimeError("no")

        return Pace(see=see)


@pytest.mark.parametrize("guard", [Broken, BrokenLook])
def test_a_guard_that_cannot_say_refuses_unless_told_otherwise(guard):
    def source():
        yield "a"

    with pytest.raises(Unavailable):
        list(Shield(guard()).protect("model:m")(source)())
    assert list(Shield(guard(on_unavailable="allow")).protect("model:m")(source)()) == ["a"]


@pytest.mark.parametrize("name", ["max_seconds", "idle_seconds", "max_chunks", "max_bytes"])
@pytest.mark.parametrize("wrong", [0, -1, "5", True, float("nan"), float("inf"), [1]])
def test_nonsense_limits_are_a_mistake_in_the_program(name, wrong):
    with pytest.raises(ValueError, match=name):
        StreamLimits(**{name: wrong})


def test_no_limit_at_all_is_a_mistake_in_the_program():
    with pytest.raises(ValueError, match="at least one"):
        StreamLimits()
