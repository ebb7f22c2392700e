"""What a protection is: an object with a few optional hooks, usable in a Shield or alone as a decorator."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from aisecure._value import value
from aisecure.decisions import Decision, Finding
from aisecure.events import Usage

if TYPE_CHECKING:
    from aisecure.call import Call
    from aisecure.ports import Clock, EventSink, TextFilter

__all__ = ["Changed", "Ending", "Guard", "Pace", "Verdict"]

_EVERYTHING = ("*",)

F = TypeVar("F", bound=Callable[..., Any])


@value
class Changed:
    """A transformed call or output, with the findings that were the reason.

    Attributes:
        value: The new `Call` (from ``before`` and ``identify``) or the new output (from ``after``).
        findings: Why.
    """

    value: Any
    findings: tuple[Finding, ...] = ()


@value
class Ending:
    """How a call ended, for guards that settle.

    Attributes:
        type: The event type that ended the call: ``call.allowed``, ``call.denied`` ...
        usage: Tokens, when the provider reported them.
        model: Model that answered, when it said so.
        entered: Whether every guard let the call in, so that the protected function was begun.
        chunks: Chunks that a streamed output had so far; None when it was no stream.
        error_type: Name of the class of what the protected function raised; empty when it raised nothing.
    """

    type: str
    usage: Usage | None = None
    model: str = ""
    entered: bool = True
    chunks: int | None = None
    error_type: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a guard lets one stream take.

    Attributes:
        idle: Seconds that the source may be silent, and the refusal after them.
        total: Seconds that the stream may last, and the refusal after them.
        see: Judges each chunk as the source gives it, bare text too; it may keep count in what it closes over.
    """

    idle: tuple[float, Decision] | None = None
    total: tuple[float, Decision] | None = None
    see: Callable[[Any], Decision | None] | None = None


#: What a hook returns: a decision, a change, or None for "nothing to say".
Verdict = Decision | Changed | None


class Guard:
    """Base class of every guard. Override the hooks you need; the others cost nothing.

    A hook returns a `Decision`, a `Changed`, or None. It may raise `Denied` instead of returning a
    refusal. Any other exception means that the check could not run: the call is refused as
    *unavailable*, unless ``on_unavailable="allow"`` was written by hand.

    ``before`` and ``after`` and ``identify`` may have an awaitable twin (``abefore``, ``aafter``,
    ``aidentify``) for guards that ask something over a network; it is used when the protected function
    is asynchronous. Pure guards need none.

    Hooks, in the order in which a call meets them:

    - ``identify(call)``: who is calling. Returns `Changed` with ``call.with_principal(...)``.
    - ``before(call)``: may this happen, and with which input?
    - ``after(call, output)``: may this output leave, and in which form?
    - ``stream(call)``: a fresh `TextFilter` for the text of a streamed output, or None.
    - ``observe(call, chunk)``: looks at each chunk of a stream that is more than text; may refuse. What is
      to be said about text is said by a filter, which sees it whole.
    - ``pace(call)``: how long, and through which looks at its chunks, a stream may go on: a `Pace`, or None.
    - ``settle(call, ending)``: always runs last, once, for each call that this guard let in; also when
      the call failed or was cancelled. It must not block for long: nothing awaits it.

    Args:
        name: Shown in events; the class says what it is by default.
        on: Resources the guard concerns itself with, as shell patterns: ``model:*``, or several of them.
        shadow: Decide and record ``would_deny``, but change and refuse nothing.
        on_unavailable: What follows when the check cannot run. A stream filter that fails always
            blocks, since nobody can tell what it held back.
    """

    name: str = "guard"
    #: Whether the guard looks at the call's input. Alone round a function, one that does not leaves open which
    #: parameter that is.
    reads_input: bool = True
    #: Whether ``settle`` needs the tokens of a call. Then a door takes streamed records apart to find them, which it
    #: would otherwise pass on unread.
    reads_usage: bool = False

    def __init__(
        self,
        *,
        name: str | None = None,
        on: str | Collection[str] = "*",
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        if on_unavailable not in ("deny", "allow"):
            raise ValueError("on_unavailable is 'deny' or 'allow'")
        if name is not None:
            self.name = name
        self.on = (on,) if isinstance(on, str) else tuple(on)
        self.shadow = shadow
        self.on_unavailable = on_unavailable

    def applies(self, resource: str) -> bool:
        """Whether the guard concerns itself with a resource."""
        return self.on == _EVERYTHING or any(fnmatchcase(resource, pattern) for pattern in self.on)

    def identify(self, call: Call) -> Verdict:
        """Establish who is calling."""

    def before(self, call: Call) -> Verdict:
        """Judge or change the call before it happens."""

    def after(self, call: Call, output: Any) -> Verdict:
        """Judge or change the whole output."""

    def stream(self, call: Call) -> TextFilter | None:
        """Return a fresh filter for a streamed output, or None."""

    def stream_text(self, call: Call, path: str) -> TextFilter | None:
        """Return a fresh filter for one text of streamed messages, by its path; where `stream` gives one, this does too."""
        return self.stream(call)

    def stream_value(self, call: Call, name: str) -> TextFilter | None:
        """Return a fresh filter for one text inside streamed JSON, under its key; where `stream` gives one, this does too."""
        return self.stream(call)

    def observe(self, call: Call, chunk: Any) -> Decision | None:
        """Judge one chunk of a stream that is no bare text."""

    def pace(self, call: Call) -> Pace | None:
        """Return what a streamed output may take, or None."""

    def settle(self, call: Call, ending: Ending) -> None:
        """Take note of how the call ended."""

    aidentify: Callable[[Call], Any] | None = None
    abefore: Callable[[Call], Any] | None = None
    aafter: Callable[[Call, Any], Any] | None = None

    def close(self) -> None:
        """Release what the guard holds (connections, threads); called by `Shield.close`."""

    def health(self) -> dict[str, Any]:
        """Return JSON-ready facts for a health page: at least ``{"ok": bool}``."""
        return {"ok": True}

    def __call__(self, function: F) -> F:
        """Protect a function with this guard alone; `Shield.protect` with one guard and no log."""
        return self.decorate()(function)

    def decorate(
        self,
        resource: str | None = None,
        *,
        action: str = "invoke",
        prompt: str | None = None,
        events: EventSink | None = None,
        clock: Clock | None = None,
    ) -> Callable[[F], F]:
        """Return a decorator that protects a function with this guard alone.

        Args: as for `Shield.protect`; the resource defaults to ``function:<qualified name>``.
        """
        # Here and not at the top: the flow needs this module's records, a guard needs the flow only when used alone.
        from aisecure._flow import Plan
        from aisecure._protect import protect

        plan = Plan.compile((self,), sinks=() if events is None else (events,), clock=clock)
        return protect(plan, resource, action=action, prompt=prompt, any_input=not self.reads_input)
