"""structlog in both directions: a logger whose calls are events, and events out of an application's own chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

from aisecure.events import EVENT_TYPES, Result, SecurityEvent

__all__ = ["EventLogger", "as_event"]

#: Fields of every event that a log call may set; ``id`` is the log's to give.
_FIELDS = frozenset(
    "time result principal tenant action resource source request_id conversation trace code reasons findings model"
    " usage latency_ms".split()
)


class _Target:
    """What structlog calls at the end of a chain."""

    __slots__ = ("append",)

    def __init__(self, append: Callable[[list[bytes]], int]) -> None:
        self.append = append


class EventLogger(structlog.BoundLoggerBase):
    """A structlog logger of `AuditLog`: ``bind`` and ``unbind`` work as ever, each call stores one event.

    Calls return the sequence number.
    """

    @classmethod
    def over(cls, append: Callable[[list[bytes]], int], render: Callable[..., Any]) -> EventLogger:
        """Return a logger that ends in ``append``, with nothing bound."""
        chain: list[Any] = [_typed, structlog.contextvars.merge_contextvars, render]
        return cls(_Target(append), chain, {})

    def append(self, event: SecurityEvent) -> int:
        """Store a ready event; bound fields do not change it."""
        stored: int = self._proxy_to_logger("append", event.type, record=event)
        return stored

    def info(self, event: str, **fields: Any) -> int:
        """Store an event of the named type.

        Raises:
            ValueError: The type or a detail is not listed in `EVENT_TYPES`.
            Unavailable: As `AuditLog.record`.
        """
        stored: int = self._proxy_to_logger("append", event, **fields)
        return stored

    debug = warning = error = critical = info


def _typed(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> dict[str, Any]:
    """Make an event of what was bound and given; the first processor."""
    record = event_dict.get("record")
    if not isinstance(record, SecurityEvent):
        record = as_event(event_dict)
    return {"event": record.type, "record": record}


def as_event(event_dict: Mapping[str, Any], *, strict: bool = True) -> SecurityEvent:
    """Return the event that a structlog entry describes.

    Args:
        event_dict: Its ``event`` is the type.
        strict: Refuse keys that the type does not have, instead of leaving them out.

    Raises:
        ValueError: An unlisted type, an unlisted key when strict, or a result that is none of `Result`.
    """
    type_ = event_dict["event"]
    fields: dict[str, Any] = {}
    detail: dict[str, Any] = {}
    known = EVENT_TYPES[type_].details if type_ in EVENT_TYPES else frozenset[str]()
    for name, value in event_dict.items():
        if name in _FIELDS:
            fields[name] = Result(value) if name == "result" else value
        elif name != "event" and (strict or name in known):
            detail[name] = value
    return SecurityEvent(type_, detail=detail, **fields)
