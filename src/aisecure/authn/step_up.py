"""Calls that need more than being known: a fresh login, or a stronger one (RFC 9470)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from aisecure.call import Call
from aisecure.decisions import Decision, Outcome
from aisecure.errors import AuthenticationError, StepUpRequired
from aisecure.guard import Guard
from aisecure.ports import Clock, SystemClock
from aisecure.principal import Principal

__all__ = ["StepUp", "require_acr", "require_amr", "require_method", "require_recent_auth"]

#: Seconds by which the clock of whoever logged somebody in may be ahead of ours.
_AHEAD = 60.0
_NOBODY = Decision.deny("authn.missing", AuthenticationError.default_detail, "Nobody is logged in.")


class StepUp(Guard):
    """Refuses calls of principals whose login is not good enough; `require_recent_auth` and its like make one.

    It is a guard of a `Shield`, and a decorator for ``def``, ``async def``, generators and asynchronous generators.

    Args:
        suffices: Whether a principal's login is good enough.
        reason: For the log.
        challenge: What the caller is told to bring (RFC 9470 section 3): ``max_age``, ``acr_values``.
        options: As for `Guard`.
    """

    name = "step_up"
    reads_input = False

    def __init__(
        self,
        suffices: Callable[[Principal], bool],
        reason: str,
        challenge: Mapping[str, str],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._suffices = suffices
        self._refusal = Decision(
            Outcome.STEP_UP,
            "step_up.required",
            (StepUpRequired.default_detail, reason),
            challenge={"error": "insufficient_user_authentication", **challenge},
        )

    def before(self, call: Call) -> Decision | None:
        """Judge the login of the call's principal."""
        return self.decide(call.principal)

    def decide(self, principal: Principal) -> Decision | None:
        """Return None if a principal's login suffices, or the refusal."""
        if principal.is_anonymous:
            return _NOBODY
        return None if self._suffices(principal) else self._refusal


def require_recent_auth(max_age_seconds: float, *, clock: Clock | None = None, **options: Any) -> StepUp:
    """Return a guard, and decorator, that asks for a login not longer ago than this.

    A login of which nobody knows when it was is not recent. API keys and certificates are shown with every call, so they
    always are: where a person has to be there, use `require_method` or `require_acr` as well.

    Args:
        max_age_seconds: Told to the caller as ``max_age``, in whole seconds.
        clock: Time.
        options: As for `Guard`: ``on="tool:refund"``, ``shadow=True`` ...

    Raises:
        StepUpRequired: From the decorated function; it did not run.

    >>> from aisecure.call import acting_as
    >>> from aisecure.testing import FrozenClock
    >>> clock = FrozenClock()
    >>> @require_recent_auth(300, clock=clock)
    ... def refund(order: str, amount: float) -> str:
    ...     return "done"
    >>> with acting_as(Principal("ana", method="jwt", authenticated_at=clock.time() - 3600)):
    ...     refund("o-1", 20.0)
    Traceback (most recent call last):
    aisecure.errors.StepUpRequired: This call needs a stronger or more recent authentication.
    """
    if not 0 < max_age_seconds < math.inf:
        raise ValueError("max_age_seconds is a number of seconds above 0")
    time = (clock or SystemClock()).time

    def is_recent(principal: Principal) -> bool:
        at = principal.authenticated_at
        return at is not None and -_AHEAD <= time() - at <= max_age_seconds

    challenge = {"max_age": str(int(max_age_seconds))}
    return StepUp(is_recent, "The login is too long ago, or nobody knows when it was.", challenge, **options)


def require_method(*methods: str, **options: Any) -> StepUp:
    """Return a guard, and decorator, that asks for one of some ways to log in.

    Args:
        methods: Of ``Principal.method``: ``mtls``, ``jwt``, ``api_key``.
        options: As for `Guard`.

    >>> require_method("mtls").decide(Principal("bot", method="api_key")).code
    'step_up.required'
    """
    allowed = _words(methods)
    return StepUp(
        lambda principal: principal.method in allowed,
        "The login was made in a way that does not suffice here.",
        {},
        **options,
    )


def require_acr(*values: str, **options: Any) -> StepUp:
    """Return a guard, and decorator, that asks for a login of one of some classes, as the token's ``acr`` says.

    Args:
        values: Told to the caller as ``acr_values``, in this order.
        options: As for `Guard`.

    >>> require_acr("phr").decide(Principal("ana", claims={"acr": "phr"})) is None
    True
    """
    allowed = _words(values)
    return StepUp(
        lambda principal: principal.claims.get("acr") in allowed,
        "The login is of a class that does not suffice here.",
        {"acr_values": " ".join(values)},
        **options,
    )


def require_amr(*values: str, **options: Any) -> StepUp:
    """Return a guard, and decorator, that asks for a login with at least one of some means, as the token's ``amr`` says.

    Args:
        values: Of RFC 8176 section 2, such as ``mfa``, ``hwk`` or ``otp``.
        options: As for `Guard`.

    >>> require_amr("mfa").decide(Principal("ana", claims={"amr": ["pwd"]})).code
    'step_up.required'
    """
    allowed = _words(values)

    def has_means(principal: Principal) -> bool:
        used = principal.claims.get("amr")
        return isinstance(used, list | tuple) and any(isinstance(one, str) and one in allowed for one in used)

    return StepUp(has_means, "The login was made without the means that this needs.", {}, **options)


def _words(values: tuple[str, ...]) -> tuple[str, ...]:
    # A tuple and not a set: what it is compared with comes from a token and may be of any type.
    if not values or not all(isinstance(value, str) and value and " " not in value for value in values):
        raise ValueError("give one or more words")
    return values
