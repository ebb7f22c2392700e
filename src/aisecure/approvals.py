"""Calls that wait for a person: requested, approved by somebody else, and then made once, exactly as they were shown.

An approval is bound to principal, tenant, action, resource and every argument of the call: change one letter, and it is
another call. Each row carries a tag (HMAC-SHA256) under a key that is not in the database, so that whoever can write the
database alone approves nothing. The tag does not notice a row that is put back to an earlier state from a copy of the
database; the short life of an approval bounds what that is worth.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from aisecure._canonical import canonical
from aisecure._protect import EVERY_ARGUMENT
from aisecure.decisions import ALLOW, Decision, Outcome
from aisecure.errors import AccessDenied, ApprovalRequired, AuthenticationError, IntegrityError, Unavailable
from aisecure.events import SecurityEvent
from aisecure.guard import Guard
from aisecure.ports import Cipher, Clock, EventSink, SystemClock, discard
from aisecure.storage import Storage, update_private

if TYPE_CHECKING:
    from aisecure.call import Call
    from aisecure.principal import Principal

__all__ = ["ApprovalGuard", "Approvals", "Request"]

State = Literal["pending", "approved", "denied", "expired", "used", "tampered"]
F = TypeVar("F", bound=Callable[..., Any])

#: A principal's requests that may wait at a time: whoever is asked hundreds of times says yes without reading.
_MAX_PENDING: Final = 20
#: Ended requests are kept for those who look into them later, and then deleted: 30 days.
_KEPT_SECONDS: Final = 30 * 86_400.0
_MAX_NAME: Final = 512
_MAX_NOTE: Final = 500
_MAX_PREVIEW: Final = 20_000
_KEY_BYTES: Final = 32

_WAITING: Final[tuple[State, ...]] = ("pending",)

_MIGRATIONS = (
    """
    CREATE TABLE approvals (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, principal TEXT NOT NULL, action TEXT NOT NULL,
        resource TEXT NOT NULL, digest TEXT NOT NULL, reason TEXT NOT NULL, arguments TEXT NOT NULL,
        sealed INTEGER NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, expires REAL NOT NULL,
        approvers INTEGER NOT NULL, votes TEXT NOT NULL, ended REAL NOT NULL, tag TEXT NOT NULL
    );
    CREATE INDEX approvals_call ON approvals (tenant, principal, digest, state);
    CREATE INDEX approvals_state ON approvals (state, expires);
    """,
)
_FIELDS = (
    "id, tenant, principal, action, resource, digest, reason, arguments, sealed, state, created, expires,"
    " approvers, votes, ended, tag"
)


@dataclass(frozen=True, slots=True)
class Request:
    """A call that waits for a person, or did. Times are seconds since the epoch, UTC.

    The ``repr`` leaves out who asks, why, and with which arguments.

    Attributes:
        id: Names it; no secret.
        tenant: Tenant of the principal.
        principal: Who wants to make the call.
        action, resource: As in `Call`.
        reason: Why a person is asked.
        arguments: What the approver sees of the arguments, with every character escaped that a terminal might take as a
            command or hide; empty where they were not kept.
        state: ``pending``, ``approved``, ``denied``, ``expired``, ``used``; or ``tampered``, when the row is not what
            this service wrote.
        created: When it was asked for.
        expires: Until when it can be answered, and after that, used.
        approvers: How many different people have to approve.
        votes: Who approved or refused so far, when, and with which note.
    """

    id: str
    tenant: str
    principal: str = field(repr=False)
    action: str
    resource: str
    reason: str = field(repr=False)
    arguments: str = field(repr=False)
    state: State
    created: float
    expires: float
    approvers: int
    votes: tuple[tuple[str, float, str], ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the request as JSON-ready data."""
        votes = [{"by": by, "time": time, "note": note} for by, time, note in self.votes]
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "votes"}
        return {**plain, "votes": votes}


@dataclass(frozen=True, slots=True)
class _Row:
    """One row as it is stored; everything but the tag is under the tag."""

    id: str
    tenant: str
    principal: str = field(repr=False)
    action: str
    resource: str
    digest: str = field(repr=False)
    reason: str = field(repr=False)
    arguments: str = field(repr=False)
    sealed: int
    state: State
    created: float
    expires: float
    approvers: int
    votes: str = field(repr=False)
    ended: float
    tag: str = field(default="", repr=False)

    @property
    def values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def said(self) -> list[tuple[str, float, str]]:
        return [(by, time, note) for by, time, note in json.loads(self.votes)]


