"""Roles for a while: given by somebody who may, or taken in an emergency, with a reason, an end, and a record of both.

A role that is needed twice a year and held all year is how most stolen accounts do their harm. Here somebody gets it for
an hour, with the name of who gave it; and where nobody can be asked, whoever the policy trusts with it breaks the
glass, which is loud and ends by itself.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from aisecure.access.authorizer import Authorizer
from aisecure.call import current_context
from aisecure.errors import AccessDenied, Unavailable
from aisecure.events import SecurityEvent
from aisecure.notices import Notices, StoredNotices
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.principal import Principal
from aisecure.storage import Storage

__all__ = ["CLAIM", "TOPIC", "Elevation", "Elevations"]

#: Change notices about elevations.
TOPIC: Final = "access.elevations"
#: The name under which a principal's claims hold the ids of its elevations.
CLAIM: Final = "aisecure.elevations"

#: Longest time of either kind, in seconds: a working day, and an hour.
_LONGEST, _LONGEST_EMERGENCY = 8 * 3_600.0, 3_600.0
#: A reason is a sentence, for whoever reads it later.
_REASON = (10, 500)
_MAX_NAME: Final = 256

_MIGRATIONS = (
    """
    CREATE TABLE access_elevations (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, principal TEXT NOT NULL, roles TEXT NOT NULL,
        emergency INTEGER NOT NULL, reason TEXT NOT NULL, granted_by TEXT NOT NULL,
        begins REAL NOT NULL, until REAL NOT NULL, ended REAL
    );
    CREATE INDEX access_elevations_until ON access_elevations (until);
    CREATE INDEX access_elevations_principal ON access_elevations (tenant, principal);
    """,
)
_FIELDS = "id, tenant, principal, roles, emergency, reason, granted_by, begins, until, ended"


@dataclass(frozen=True, slots=True)
class Elevation:
    """Roles that somebody has for a while. Times are seconds since the epoch, UTC.

    The ``repr`` leaves out who it is and why, which are personal data.

    Attributes:
        id: Names it in lists and events.
        tenant: Tenant of the principal.
        principal: Who has the roles.
        roles: Which.
        emergency: Whether the glass was broken for it.
        reason: Why.
        granted_by: Who gave it; the principal itself in an emergency.
        begins: Since when.
        until: From when on it holds no more.
        ended: When somebody ended it before its time, or None.
    """

    id: str
    tenant: str
    principal: str = field(repr=False)
    roles: tuple[str, ...]
    emergency: bool
    reason: str = field(repr=False)
    granted_by: str = field(repr=False)
    begins: float
    until: float
    ended: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the elevation as JSON-ready data."""
        return {**asdict(self), "roles": list(self.roles)}


