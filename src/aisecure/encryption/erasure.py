"""The steps of an erasure, in an order that a kill at any moment leaves safe, and the rows that remember them.

1. One transaction asks for a legal hold, overwrites the wrapped key, and writes an erasure that is pending.
2. Others are told. (They look at the rows of this module themselves, so that a kill before this step hides nothing.)
3. The write-ahead log is folded into the database and cut to nothing: until then the key's old page is in it.
4. The receipt is recorded.
5. The erasure is marked complete.

Before the end of 1 nothing has happened; after it the key is gone for everybody, and `Erasures.complete` does the rest
now, at the next start, or at the next erasure. There is no receipt before 3. A kill between 4 and 5, or two
processes that complete at once, record the receipt twice, under one event id.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from aisecure.encryption.subject_rows import MIGRATIONS, SubjectRows
from aisecure.errors import ErasureRefused, Unavailable
from aisecure.events import Result, SecurityEvent, uuid7
from aisecure.notices import Notices
from aisecure.ports import Clock, EventSink
from aisecure.storage import Storage

__all__ = ["TOPIC", "Erasures", "Holds"]

#: Change notices about erased subjects: whoever caches what was decrypted for them subscribes.
TOPIC = "encryption.subjects"

#: Returns the reason of a legal hold on ``(tenant, subject)``, or None.
Holds = Callable[[str, str], str | None]

_INSERT = (
    "INSERT INTO subjects_erasures (key_id, tenant, erased_at, receipt, request_id, actor, complete)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class Erasures:
    """Erases keys, completes what was interrupted, and knows what is erased.

    A row names the key, its tenant and the request, and the person who erased until the receipt is recorded; of the
    person who was erased it holds nothing.

    Args:
        storage: The rows, those of `SubjectRows` among them.
        notices: Told after each erasure.
        events: Takes the receipts.
        clock: When.
        scrub_seconds: How long one attempt waits for readers that still need the write-ahead log.
    """

    def __init__(
        self, storage: Storage, *, notices: Notices, events: EventSink, clock: Clock, scrub_seconds: float
    ) -> None:
        storage.migrate("subjects", MIGRATIONS)
        self._storage = storage
        self._notices = notices
        self._events = events
        self._clock = clock
        self._scrub_seconds = scrub_seconds
        self._turn = threading.Lock()
        _LIVE.add(self)

    def newest(self) -> int:
        """Return a number that grows with every erasure."""
        return int(self._storage.query("SELECT coalesce(max(seq), 0) FROM subjects_erasures")[0][0])

    def since(self, seq: int) -> set[bytes]:
        """Return the ids of keys that were erased after a number that `newest` gave."""
        return {row[0] for row in self._storage.query("SELECT key_id FROM subjects_erasures WHERE seq > ?", (seq,))}  # fmt: skip

    def has(self, key_id: bytes) -> bool:
        """Whether a key was erased; True as soon as it is gone, before the disk is scrubbed."""
        return bool(self._storage.query("SELECT 1 FROM subjects_erasures WHERE key_id = ?", (key_id,)))

    def erase(
        self,
        tenant: str,
        subject: str,
        pseudonym: bytes,
        *,
        holds: Holds | None,
        request_id: str,
        actor: str,
    ) -> SecurityEvent:
        """Take step 1 for one subject; return its receipt, which is not recorded yet.

        Raises:
            ErasureRefused: There is a legal hold; an event tells of it.
            Unavailable: The database cannot be written; nothing was erased.
        """
        now = self._clock.time()
        with self._storage.transaction() as connection:
            # Inside: a hold that the same database keeps is placed before this, or after, and never between.
            reason = None if holds is None else holds(tenant, subject)
            if reason is not None and not isinstance(reason, str):
                raise TypeError(
                    f"holds returns the reason of a hold as text, or None, not {type(reason).__name__}"
                )
            key_id = None
            if reason is None:
                key_id = SubjectRows.empty(connection, tenant, pseudonym)
            detail: dict[str, object] = {"keys": 0} if key_id is None else {"key_id": key_id.hex(), "keys": 1}
            receipt = _receipt(now, uuid7(now), tenant, request_id, actor, detail)
            if key_id is not None:
                connection.execute(_INSERT, (key_id, tenant, now, receipt.id, request_id, actor, 0))
        if reason is not None:
            raise self._refused(reason, now, tenant, request_id, actor)
        return receipt

    def reapply(self, key_ids: Iterable[bytes]) -> int:
        """Take step 1 for keys that were erased before a backup was restored; return how many were back.

        Raises:
            Unavailable: The database cannot be written; nothing was erased.
        """
        now, back = self._clock.time(), 0
        with self._storage.transaction() as connection:
            for key_id in key_ids:
                tenant = SubjectRows.empty_id(connection, key_id)
                back += tenant is not None
                if tenant is not None:
                    # A restored row may say that it was complete; it is not any more.
                    connection.execute("DELETE FROM subjects_erasures WHERE key_id = ?", (key_id,))
                # The seq grows, and so every process drops the key.
                connection.execute(
                    f"{_INSERT} ON CONFLICT (key_id) DO NOTHING",
                    (key_id, tenant or "", now, uuid7(now), "", "", 0 if tenant is not None else 1),
                )
        return back

    def complete(self) -> tuple[SecurityEvent, ...]:
        """Take steps 2 to 5 for every pending erasure; return the receipts.

        Raises:
            Unavailable: A step could not be taken; the erasures stay pending.
        """
        with self._turn:  # so that threads record no receipt twice
            return self._complete()

    def _complete(self) -> tuple[SecurityEvent, ...]:
        pending = self._storage.query(
            "SELECT seq, erased_at, receipt, tenant, request_id, actor, key_id FROM subjects_erasures"
            " WHERE complete = 0 ORDER BY seq"
        )
        if not pending:
            return ()
        try:
            self._notices.publish(TOPIC)
            self.scrub()
            return tuple(self._record(row) for row in pending)
        except Unavailable as err:
            ids = ", ".join(row[-1].hex() for row in pending[:5])
            raise Unavailable(
                f"{len(pending)} subject keys are deleted ({ids}), and what is left of them on the disk is not scrubbed "
                f"or not on record yet: {err.detail}; the erasure is pending, complete it with resume()",
                code="unavailable.erasure",
            ) from err

    def scrub(self) -> None:
        """Take step 3.

        Raises:
            Unavailable: A reader held the write-ahead log all the time.
        """
        self._storage.truncate_wal(wait_seconds=self._scrub_seconds)

    def after_fork(self) -> None:
        """Forget the lock, which a thread that is not here may have held."""
        self._turn = threading.Lock()

    def _record(self, row: tuple[Any, ...]) -> SecurityEvent:
        seq, erased_at, event_id, tenant, request_id, actor, key_id = row
        detail = {"key_id": key_id.hex(), "keys": 1}
        receipt = _receipt(erased_at, event_id, tenant, request_id, actor, detail)
        if self._storage.query("SELECT 1 FROM subjects_erasures WHERE seq = ? AND complete = 0", (seq,)):
            self._events.record(receipt)
            self._storage.execute(
                "UPDATE subjects_erasures SET complete = 1, actor = '' WHERE seq = ?", (seq,)
            )
        return receipt

    def _refused(self, reason: str, now: float, tenant: str, request_id: str, actor: str) -> ErasureRefused:
        error = ErasureRefused(
            f"A legal hold forbids the erasure: {reason}" if reason else None, code="erasure.legal_hold"
        )
        self._events.record(
            SecurityEvent(
                "subject.erasure_refused",
                time=now,
                result=Result.FAILURE,
                tenant=tenant,
                request_id=request_id,
                principal=actor,
                code=error.code,
                reasons=(reason,) if reason else (),
            )
        )
        return error


def _receipt(
    erased_at: float, event_id: str, tenant: str, request_id: str, actor: str, detail: dict[str, object]
) -> SecurityEvent:
    return SecurityEvent(
        "subject.erased",
        time=erased_at,
        id=event_id,
        tenant=tenant,
        request_id=request_id,
        principal=actor,
        detail=detail,
    )


_LIVE: weakref.WeakSet[Erasures] = weakref.WeakSet()


def _after_fork() -> None:
    for erasures in tuple(_LIVE):
        erasures.after_fork()


os.register_at_fork(after_in_child=_after_fork)
