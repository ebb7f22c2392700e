"""How long and how large streams may get: what guards ask for, enforced between a source and its reader.

Silence is what the source takes for a chunk; the time a reader takes is none. An asynchronous source is interrupted
while it is silent, a plain one cannot be: there its lateness shows when the chunk is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Self

from aisecure._flow import Passage, decision_of
from aisecure.decisions import Decision
from aisecure.errors import Denied
from aisecure.guard import Guard, Pace

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Pacer", "Watch"]


class Pacer:
    """What the guards of a passage let its stream take."""

    __slots__ = ("_asked", "_began", "_due", "_monotonic", "_paces", "_passage")

    def __init__(self, passage: Passage, paces: list[tuple[Guard, Pace]]) -> None:
        self._passage = passage
        self._paces = paces
        self._monotonic = passage.plan.clock.monotonic
        self._began = self._asked = self._monotonic()
        self._due: tuple[Guard, Decision] | None = None

    @classmethod
    def of(cls, passage: Passage) -> Pacer | None:
        """Return the pacer of a stream that begins now, or None when no guard asks for one.

        Raises:
            Denied, Unavailable: A guard refused, or could not say.
        """
        guards = passage.plan.pace
        if not guards:
            return None
        paces = []
        for guard in guards:
            if guard.applies(passage.call.resource):
                try:
                    pace = guard.pace(passage.call)
                except Denied as err:
                    passage.judge(guard, decision_of(err))
                except Exception as err:  # noqa: BLE001  (whatever it is, the check did not run)
                    passage.skip_or_raise(guard, err)
                else:
                    if pace is not None:
                        paces.append((guard, pace))
        return cls(passage, paces) if paces else None

    def ask(self) -> None:
        """Say that the source is asked for a chunk: silence counts from here."""
        self._asked = self._monotonic()

    def patience(self, *, silent: bool = True) -> float | None:
        """Return for how many seconds the source may be waited for; None when nothing is to be enforced.

        Args:
            silent: Whether the source is what is waited for, and not the reader.
        """
        elapsed = self._monotonic() - self._began
        due = []
        for guard, pace in self._paces:
            if guard.shadow:
                continue  # it would have to let the stream go on, which nobody can after an interruption
            if pace.total is not None:
                due.append((max(pace.total[0] - elapsed, 0.0), guard, pace.total[1]))
            if pace.idle is not None and silent:
                due.append((pace.idle[0], guard, pace.idle[1]))
        if not due:
            return None
        seconds, guard, decision = min(due, key=lambda one: one[0])
        self._due = guard, decision
        return seconds

    def expire(self) -> NoReturn:
        """Say that what `patience` returned is over.

        Raises:
            Denied: Always.
        """
        assert self._due is not None  # noqa: S101  (there was patience)
        self._passage.judge(*self._due)
        raise AssertionError("a guard that refuses nothing was waited for")

    def came(self, chunk: Any) -> None:
        """Judge a chunk that the source was asked for.

        Raises:
            Denied: The stream must end before it.
            Unavailable: A guard could not run.
        """
        now = self._monotonic()
        elapsed, waited = now - self._began, now - self._asked
        for guard, pace in self._paces:
            if pace.total is not None and elapsed > pace.total[0]:
                self._passage.judge(guard, pace.total[1])
            if pace.idle is not None and waited > pace.idle[0]:
                self._passage.judge(guard, pace.idle[1])
            if pace.see is not None:
                self._see(guard, pace, chunk)

    def _see(self, guard: Guard, pace: Pace, chunk: Any) -> None:
        assert pace.see is not None  # noqa: S101  (asked by the caller)
        try:
            decision = pace.see(chunk)
        except Denied as err:
            decision = decision_of(err)
        except Exception as err:  # noqa: BLE001  (whatever it is, the check did not run)
            self._passage.skip_or_raise(guard, err)
            return
        if decision is not None:
            self._passage.judge(guard, decision)

    def paced(self, source: Iterable[Any]) -> Iterator[Any]:
        """Return the chunks of a plain source, each judged when it comes."""
        return _Paced(source, self)

    def apaced(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Return the chunks of an asynchronous source, which is interrupted when it is late."""
        return _APaced(source, self)

    def lost(self, err: Exception) -> NoReturn:
        """Say that time cannot be kept here.

        Raises:
            Unavailable: Always.
        """
        raise self._passage.broken(self._paces[0][0], err) from err


class _Paced:
    """A class and no generator: nobody has to close it."""

    __slots__ = ("_pacer", "_source")

    def __init__(self, source: Iterable[Any], pacer: Pacer) -> None:
        self._source = iter(source)
        self._pacer = pacer

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._pacer.ask()
        chunk = next(self._source)
        self._pacer.came(chunk)
        return chunk


class _APaced:
    __slots__ = ("_pacer", "_source")

    def __init__(self, source: AsyncIterator[Any], pacer: Pacer) -> None:
        self._source = aiter(source)
        self._pacer = pacer

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        self._pacer.ask()
        seconds = self._pacer.patience()
        if seconds is None:
            chunk = await anext(self._source)
        else:
            async with Watch(self._pacer, seconds):
                chunk = await anext(self._source)
        self._pacer.came(chunk)
        return chunk


class Watch:
    """Interrupts the block below it when a pacer's patience is over, and raises what the guard says.

    It needs an asyncio task to interrupt: elsewhere the stream is refused, as a check that cannot run.
    """

    __slots__ = ("_pacer", "_seconds", "_timeout")

    def __init__(self, pacer: Pacer | None = None, seconds: float | None = None) -> None:
        # Here and not at the top: whoever awaits has it, and programs that do not await need it not.
        from asyncio import Timeout

        self._pacer = pacer
        self._seconds = seconds
        self._timeout = Timeout(None)

    def wait(self, pacer: Pacer, *, silent: bool) -> None:
        """Begin to wait for the source (``silent``), or for the reader."""
        self._pacer = pacer
        if silent:
            pacer.ask()
        self._set(pacer.patience(silent=silent))

    def rest(self) -> None:
        """Wait for nothing any more."""
        self._set(None)

    def _set(self, seconds: float | None) -> None:
        if self._timeout.expired():
            return
        from asyncio import get_running_loop

        self._timeout.reschedule(None if seconds is None else get_running_loop().time() + seconds)

    async def __aenter__(self) -> Self:
        try:
            await self._timeout.__aenter__()
        except RuntimeError as err:
            if self._pacer is None:
                raise
            self._pacer.lost(err)
        if self._seconds is not None:
            self._set(self._seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, err, trace)
        except TimeoutError:
            if not self._timeout.expired():
                raise
        else:
            if not self._timeout.expired() or type(err).__name__ == "CancelledError":
                return  # in time, or somebody else cancelled too and is waiting for it
        # Also when the source made something else of being interrupted.
        if self._pacer is not None:
            self._pacer.expire()