class Elevations:
    """Gives roles for a while, and knows who has them now.

    Who may give a role is a matter of the policy: the action ``elevate`` on ``role:<name>``. Nobody gives a role to
    himself, unless `four_eyes` is off. Breaking the glass is the action ``break-glass`` on ``role:<name>``.

    Which elevations hold is remembered until something changes, here or, through the notices, elsewhere; while nobody has
    one, a call costs a comparison.

    Args:
        storage: Where they are kept.
        authorizer: Says who may give what. None for tools of whoever runs the service and may change all this anyway.
        four_eyes: Whether whoever gives a role has to be somebody else than who gets it.
        clock: Time.
        notices: Tells other processes; by default through the same storage.
        events: Receives ``access.elevated``, ``access.elevation_ended``, ``access.break_glass``.

    >>> may = Authorizer.from_text(policy="p, chief, *, role:auditor, elevate, allow")
    >>> elevations = Elevations(Storage(":memory:"), authorizer=may)
    >>> chief = Principal("chief-1", roles={"chief"}, tenant="acme")
    >>> given = elevations.grant(chief, "ann", ["auditor"], seconds=900, reason="Yearly audit, ticket 4711")
    >>> [held.roles for held in elevations.active(Principal("ann", tenant="acme"))]
    [('auditor',)]
    """

    def __init__(
        self,
        storage: Storage,
        *,
        authorizer: Authorizer | None = None,
        four_eyes: bool = True,
        clock: Clock | None = None,
        notices: Notices | None = None,
        events: EventSink = discard,
    ) -> None:
        storage.migrate("access_elevations", _MIGRATIONS)
        self._storage = storage
        self._authorizer = authorizer
        self._four_eyes = four_eyes
        self._clock = clock or SystemClock()
        self._notices = StoredNotices(storage) if notices is None else notices
        self._events = events
        self._lock = threading.Lock()
        #: Version of the notices, and who holds what until when, by the clock that never goes back.
        self._held: tuple[int, dict[tuple[str, str], list[tuple[float, Elevation]]]] = (-1, {})

    def __repr__(self) -> str:
        return f"Elevations({self._storage!r}, four_eyes={self._four_eyes})"

    # -- giving and ending

    def grant(
        self,
        by: Principal,
        principal_id: str,
        roles: Collection[str],
        *,
        seconds: float,
        reason: str,
        tenant: str | None = None,
    ) -> Elevation:
        """Give roles to somebody for a while.

        Args:
            by: Who gives them.
            principal_id: Who gets them.
            roles: Which.
            seconds: For how long, at most 8 hours.
            reason: Why, in 10 to 500 characters; kept with the elevation, and in no event.
            tenant: Of who gets them; the giver's own when None.

        Raises:
            AccessDenied: The giver may not, or gives them to himself.
            ValueError, TypeError: A value is unusable.
            Unavailable: It could not be stored, so nobody got anything.
        """
        tenant = by.tenant if tenant is None else tenant
        if self._four_eyes and (principal_id, tenant) == (by.id, by.tenant):
            raise AccessDenied("Somebody else has to give the role.", code="access.four_eyes")
        names = _names(roles)
        self._require(by, names, tenant)
        held = self._new(tenant, principal_id, names, by.id, reason, seconds, _LONGEST, emergency=False)
        self._store(held, "access.elevated")
        return held

    def break_glass(
        self, principal: Principal, role: str, *, reason: str, seconds: float = 1_800.0
    ) -> Elevation:
        """Take a role at once, in an emergency.

        Args:
            principal: Who takes it; the policy has to allow it ``break-glass`` on ``role:<name>``.
            role: Which.
            reason: Why, in 10 to 500 characters.
            seconds: For how long, at most an hour.

        Raises:
            AccessDenied: The policy does not trust the principal with it.
            ValueError, TypeError, Unavailable: As for `grant`.
        """
        if principal.is_anonymous:
            raise AccessDenied
        names = _names([role])
        if self._authorizer is not None:
            self._authorizer.require(principal, "break-glass", f"role:{role}")
        held = self._new(
            principal.tenant,
            principal.id,
            names,
            principal.id,
            reason,
            seconds,
            _LONGEST_EMERGENCY,
            emergency=True,
        )
        self._store(held, "access.break_glass")
        return held

    def end(self, elevation_id: str, *, by: Principal, tenant: str | None = None) -> bool:
        """End an elevation before its time; return whether there was one that held. Anybody who knows of one may end it.

        Raises:
            Unavailable: It could not be stored; the roles may still hold.
        """
        now = self._clock.time()
        ended = self._storage.execute(
            "UPDATE access_elevations SET ended = ? WHERE id = ? AND ended IS NULL AND until > ?"
            " AND tenant = coalesce(?, tenant)",
            (now, elevation_id, now, tenant),
        )
        # Also the second time: whoever repeats it may do so because the first notice failed.
        self._notices.publish(TOPIC)
        if ended:
            self._record("access.elevation_ended", by.id, by.tenant, {"elevation": elevation_id})
        return bool(ended)

    def _require(self, by: Principal, roles: tuple[str, ...], tenant: str) -> None:
        if by.is_anonymous or by.tenant != tenant:
            raise AccessDenied
        if self._authorizer is not None:
            for role in roles:
                self._authorizer.require(by, "elevate", f"role:{role}")

    def _new(
        self,
        tenant: str,
        principal: str,
        roles: tuple[str, ...],
        by: str,
        reason: str,
        seconds: float,
        longest: float,
        *,
        emergency: bool,
    ) -> Elevation:
        Principal(principal, roles=roles, tenant=tenant)  # checks types
        for name in (principal, tenant):
            if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
                raise ValueError(f"principal and tenant: write 1 to {_MAX_NAME} printable characters")
        if not isinstance(reason, str):
            raise TypeError("reason is a text")
        reason = reason.strip()
        if not _REASON[0] <= len(reason) <= _REASON[1] or not reason.isprintable():
            raise ValueError(f"reason: write {_REASON[0]} to {_REASON[1]} printable characters")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= longest:
            raise ValueError(f"seconds: write more than 0 and at most {longest:g}")
        now = self._clock.time()
        return Elevation(
            secrets.token_hex(8), tenant, principal, roles, emergency, reason, by, now, now + seconds
        )

    def _store(self, held: Elevation, event_type: str) -> None:
        self._storage.execute(
            "INSERT INTO access_elevations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                held.id, held.tenant, held.principal, orjson.dumps(held.roles).decode(), held.emergency, held.reason,
                held.granted_by, held.begins, held.until,
            ),
        )  # fmt: skip
        detail = {
            "elevation": held.id, "subject": held.principal, "roles": list(held.roles),
            "seconds": round(held.until - held.begins),
        }  # fmt: skip
        try:
            self._record(event_type, held.granted_by, held.tenant, detail)
        except Unavailable:
            # What is not recorded was not given.
            self._storage.execute("DELETE FROM access_elevations WHERE id = ?", (held.id,))
            raise
        self._notices.publish(TOPIC)

    # -- who has what

    def active(self, principal: Principal) -> tuple[Elevation, ...]:
        """Return the elevations that a principal has now.

        Raises:
            Unavailable: The database cannot be read.
        """
        version = self._notices.version(TOPIC)
        known, held = self._held
        if known != version:
            held = self._read(version)
        if not held:
            return ()
        mine = held.get((principal.tenant, principal.id))
        if not mine:
            return ()
        # By both clocks: one that is set back would lengthen it.
        now, passed = self._clock.time(), self._clock.monotonic()
        return tuple(one for until, one in mine if one.begins <= now < one.until and passed < until)

    def _read(self, version: int) -> dict[tuple[str, str], list[tuple[float, Elevation]]]:
        with self._lock:
            now, passed = self._clock.time(), self._clock.monotonic()
            rows = self._storage.query(
                f"SELECT {_FIELDS} FROM access_elevations WHERE ended IS NULL AND until > ?",  # noqa: S608  (a constant)
                (now,),
            )
            held: dict[tuple[str, str], list[tuple[float, Elevation]]] = {}
            for row in rows:
                one = _elevation(row)
                held.setdefault((one.tenant, one.principal), []).append((passed + one.until - now, one))
            self._held = version, held
            return held

    def list(self, *, tenant: str | None = None, all_: bool = False) -> tuple[Elevation, ...]:
        """Return the elevations that hold now, or all that ever were, oldest first.

        Raises:
            Unavailable: The database cannot be read.
        """
        after = -math.inf if all_ else self._clock.time()
        rows = self._storage.query(
            f"SELECT {_FIELDS} FROM access_elevations WHERE tenant = coalesce(?, tenant) AND until > ?"  # noqa: S608
            " AND (? OR ended IS NULL) ORDER BY begins, id",
            (tenant, after, all_),
        )
        return tuple(map(_elevation, rows))

    def export(self, subject: str, *, tenant: str = "default") -> tuple[dict[str, Any], ...]:
        """Return all that is stored about a principal, JSON-ready, for GDPR article 15 requests."""
        return tuple(one.to_dict() for one in self.list(tenant=tenant, all_=True) if one.principal == subject)

    def erase(self, subject: str, *, tenant: str = "default") -> int:
        """Delete all elevations of a principal, also from the write-ahead log; return how many there were.

        Raises:
            Unavailable: The database cannot be written, or is read right now; erase again.
        """
        erased = self._storage.execute(
            "DELETE FROM access_elevations WHERE tenant = ? AND principal = ?", (tenant, subject)
        )
        self._notices.publish(TOPIC)
        self._storage.truncate_wal()
        return erased

    def _record(self, event_type: str, principal: str, tenant: str, detail: dict[str, Any]) -> None:
        context = current_context()
        self._events.record(
            SecurityEvent(
                event_type,
                time=self._clock.time(),
                principal=principal,
                tenant=tenant,
                request_id=context.request_id,
                detail=detail,
            )
        )


def _names(roles: Collection[str]) -> tuple[str, ...]:
    if isinstance(roles, str) or not all(isinstance(role, str) for role in roles):
        raise TypeError("roles is a collection of texts")
    names = tuple(sorted(set(roles)))
    if not names or not all(0 < len(role) <= _MAX_NAME and role.isprintable() for role in names):
        raise ValueError(f"roles: name at least one, each in 1 to {_MAX_NAME} printable characters")
    return names


def _elevation(row: tuple[Any, ...]) -> Elevation:
    id_, tenant, principal, roles, emergency, reason, granted_by, begins, until, ended = row
    return Elevation(
        id_,
        tenant,
        principal,
        tuple(orjson.loads(roles)),
        bool(emergency),
        reason,
        granted_by,
        begins,
        until,
        ended,
    )
