"""The Shield: an ordered list of guards round every call, and where its events go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aisecure._flow import Flow, Passage, Plan, adrive, drive
from aisecure._protect import protect as _protect
from aisecure.call import Call, Context, acting_as
from aisecure.errors import AISecureError, Misconfigured
from aisecure.guard import Guard
from aisecure.ports import Clock, EventSink

if TYPE_CHECKING:
    from aisecure.config import Assembly
    from aisecure.principal import Principal

__all__ = ["Shield", "protect"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Shield:
    """An ordered list of guards; every protected call meets them in this order, in and out.

    Args:
        guards: In the order in which a call meets them. The output meets them in the same order, so that a
            guard which restores redacted values comes before one which makes markup harmless.
        sinks: Where events go; each must take an event before the call's output is delivered.
        clock: Time, for tests.

    >>> from aisecure import Principal, Shield
    >>> from aisecure.quotas import rate_limit
    >>> shield = Shield(rate_limit("1/minute"))
    >>> @shield.protect("model:echo")
    ... def echo(prompt: str) -> str:
    ...     return prompt
    >>> with shield.acting_as(Principal("u-17")):
    ...     echo("hello")
    'hello'
    """

    def __init__(self, *guards: Guard, sinks: Iterable[EventSink] = (), clock: Clock | None = None) -> None:
        self._plan = Plan.compile(guards, sinks=sinks, clock=clock)
        self._assembly: Assembly | None = None
        self._reload = threading.Lock()

    @classmethod
    def from_config(cls, path: str | Path = "aisecure.toml") -> Shield:
        """Return the shield that a configuration file describes.

        Raises:
            Misconfigured: The file is missing or wrong; the text names file, key and remedy.
        """
        from aisecure.config import Assembly, load

        return cls._assembled(Assembly.build(load(Path(path))))

    @classmethod
    def defaults(cls, folder: str | Path) -> Shield:
        """Return the embedded default: everything in one folder, nothing to set up.

        Callers must be known and hold the role ``member`` or ``admin``, get 60 calls a minute, personal data
        and secrets are labelled on the way in and out, and each call leaves a line in the audit log.

        Raises:
            Misconfigured: The folder cannot be used.
        """
        from aisecure.config import Assembly, Config

        return cls._assembled(Assembly.build(Config.embedded(Path(folder))))

    @classmethod
    def _assembled(cls, assembly: Assembly) -> Shield:
        shield = cls(*assembly.guards, sinks=assembly.sinks)
        shield._assembly = assembly
        assembly.announce("shield.started")
        return shield

    def protect(
        self, resource: str | None = None, *, action: str = "invoke", prompt: str | None = None
    ) -> Callable[[F], F]:
        """Return a decorator for ``def``, ``async def``, generators and async generators.

        The principal is the one of the surrounding `acting_as`; without one it is anonymous.

        Args:
            resource: What is protected, such as ``model:support-bot``. ``{name}`` is replaced by the argument
                of that name. The function's own name when None.
            action: What is done with it.
            prompt: Name of the parameter that holds the input. Needed only when there are several
                parameters and none is called prompt, messages, input, question, query or text. ``*`` makes
                every argument part of the input, under its name, as a tool needs it.

        Raises:
            Misconfigured: At decoration, when ``prompt`` or ``resource`` name no parameter.
        """
        return _protect(lambda: self._plan, resource, action=action, prompt=prompt)

    def acting_as(self, principal: Principal, **context: str | None) -> AbstractContextManager[Context]:
        """Run a block on behalf of a principal; see `aisecure.call.acting_as`."""
        return acting_as(principal, **context)

    # -- for adapters

    def passage(self, call: Call) -> Passage:
        """Return the way of one call through this shield, for adapters that have no function to wrap."""
        return Passage(self._plan, call)

    def authenticate(self, call: Call) -> Call:
        """Return the call with its principal established, before anything is asked for.

        Raises:
            AuthenticationError: The credential was missing or not accepted; an event was recorded.
            Unavailable: The check could not run.
        """
        return drive(self._at_the_door(call))

    async def aauthenticate(self, call: Call) -> Call:
        """Do as `authenticate`, in a coroutine."""
        return await adrive(self._at_the_door(call))

    def _at_the_door(self, call: Call) -> Flow[Call]:
        passage = Passage(self._plan, call)
        try:
            return (yield from passage.identify())
        except AISecureError as err:
            passage.refuse_at_door(err)
            raise

    # -- parts and upkeep

    @property
    def guards(self) -> tuple[Guard, ...]:
        """The guards, in order."""
        return self._plan.guards

    @property
    def sinks(self) -> tuple[EventSink, ...]:
        """Where events go."""
        return self._plan.sinks

    def part(self, kind: type[T]) -> T:
        """Return the part of a type that this shield was built with: its `ApiKeys`, `AuditLog`, `FieldCipher` ...

        Raises:
            LookupError: There is none.
        """
        parts: list[Any] = [*self._plan.guards, *self._plan.sinks]
        if self._assembly is not None:
            parts += self._assembly.parts
        for part in parts:
            if isinstance(part, kind):
                return part
        for guard in self._plan.guards:
            for held in vars(guard).values():
                for part in held if isinstance(held, tuple) else (held,):
                    if isinstance(part, kind):
                        return part
        raise LookupError(f"this shield has no {kind.__name__}")

    def health(self) -> dict[str, Any]:
        """Return JSON-ready facts for a health page: ``ok``, and what each guard says of itself."""
        guards = {}
        for guard in self._plan.guards:
            try:
                guards[guard.name] = {**guard.health(), "shadow": guard.shadow}
            except Exception as err:  # noqa: BLE001  (a health page answers also when a part is broken)
                guards[guard.name] = {"ok": False, "error_type": type(err).__name__}
        return {"ok": all(facts["ok"] for facts in guards.values()), "guards": guards}

    def reload(self) -> None:
        """Read the configuration file again; calls on their way finish under the old one.

        Sections that did not change keep their guards, and so their counters.

        Raises:
            Misconfigured: The new configuration is unusable; the last good one stays in force.
        """
        with self._reload:
            if self._assembly is None:
                raise Misconfigured(
                    "this shield was not built from a configuration file", code="config.reload"
                )
            assembly = self._assembly.rebuilt()
            self._plan = Plan.compile(assembly.guards, sinks=assembly.sinks, clock=self._plan.clock)
            self._assembly = assembly
            assembly.announce("config.reloaded")

    def close(self) -> None:
        """Release what guards and sinks hold; the shield is not to be used afterwards."""
        for part in (*self._plan.guards, *self._plan.sinks):
            close = getattr(part, "close", None)
            if close is not None:
                close()
        if self._assembly is not None:
            self._assembly.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        names = ", ".join(guard.name + (" (shadow)" if guard.shadow else "") for guard in self._plan.guards)
        return f"Shield({names})"


def protect(
    *guards: Guard,
    resource: str | None = None,
    action: str = "invoke",
    prompt: str | None = None,
    events: EventSink | None = None,
) -> Callable[[F], F]:
    """Return a decorator that protects a function with a few guards, without naming a shield.

    >>> from aisecure import protect
    >>> from aisecure.quotas import rate_limit
    >>> @protect(rate_limit("5/second"))
    ... def ask(prompt: str) -> str:
    ...     return prompt
    >>> ask("hello")
    'hello'
    """
    shield = Shield(*guards, sinks=() if events is None else (events,))
    return shield.protect(resource, action=action, prompt=prompt)