class Approvals:
    """The queue of calls that a person has to approve, and the one place that says whether one may be made now.

    Any number of threads and processes may share it: an approval is used once, also when two ask at the same moment, and
    also when the process is killed right after (then the call was not made, and needs a new approval).

    Args:
        storage: Where requests are kept.
        key: At least 32 secret bytes for the tags. By default those of ``keys/approvals.key`` beside the database, made
            when it is absent; random for a database in memory.
        cipher: Encrypts the arguments, so that the approver can read them and the database cannot. Without one they are
            not stored.
        preview: Without a cipher, what the approver sees of the arguments: takes their JSON and returns the text to
            store, with personal data taken out: ``lambda text: Redactor().redact(text).text``.
        approvers: How many different people have to approve.
        self_approval: Whether the principal of the call may be one of them.
        may: Says who may answer a request: ``lambda by, request: authorizer.decide(by, "approve", request.resource).allowed``.
            Everybody of the tenant who reaches `approve` when None.
        lifetime: Seconds that a request waits.
        use_within: Seconds in which an approval has to be used.
        clock: Time.
        events: Receives ``approval.requested``, ``approval.granted``, ``approval.refused``, ``approval.used``,
            ``approval.expired``; none holds arguments or reasons.

    Raises:
        ValueError, TypeError: A value is unusable.

    >>> from aisecure import Principal
    >>> from aisecure.call import Call
    >>> approvals = Approvals(Storage(":memory:"))
    >>> call = Call(Principal("ann"), "call", "tool:send_email", {"to": "bob"})
    >>> waiting = approvals.request(call, reason="Mail leaves the house.")
    >>> approvals.approve(waiting.id, by=Principal("chief")).state
    'approved'
    >>> approvals.consume(call) is not None, approvals.consume(call) is not None
    (True, False)
    """

    def __init__(
        self,
        storage: Storage,
        *,
        key: bytes | None = None,
        cipher: Cipher | None = None,
        preview: Callable[[str], str] | None = None,
        approvers: int = 1,
        self_approval: bool = False,
        may: Callable[[Principal, Request], bool] | None = None,
        lifetime: float = 3_600.0,
        use_within: float = 600.0,
        clock: Clock | None = None,
        events: EventSink = discard,
    ) -> None:
        if isinstance(approvers, bool) or not isinstance(approvers, int) or not 1 <= approvers <= 10:
            raise ValueError("approvers: write a number from 1 to 10")
        if not 0 < lifetime <= _KEPT_SECONDS or not 0 < use_within <= _KEPT_SECONDS:
            raise ValueError("lifetime and use_within: write seconds, more than 0 and at most 30 days")
        if key is not None and not isinstance(key, bytes):
            raise TypeError("key is bytes")
        if key is not None and len(key) < _KEY_BYTES:
            raise ValueError(f"key: give at least {_KEY_BYTES} random bytes")
        storage.migrate("approvals", _MIGRATIONS)
        self._storage = storage
        self._key = _kept_key(storage) if key is None else key
        self._cipher = cipher
        self._preview = preview
        self._approvers = approvers
        self._self_approval = self_approval
        self._may = may
        self._lifetime = float(lifetime)
        self._use_within = float(use_within)
        self._clock = clock or SystemClock()
        self._events = events

    def __repr__(self) -> str:
        return f"Approvals({self._storage!r}, approvers={self._approvers})"

    # -- asking, and using

    def request(self, call: Call, *, reason: str = "") -> Request:
        """Put a call into the queue; the request that waits already, if the same call does.

        Args:
            call: What somebody wants to do.
            reason: Why a person is asked, for that person.

        Raises:
            AuthenticationError: Nobody is calling: an approval is somebody's.
            ApprovalRequired: Too many requests of the principal wait (code ``approval.too_many``).
            InputRejected: The arguments cannot be shown exactly (code ``input.canonical``).
            Unavailable: It could not be stored.
        """
        arguments = self._checked(call)
        digest = self._digest(call, arguments)
        reason = _note(reason, "reason")
        now = self._clock.time()
        self._sweep(now)
        with self._storage.transaction() as connection:
            before = self._find(connection, call, digest, "pending", now)
            if before is not None:
                return self._shown(before)
            waiting = connection.execute(
                "SELECT count(*) FROM approvals WHERE tenant = ? AND principal = ? AND state = 'pending'",
                (call.principal.tenant, call.principal.id),
            ).fetchone()[0]
            if waiting >= _MAX_PENDING:
                raise ApprovalRequired(
                    f"{_MAX_PENDING} calls wait for approval already; answer those first.",
                    code="approval.too_many",
                )
            row = self._new(call, digest, arguments, reason, now)
            row = self._insert(connection, row)
        try:
            self._record("approval.requested", row, call.principal.id, {"approvers": row.approvers})
        except Unavailable:
            self._storage.execute("DELETE FROM approvals WHERE id = ?", (row.id,))
            raise
        return self._shown(row)

    def consume(self, call: Call) -> Request | None:
        """Use the approval of exactly this call, and return it; None when there is none. Nobody can use it again.

        Raises:
            AuthenticationError, InputRejected: As for `request`.
            IntegrityError: The stored approval is not what this service wrote.
            Unavailable: It could not be stored or recorded; the call is not to be made.
        """
        digest = self._digest(call, self._checked(call))
        # A power cut must not bring an approval back: this commit waits for the disk, which others here do not.
        self._storage.query("PRAGMA synchronous=FULL")
        try:
            with self._storage.transaction() as connection:
                now = self._clock.time()
                row = self._find(connection, call, digest, "approved", now)
                if row is None:
                    return None
                used = self._update(connection, row, state="used", ended=now)
        finally:
            self._storage.query("PRAGMA synchronous=NORMAL")
        self._record("approval.used", used, call.principal.id, {})
        return self._shown(used)

    def decide(self, call: Call, *, reason: str = "") -> Decision:
        """Return whether a call may be made now: its approval is used, or else requested.

        The decision names the request as ``approval_id``. A call that a person refused stays refused for the rest of the
        request's time, so that asking again and again wears nobody down.

        Raises:
            AuthenticationError, ApprovalRequired, InputRejected, IntegrityError, Unavailable: As for `request` and `consume`.
        """
        if self.consume(call) is not None:
            return ALLOW
        digest = self._digest(call, self._checked(call))
        with self._storage.transaction() as connection:
            refused = self._find(connection, call, digest, "denied", self._clock.time())
        if refused is not None:
            return _about(Decision.deny("approval.refused", "A person refused this call."), refused.id)
        waiting = self.request(call, reason=reason)
        said = "This call waits for the approval of a person; send it again when it is approved."
        return Decision(Outcome.APPROVAL, "approval.required", (said,), approval_id=waiting.id)

    # -- answering

    def approve(self, request_id: str, *, by: Principal, note: str = "") -> Request:
        """Approve a request; with several approvers, the last of them makes it hold.

        Raises:
            AccessDenied: The principal may not: it is the one that asks (code ``access.four_eyes``), is of another
                tenant, or `may` says no.
            LookupError: No such request is waiting.
            ValueError: The note is unusable, or the principal approved already.
            IntegrityError: The row is not what this service wrote.
            Unavailable: It could not be stored or recorded, so nothing is approved.
        """
        note = _note(note, "note")
        now = self._clock.time()
        with self._storage.transaction() as connection:
            row = self._waiting(connection, request_id, by, now)
            votes = row.said()
            if any(who == by.id for who, _, _ in votes):
                raise ValueError("this principal approved the request already; another one has to")
            votes.append((by.id, now, note))
            complete = len(votes) >= row.approvers
            after = self._update(
                connection,
                row,
                state="approved" if complete else "pending",
                expires=now + self._use_within if complete else row.expires,
                votes=_json(votes),
            )
        detail = {"subject": row.principal, "votes": len(votes), "approvers": row.approvers}
        try:
            self._record("approval.granted", after, by.id, detail)
        except Unavailable:
            # What is not recorded was not given, unless somebody used or refused it meanwhile.
            with self._storage.transaction() as connection:
                still = connection.execute("SELECT tag FROM approvals WHERE id = ?", (row.id,)).fetchone()
                if still == (after.tag,):
                    self._update(connection, row)
            raise
        return self._shown(after)

    def deny(self, request_id: str, *, by: Principal, note: str = "") -> Request:
        """Refuse a request, or take back an approval that was not used yet.

        Raises: As for `approve`; whoever asks may refuse too.
        """
        note = _note(note, "note")
        now = self._clock.time()
        with self._storage.transaction() as connection:
            row = self._waiting(connection, request_id, by, now, refusing=True)
            votes = [*row.said(), (by.id, now, note)]
            after = self._update(connection, row, state="denied", votes=_json(votes), ended=now)
        self._record("approval.refused", after, by.id, {"subject": row.principal})
        return self._shown(after)

    def get(self, request_id: str, *, tenant: str | None = None) -> Request:
        """Return a request.

        Raises:
            LookupError: There is none.
        """
        return self._shown(self._at(self._read(request_id, tenant), self._clock.time()))

    def list(
        self, *, tenant: str | None = None, states: Collection[State] | None = _WAITING
    ) -> tuple[Request, ...]:
        """Return requests, oldest first: those that wait, those of some states, or all (None)."""
        now = self._clock.time()
        self._sweep(now)
        rows = self._storage.query(
            f"SELECT {_FIELDS} FROM approvals WHERE tenant = coalesce(?, tenant) ORDER BY created, id",  # noqa: S608
            (tenant,),
        )
        found = [self._shown(self._at(_Row(*row), now)) for row in rows]
        return tuple(one for one in found if states is None or one.state in (*states, "tampered"))

    def export(self, subject: str, *, tenant: str = "default") -> tuple[dict[str, Any], ...]:
        """Return all that is stored about a principal's requests, JSON-ready, for GDPR article 15 requests."""
        return tuple(
            one.to_dict() for one in self.list(tenant=tenant, states=None) if one.principal == subject
        )

    def erase(self, subject: str, *, tenant: str = "default") -> int:
        """Delete all requests of a principal, also from the write-ahead log; return how many there were.

        Raises:
            Unavailable: The database cannot be written, or is read right now; erase again.
        """
        erased = self._storage.execute(
            "DELETE FROM approvals WHERE tenant = ? AND principal = ?", (tenant, subject)
        )
        self._storage.truncate_wal()
        return erased

    # -- rows

    def _checked(self, call: Call) -> bytes:
        if call.principal.is_anonymous:
            raise AuthenticationError
        for name in (call.principal.id, call.principal.tenant, call.action, call.resource):
            if len(name) > _MAX_NAME or not name.isprintable():
                raise ApprovalRequired(
                    "The call has a name that cannot be shown to a person.", code="approval.name"
                )
        return canonical(call.input)

    def _digest(self, call: Call, arguments: bytes) -> str:
        # Keyed: the digest of "yes" or of a telephone number would be guessed by whoever reads the database.
        parts = (call.principal.tenant, call.principal.id, call.action, call.resource)
        return self._mac(b"call", *(part.encode() for part in parts), arguments)

    def _mac(self, *parts: bytes) -> str:
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in parts:
            mac.update(len(part).to_bytes(8, "big"))
            mac.update(part)
        return mac.hexdigest()

    def _tag(self, row: _Row) -> str:
        return self._mac(b"row", canonical(list(row.values[:-1])))

    def _genuine(self, row: _Row) -> bool:
        try:
            return hmac.compare_digest(self._tag(row), row.tag)
        except Exception:  # noqa: BLE001  (a column of another type, or any other damage)
            return False

    def _new(self, call: Call, digest: str, arguments: bytes, reason: str, now: float) -> _Row:
        request_id = secrets.token_hex(8)
        kept, text = "", arguments.decode()
        if self._cipher is not None:
            kept = self._cipher.encrypt(text, context=("approvals", call.principal.tenant, request_id))
        elif self._preview is not None:
            kept = _visible(self._preview(text)[:_MAX_PREVIEW])
        who = call.principal
        return _Row(
            request_id, who.tenant, who.id, call.action, call.resource, digest, reason, kept, int(self._cipher is not None),
            "pending", now, now + self._lifetime, self._approvers, "[]", 0.0,
        )  # fmt: skip

    def _insert(self, connection: sqlite3.Connection, row: _Row) -> _Row:
        signed = replace(row, tag=self._tag(row))
        connection.execute(f"INSERT INTO approvals VALUES ({', '.join('?' * 16)})", signed.values)  # noqa: S608
        return signed

    def _update(self, connection: sqlite3.Connection, row: _Row, **changes: Any) -> _Row:
        row = replace(row, **changes)
        row = replace(row, tag=self._tag(row))
        connection.execute(
            "UPDATE approvals SET state = ?, expires = ?, votes = ?, ended = ?, tag = ? WHERE id = ?",
            (row.state, row.expires, row.votes, row.ended, row.tag, row.id),
        )
        return row

    def _find(
        self, connection: sqlite3.Connection, call: Call, digest: str, state: State, now: float
    ) -> _Row | None:
        found = connection.execute(
            f"SELECT {_FIELDS} FROM approvals WHERE tenant = ? AND principal = ? AND digest = ? AND state = ?"  # noqa: S608
            " AND expires > ? ORDER BY created LIMIT 1",
            (call.principal.tenant, call.principal.id, digest, state, now),
        ).fetchone()
        return None if found is None else self._verified(_Row(*found))

    def _waiting(
        self,
        connection: sqlite3.Connection,
        request_id: str,
        by: Principal,
        now: float,
        *,
        refusing: bool = False,
    ) -> _Row:
        found = connection.execute(
            f"SELECT {_FIELDS} FROM approvals WHERE id = ? AND tenant = ?",  # noqa: S608
            (request_id, by.tenant),
        ).fetchone()
        if by.is_anonymous:
            raise AccessDenied
        states = ("pending", "approved") if refusing else ("pending",)
        if found is None:
            raise LookupError(_NONE)
        row = self._verified(_Row(*found))
        if row.state not in states or row.expires <= now:
            raise LookupError(_NONE)
        if not refusing and not self._self_approval and by.id == row.principal:
            raise AccessDenied("Somebody else has to approve the call.", code="access.four_eyes")
        if self._may is not None and not self._may(by, self._shown(row)):
            raise AccessDenied
        return row

    def _verified(self, row: _Row) -> _Row:
        if not self._genuine(row):
            raise IntegrityError(
                "A stored approval is not what this service wrote; look for who can write the database.",
                code="integrity.approval",
            )
        return row

    def _read(self, request_id: str, tenant: str | None) -> _Row:
        rows = self._storage.query(
            f"SELECT {_FIELDS} FROM approvals WHERE id = ? AND tenant = coalesce(?, tenant)",  # noqa: S608
            (request_id, tenant),
        )
        if not rows:
            raise LookupError(_NONE)
        return _Row(*rows[0])

    def _at(self, row: _Row, now: float) -> _Row:
        """Return the row as it counts now: one whose time is over has expired, also before that is written down."""
        over = row.state in ("pending", "approved") and self._genuine(row) and row.expires <= now
        if not over:
            return row
        row = replace(row, state="expired")
        return replace(row, tag=self._tag(row))

    def _sweep(self, now: float) -> None:
        """Write down what expired, and delete what ended long ago."""
        rows = self._storage.query(
            f"SELECT {_FIELDS} FROM approvals WHERE state IN ('pending', 'approved') AND expires <= ?",  # noqa: S608
            (now,),
        )
        old = self._storage.query("SELECT 1 FROM approvals WHERE expires < ? LIMIT 1", (now - _KEPT_SECONDS,))
        if not rows and not old:
            return
        expired = []
        with self._storage.transaction() as connection:
            for values in rows:
                row = _Row(*values)
                # Another process may have done it meanwhile; what was tampered with is left for those who look.
                still = connection.execute("SELECT tag FROM approvals WHERE id = ?", (row.id,)).fetchone()
                if still == (row.tag,) and self._genuine(row):
                    expired.append(self._update(connection, row, state="expired", ended=now))
            connection.execute("DELETE FROM approvals WHERE expires < ?", (now - _KEPT_SECONDS,))
        for row in expired:
            self._record("approval.expired", row, row.principal, {})

    def _shown(self, row: _Row) -> Request:
        genuine = self._genuine(row)
        arguments = ""
        if genuine and row.arguments:
            arguments = row.arguments
            if row.sealed:
                arguments = ""
                if self._cipher is not None:
                    plain = self._cipher.decrypt(row.arguments, context=("approvals", row.tenant, row.id))
                    arguments = _visible(plain)
        return Request(
            row.id, row.tenant, row.principal, row.action, row.resource, row.reason if genuine else "", arguments,
            row.state if genuine else "tampered", row.created, row.expires, row.approvers,
            tuple(row.said()) if genuine else (),
        )  # fmt: skip

    def _record(self, event_type: str, row: _Row, principal: str, detail: dict[str, Any]) -> None:
        self._events.record(
            SecurityEvent(
                event_type,
                time=self._clock.time(),
                principal=principal,
                tenant=row.tenant,
                action=row.action,
                resource=row.resource,
                detail={"approval": row.id, **detail},
            )
        )


