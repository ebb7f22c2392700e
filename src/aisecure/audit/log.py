"""The audit log: every security event as one sealed line, from any thread and any process."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from aisecure.audit.bridge import EventLogger, as_event
from aisecure.audit.entry import encode_event
from aisecure.audit.ledger import Durability, Ledger
from aisecure.audit.reader import read
from aisecure.errors import AISecureError, Misconfigured, Unavailable
from aisecure.events import EVENT_TYPES, Result, SecurityEvent
from aisecure.ports import Clock, SystemClock
from aisecure.storage import private_folder

__all__ = ["DEFAULT_CONTEXT", "DEFAULT_SEGMENT_BYTES", "AuditLog"]

#: Size at which a file is closed and the next one begun: small enough to copy and to grep, and hashed in a blink.
DEFAULT_SEGMENT_BYTES = 64 * 2**20
_SMALLEST_SEGMENT = 4096

#: Names that are taken over from structlog's context variables. A list, and not everything that is bound there:
#: applications bind e-mail addresses too, and this log forgets nothing.
DEFAULT_CONTEXT = ("correlation_id", "request_id", "span_id", "trace_id")

#: The machine is short of something, and may have it again later; any other refusal is a matter of configuration.
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE})

_FALLBACK = logging.getLogger("aisecure.audit")


class _Lost(NamedTuple):
    """Events that could not be written: how many, and when the first and the last."""

    events: int
    first: float
    last: float


class AuditLog:
    """An append-only log of JSON lines, each holding the hash of the line before it.

    It detects changed, inserted, swapped and removed lines (`verify`), survives killed writers, and may be shared by
    any number of threads, processes and forked children on one machine; not by machines over a network file system.
    It does not help against somebody who may write the folder *and* recomputes every later line, unless the newest
    leaf hash is also held elsewhere (``verify(..., expect=...)``).

    Use `open`.

    >>> log = AuditLog.open("audit")
    >>> log.record(SecurityEvent("policy.loaded", detail={"rules": 12}))
    1
    >>> log.close()
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Clock,
        on_unavailable: Literal["deny", "allow"],
        context: tuple[str, ...],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._let_pass = on_unavailable == "allow"
        self._context = frozenset(context)
        self._lost: _Lost | None = None
        self._lost_lock = threading.Lock()
        self._events = EventLogger.over(self._append, self._render)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        origin: str | None = None,
        clock: Clock | None = None,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        durability: Durability = "os",
        on_unavailable: Literal["deny", "allow"] = "deny",
        context: tuple[str, ...] = DEFAULT_CONTEXT,
    ) -> AuditLog:
        """Begin a log in a folder, or continue the one that is there.

        What a crash left is repaired: complete lines that chain are adopted, torn bytes are copied to a file
        ``audit.torn-...`` and cut off, and a ``log.recovered`` event tells of it. A missing or damaged head file is
        rebuilt from the segments, which ``log.rebuilt`` tells.

        Args:
            folder: Holds the log alone; created with mode 0700.
            origin: Name of the log, written into its first event; printable, without spaces and ``+``. The host's
                name and ``/aisecure`` by default.
            clock: Time.
            segment_bytes: Size at which the next file is begun; at least 4096.
            durability: ``os`` survives a killed process, ``sync`` also a power cut, at the price of a disk write a
                line. After a power cut under ``os`` the head may be ahead of the lines, and the log then refuses to
                go on: see Raises.
            on_unavailable: What `record` does when the log cannot be written: ``deny`` raises, ``allow`` returns -1.
                Either way the loss is counted and told.
            context: Names of structlog context variables that are stored with each event.

        Raises:
            Misconfigured: The folder cannot be used, or holds a log of another origin.
            IntegrityError: The files do not fit each other; nothing was changed.
            Unavailable: The disk is full, or another process holds the lock.
            ValueError: An option is out of range.
        """
        if segment_bytes < _SMALLEST_SEGMENT:
            raise ValueError(f"segment_bytes is at least {_SMALLEST_SEGMENT}")
        if durability not in ("os", "sync"):
            raise ValueError("durability is 'os' or 'sync'")
        if on_unavailable not in ("deny", "allow"):
            raise ValueError("on_unavailable is 'deny' or 'allow'")
        # The rule of C2SP signed-note for the names of keys, which an origin will be.
        if origin is not None and (not origin.isprintable() or not origin or {" ", "+"} & set(origin)):
            raise ValueError("origin is a printable name without spaces and '+'")
        path, clock = Path(folder), clock or SystemClock()
        private_folder(path)
        ledger = Ledger(
            # Absolute, since a process may change its working directory.
            path.absolute(),
            origin=origin or f"{socket.gethostname()}/aisecure",
            clock=clock,
            segment_bytes=segment_bytes,
            durability=durability,
        )
        try:
            ledger.open()
        except OSError as err:
            if err.errno in _PASSING:
                raise Unavailable(
                    f"audit log {path}: {err.strerror}; make room and start again", code="unavailable.audit"
                ) from err
            raise Misconfigured(
                f"audit log {path}: {err.strerror}; choose a folder that this process may write"
            ) from err
        if origin is not None:
            _same_origin(path, origin)
        return cls(ledger, clock=clock, on_unavailable=on_unavailable, context=context)

    def record(self, event: SecurityEvent) -> int:
        """Store an event and return its sequence number, or -1 if it was lost and ``on_unavailable`` is ``allow``.

        An event too large for a line (65,535 bytes) is stored with its long values replaced by length and SHA-256,
        followed by a ``log.oversize`` event. What JSON cannot hold is replaced as `canonical` describes.

        Raises:
            Unavailable: It could not be written: a full disk, a folder that is gone or read-only, files that were
                replaced or shortened. The cause is chained.
            TypeError: It is no `SecurityEvent`.
        """
        if not isinstance(event, SecurityEvent):
            raise TypeError("record takes a SecurityEvent")
        return self._events.append(event)

    def logger(self, **fields: Any) -> EventLogger:
        """Return a structlog logger whose calls are events, with fields bound to each of them.

        The name of the event is its type. Fields that every event has (``principal``, ``resource`` ...) become such;
        all others are details, which the type's row in `EVENT_TYPES` has to name. The level that is called plays no
        part: the type has a severity.

        >>> with AuditLog.open("events") as log:
        ...     log.logger(principal="admin").info("key.revoked", key_id="k1")
        1
        """
        return self._events.bind(**fields)

    def processor(self, logger: Any, method: str, event_dict: dict[str, Any]) -> dict[str, Any]:
        """Record a listed event that passes through a structlog chain of the application; a structlog processor.

        An entry whose name is in `EVENT_TYPES` is stored, with those of its keys that its type may have, and goes on
        with its number as ``audit_seq``. All others go on untouched.

        Raises:
            Unavailable: As `record`.
        """
        if event_dict.get("event") in EVENT_TYPES:
            event_dict["audit_seq"] = self.record(as_event(event_dict, strict=False))
        return event_dict

    def close(self) -> None:
        """Release the files; later events are refused."""
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AuditLog({str(self._ledger.folder)!r})"

    # -- the end of the structlog chain

    def _render(
        self, logger: Any, method: str, event_dict: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Encode the event; the last processor."""
        event = event_dict["record"]
        context = None
        if len(event_dict) > 2:
            context = {name: event_dict[name] for name in event_dict if name in self._context}
        return (encode_event(event, context),), {}

    def _append(self, bodies: list[bytes]) -> int:
        """Write; what is lost is told at once outside of the log, and in it as soon as it can be written again."""
        lost = self._lost
        if lost is not None:
            lost = self._take_lost()
            if lost is not None:
                bodies = [*bodies, _dropped(lost)]
        try:
            return self._ledger.append(bodies)
        except (OSError, AISecureError) as err:
            self._tell_lost(err, lost)
            if self._let_pass:
                return -1
            raise Unavailable(
                "the audit log cannot be written, so the request was refused", code="unavailable.audit"
            ) from err

    def _take_lost(self) -> _Lost | None:
        with self._lost_lock:
            lost, self._lost = self._lost, None
        return lost

    def _tell_lost(self, err: BaseException, earlier: _Lost | None) -> None:
        now = self._clock.time()
        with self._lost_lock:
            already = earlier or self._lost
            count = 1 + sum(lost.events for lost in (earlier, self._lost) if lost)
            self._lost = _Lost(count, already.first if already else now, now)
        if already is None:
            # Once an outage, and free of content: only what failed.
            name = errno.errorcode.get(err.errno or 0, "") if isinstance(err, OSError) else ""
            reason = f" code={err.code}" if isinstance(err, AISecureError) else f" errno={name}"
            _FALLBACK.critical("log.failed error_type=%s%s", type(err).__name__, reason)


def _dropped(lost: _Lost) -> bytes:
    detail = {"count": lost.events, "first": lost.first, "last": lost.last}
    return encode_event(SecurityEvent("log.dropped", time=lost.last, result=Result.FAILURE, detail=detail))[0]


def _same_origin(folder: Path, origin: str) -> None:
    """Refuse to continue a log that was begun under another name."""
    first = next(iter(read(folder)), None)
    begun = first["ev"].get("detail", {}).get("origin") if first and first["seq"] == 0 else origin
    if begun != origin:
        raise Misconfigured(
            f"audit log {folder}: begun by the origin {begun!r}, not {origin!r}; keep the name, or choose another folder"
        )
