"""The keys that an issuer publishes: kept for a while, looked up again, and never given up for a worse answer."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from aisecure.authn.jwt.discovery import jwks_uri_of
from aisecure.authn.jwt.errors import BadKeys, Unreachable
from aisecure.authn.jwt.fetch import Fetch
from aisecure.authn.jwt.key_set import KeySet, read_key_set
from aisecure.errors import Unavailable
from aisecure.events import Result, SecurityEvent
from aisecure.ports import Clock, EventSink

__all__ = ["RemoteKeys"]


class _Held(NamedTuple):
    keys: KeySet
    renew: float  # all of the clock that never goes back
    fresh_until: float
    usable_until: float


class _Flight:
    """One look-up, which everybody who needs it waits for."""

    __slots__ = ("done", "owner")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.owner = os.getpid()


class RemoteKeys:
    """The keys of an issuer, fetched by a thread of their own and kept as long as ``Cache-Control`` says, within bounds.

    - Towards the end of that time they are fetched again while the old ones serve; after it, callers wait.
    - What cannot be fetched or used leaves the last good keys in place, for `max_stale_seconds` and no longer.
    - A token with an unknown ``kid`` makes them be fetched once in `UNKNOWN_PAUSE_SECONDS`, however many there are.

    Args:
        issuer: The ``iss``.
        jwks_uri: Where the keys are; where the issuer's metadata say when None.
        algorithms: Those allowed.
        fetch: Fetches documents.
        timeout_seconds: How long callers wait, for metadata and keys together.
        max_stale_seconds: How long keys serve beyond their time when there is no answer.
        clock: Time.
        events: Receives ``jwks.loaded``, ``jwks.stale`` and ``jwks.refused``.
    """

    over_network = True
    #: Bounds of the time that keys are kept, and the time when the issuer does not say.
    MIN_SECONDS: ClassVar[float] = 300.0
    MAX_SECONDS: ClassVar[float] = 86_400.0
    DEFAULT_SECONDS: ClassVar[float] = 3600.0
    #: Between two look-ups for the sake of a ``kid``, so that made-up ones cause no storm.
    UNKNOWN_PAUSE_SECONDS: ClassVar[float] = 60.0
    #: Between a failed look-up and the next.
    FAILED_PAUSE_SECONDS: ClassVar[float] = 15.0

    def __init__(
        self,
        issuer: str,
        jwks_uri: str | None,
        algorithms: Sequence[str],
        *,
        fetch: Fetch,
        timeout_seconds: float,
        max_stale_seconds: float,
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._algorithms = tuple(algorithms)
        self._fetch = fetch
        self._timeout = timeout_seconds
        self._max_stale = max_stale_seconds
        self._clock = clock
        self._events = events
        self._lock = threading.Lock()
        self._flight: _Flight | None = None
        self._held: _Held | None = None
        self._pause_until = self._unknown_until = _NEVER

    def __repr__(self) -> str:
        return f"RemoteKeys({self._issuer!r})"

    def current(self, *, wait: bool) -> KeySet | None:
        """Return the keys, or None when they have to be waited for and ``wait`` is False.

        Raises:
            Unavailable: There are none, or they are too old.
        """
        held, now = self._held, self._clock.monotonic()
        if held is not None and now < held.renew:
            return held.keys
        usable = held is not None and now < held.usable_until
        # One caller at a time waits for newer keys; the others go on with those there are, or wait if there are none.
        if now >= self._pause_until and not (usable and self._is_looking()):
            must_wait = held is None or now >= held.fresh_until
            if must_wait and not wait:
                return None
            flight = self._flight_after(held)
            if must_wait and flight is not None:
                flight.done.wait(self._timeout)
            held = self._held
        if held is None or now >= held.usable_until:
            raise Unavailable(
                "the keys of the token issuer cannot be had, so no token can be verified",
                code="unavailable.issuer",
            )
        return held.keys

    def after_unknown(self, keys: KeySet, *, wait: bool) -> KeySet | None:
        """Return the keys after looking once more, unless that was done a moment ago."""
        held, now = self._held, self._clock.monotonic()
        if held is not None and held.keys is not keys:
            return held.keys  # somebody else looked meanwhile
        if self._flight is None and now < self._unknown_until:
            return keys
        if not wait:
            return None
        flight = self._flight_after(held, for_unknown=True)
        if flight is not None:
            flight.done.wait(self._timeout)
        return keys if self._held is None else self._held.keys

    def health(self) -> dict[str, Any]:
        """Return whether there are keys; when there are none, they are being fetched from now on."""
        held, now = self._held, self._clock.monotonic()
        if held is None or now >= held.usable_until:
            if now >= self._pause_until:
                self._flight_after(held)
            return {"ok": False, "keys": 0}
        return {"ok": True, "keys": len(held.keys), "stale": now >= held.fresh_until}

    def _flight_after(self, held: _Held | None, *, for_unknown: bool = False) -> _Flight | None:
        """Return the look-up under way, begun now if there is none; None when the keys are others than ``held`` by now."""
        with self._lock:
            flight = self._flight
            # A thread does not survive a fork, so the child must not wait for it.
            if flight is not None and flight.owner == os.getpid():
                return flight
            if self._held is not held:
                return None
            if for_unknown:
                now = self._clock.monotonic()
                if now < self._unknown_until:
                    return None
                self._unknown_until = now + self.UNKNOWN_PAUSE_SECONDS
            flight = _Flight()
            try:
                threading.Thread(target=self._fly, args=(flight,), name="aisecure-jwks", daemon=True).start()
            except RuntimeError:
                return None  # no thread to be had: as if the issuer did not answer
            self._flight = flight
            return flight

    def _is_looking(self) -> bool:
        flight = self._flight
        return flight is not None and flight.owner == os.getpid()

    def _fly(self, flight: _Flight) -> None:
        done = False
        try:
            self._renew(time.monotonic() + self._timeout)
            done = True
        except Unreachable as err:
            self._record("jwks.stale", str(err))
        except BadKeys as err:
            self._record("jwks.refused", str(err))
        except Unavailable:
            pass  # The event was not stored; what cannot be looked up later is not taken.
        finally:
            with self._lock:
                # Whatever went wrong, the issuer is not asked again at once.
                self._pause_until = _NEVER if done else self._clock.monotonic() + self.FAILED_PAUSE_SECONDS
                self._flight = None
            flight.done.set()

    def _renew(self, deadline: float) -> None:
        uri = self._jwks_uri or jwks_uri_of(self._issuer, self._fetch, deadline)
        document = self._fetch(uri, deadline)
        keys = read_key_set(document.content, self._algorithms, secrets=False)
        said = self.DEFAULT_SECONDS if document.max_age is None else document.max_age
        kept = min(max(said, self.MIN_SECONDS), self.MAX_SECONDS)
        held = self._held
        if held is not None and held.keys.has_same_keys(keys):
            keys = held.keys  # what was remembered under them stays remembered
        else:
            self._events.record(
                SecurityEvent(
                    "jwks.loaded",
                    time=self._clock.time(),
                    detail={"issuer": self._issuer, "keys": len(keys)},
                )
            )
        now = self._clock.monotonic()
        # Renewed in the last fifth of the time, while the old keys serve: callers seldom wait.
        self._held = _Held(keys, now + kept * 0.8, now + kept, now + kept + self._max_stale)

    def _record(self, event: str, reason: str) -> None:
        held = self._held
        with contextlib.suppress(Unavailable):  # the keys are not taken, with or without a record of it
            self._events.record(
                SecurityEvent(
                    event,
                    time=self._clock.time(),
                    result=Result.FAILURE,
                    reasons=(f"The key set of the issuer {reason}.",),
                    detail={"issuer": self._issuer, "keys": 0 if held is None else len(held.keys)},
                )
            )


_NEVER = float("-inf")