_NONE = "no such request is waiting; see the list of those that are"


def _about(decision: Decision, request_id: str) -> Decision:
    """Return the decision with the request it speaks of."""
    return Decision(decision.outcome, decision.code, decision.reasons, approval_id=request_id)


def _kept_key(storage: Storage) -> bytes:
    if storage.path == ":memory:":
        return secrets.token_bytes(_KEY_BYTES)
    path = Path(storage.path).parent / "keys" / "approvals.key"
    key = update_private(path, lambda before: secrets.token_bytes(_KEY_BYTES) if before is None else before)
    if len(key) < _KEY_BYTES:
        raise IntegrityError(
            f"{path}: shorter than {_KEY_BYTES} bytes; restore it from a backup, or move it away and ask anew",
            code="integrity.approval",
        )
    return key


def _note(text: str, name: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{name} is a text")
    text = text.strip()
    if len(text) > _MAX_NOTE or not text.isprintable():
        raise ValueError(f"{name}: write at most {_MAX_NOTE} printable characters")
    return text


def _json(votes: Sequence[tuple[str, float, str]]) -> str:
    return json.dumps(votes)


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in text)


class ApprovalGuard(Guard):
    """Lets matching calls through once a person approved them, each once and as it was shown.

    Put it last in a shield: what a later guard refuses has used its approval up. Alone round a function all its arguments
    are what is approved; in a shield write ``prompt="*"``, or only the one that is the prompt is.

    In shadow mode nobody is asked, and no approval is used.

    Args:
        approvals: The queue.
        on: Resources that need approval, as shell patterns.
        when: Says of a call whether it needs approval; all do when None.
        reason: Why a person is asked, for that person.
        name, shadow, on_unavailable: As for `Guard`.

    >>> from aisecure import Principal
    >>> from aisecure.call import acting_as
    >>> approvals = Approvals(Storage(":memory:"))
    >>> @ApprovalGuard(approvals, when=lambda call: call.input["amount"] > 100)
    ... def pay(to: str, amount: int) -> str:
    ...     return "paid"
    >>> with acting_as(Principal("ann")):
    ...     pay("bob", 50)
    'paid'
    """

    name = "approval"

    def __init__(
        self,
        approvals: Approvals,
        *,
        on: str | Collection[str] = "*",
        when: Callable[[Call], bool] | None = None,
        reason: str = "",
        name: str | None = None,
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        if not isinstance(approvals, Approvals):
            raise TypeError("ApprovalGuard takes Approvals")
        self.approvals = approvals
        self._when = when
        self._reason = _note(reason, "reason")

    def before(self, call: Call) -> Decision | None:
        """Use the call's approval, or ask for one."""
        if self._when is not None and not self._when(call):
            return None
        if self.shadow:
            return Decision(Outcome.APPROVAL, "approval.required")
        return self.approvals.decide(call, reason=self._reason)

    async def abefore(self, call: Call) -> Decision | None:
        """Do as `before`, in a thread: it waits for the disk, and for other processes that write."""
        return await asyncio.to_thread(self.before, call)

    def decorate(
        self,
        resource: str | None = None,
        *,
        action: str = "invoke",
        prompt: str | None = None,
        events: EventSink | None = None,
        clock: Clock | None = None,
    ) -> Callable[[F], F]:
        """Return a decorator that protects a function with this guard alone; every argument is part of what is approved."""
        return super().decorate(
            resource, action=action, prompt=prompt or EVERY_ARGUMENT, events=events, clock=clock
        )
