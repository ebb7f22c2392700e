"""The guard that lets roles given for a while count."""

from __future__ import annotations

from typing import Any

from aisecure.access.elevation import CLAIM, Elevation, Elevations
from aisecure.call import Call
from aisecure.errors import Unavailable
from aisecure.events import Result, SecurityEvent
from aisecure.guard import Changed, Guard, Verdict
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.principal import Principal

__all__ = ["ElevationGuard"]


class ElevationGuard(Guard):
    """Adds the roles that a caller has for a while; stands before the guard that asks the policy.

    Each call made with broken glass leaves an event of its own, ``access.break_glass_used``. When it cannot be known who
    is elevated, calls go on with ordinary roles, which can only allow less; the event ``access.elevations_unseen`` says
    so once.

    Args:
        elevations: Who has what.
        events: Where these events go.
        clock: Time.
        options: As for `aisecure.guard.Guard`.
    """

    name = "elevation"

    def __init__(
        self,
        elevations: Elevations,
        *,
        events: EventSink = discard,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not isinstance(elevations, Elevations):
            raise TypeError(f"ElevationGuard takes Elevations, not {type(elevations).__name__}")
        self.elevations = elevations
        self._events = events
        self._clock = clock or SystemClock()
        self._unseen = False

    def before(self, call: Call) -> Verdict:
        """Return the call with the roles that its principal has now."""
        principal = call.principal
        if principal.is_anonymous:
            return None
        try:
            held = self.elevations.active(principal)
        except Unavailable as err:
            self._say_unseen(call, err)
            return None
        self._unseen = False
        if not held:
            return None
        if any(one.emergency for one in held):
            self._say_used(call, held)
        claims = {**principal.claims, CLAIM: tuple(one.id for one in held)}
        return Changed(
            call.with_principal(
                Principal(
                    principal.id,
                    roles=principal.roles.union(*[one.roles for one in held]),
                    tenant=principal.tenant,
                    scopes=principal.scopes,
                    claims=claims,
                    method=principal.method,
                    authenticated_at=principal.authenticated_at,
                )
            )
        )

    def health(self) -> dict[str, Any]:
        """Return whether it is known who is elevated, and how many are."""
        return {"ok": not self._unseen, "active": len(self.elevations.list())}

    def _say_used(self, call: Call, held: tuple[Elevation, ...]) -> None:
        self._record(
            call, "access.break_glass_used", {"elevation": [one.id for one in held if one.emergency]}
        )

    def _say_unseen(self, call: Call, err: Unavailable) -> None:
        if not self._unseen:
            self._unseen = True
            self._record(call, "access.elevations_unseen", {}, err)

    def _record(
        self, call: Call, event_type: str, detail: dict[str, Any], err: Unavailable | None = None
    ) -> None:
        self._events.record(
            SecurityEvent.about(
                call,
                event_type,
                time=self._clock.time(),
                result=Result.SUCCESS if err is None else Result.FAILURE,
                code="" if err is None else err.code,
                detail=detail,
            )
        )
