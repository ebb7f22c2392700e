"""Too many failed attempts: who made them is told to wait, and nobody else is kept out."""

from __future__ import annotations

import threading
from array import array
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Literal

from aisecure.decisions import Decision
from aisecure.events import Result, SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard

__all__ = ["Throttle"]

_NANO = 1_000_000_000
#: Sources and key ids share this many places, 16 bytes each. A power of two.
_PLACES = 1 << 16
#: 10 at once and then one a minute are at most 70 an hour; OWASP ASVS 4.0.3, 2.2.1 allows 100 for an account.
_FAILURES, _SECONDS = 10, 600.0

_MAPPED = bytes(10) + b"\xff\xff"

_PUBLIC = "Too many failed attempts: wait before the next one."


class Throttle:
    """Counts failed attempts by source and by key id, and refuses where there were too many.

    A source is an IPv4 address, or the /64 of an IPv6 address, which is what one customer has. An unknown
    source is not counted: nobody could tell its callers apart. A success clears nothing, or whoever has one
    good key could try others without end.

    **Who could be locked out.** A limit on failures is a lever for strangers: whoever knows a key's id (it stands
    in logs) or shares an address with its owner (a company's network, a mobile operator, a proxy that was not
    declared) could fail on purpose until the owner is refused. So a right credential always passes: it is checked
    first, and the counts decide only what a wrong one is told, 401 or 429. That gives nothing away where secrets
    cannot be guessed, as the 178 random bits of an API key, the signature of a token or a certificate:
    there the number of attempts is not what protects. What the limit does is to tell clients with an old key to stop,
    and those who run the service that somebody is trying.

    For a method of your own whose secrets can be guessed (a password, a PIN), write ``refuse="all"``: then nothing
    that comes from a source above its limit is checked, right or wrong, and its neighbours share its fate. The key id
    never decides that, for the same reason as above.

    Key ids that exist and those that do not are counted alike, so the answer tells nobody which is which.

    Memory is constant. Keys that fall on the same place of the table share a count, so that an attacker with very
    many addresses makes others' failures look like too many earlier, and pushes nobody's count out. Each
    process counts for itself.

    Args:
        failures: Attempts that may fail at once.
        seconds: Time in which that allowance comes back, evenly.
        refuse: ``wrong`` credentials only, or ``all`` of a source above its limit.
        clock: Time.
        events: Receives ``authn.throttled``, at most once in ``seconds`` for a source or a key id.

    Raises:
        ValueError: A number is not above 0, or ``refuse`` is something else.

    >>> from aisecure.authn.method import refused
    >>> throttle = Throttle(failures=2, seconds=60)
    >>> [throttle.failed(refused("wrong"), source="192.0.2.7").code for _ in range(3)]
    ['authn.invalid', 'authn.invalid', 'authn.throttled']
    """

    def __init__(
        self,
        *,
        failures: int = _FAILURES,
        seconds: float = _SECONDS,
        refuse: Literal["wrong", "all"] = "wrong",
        clock: Clock | None = None,
        events: EventSink = discard,
    ) -> None:
        if failures < 1 or not 0 < seconds <= 31_536_000:
            raise ValueError("failures is at least 1, and seconds above 0 and at most a year")
        if refuse not in ("wrong", "all"):
            raise ValueError("refuse is 'wrong' or 'all'")
        self.refuse = refuse
        self._failures = failures
        self._seconds = seconds
        # GCRA: a stamp says when everything that failed so far is paid off, one failure an interval.
        self._interval = max(1, int(seconds * _NANO) // failures)
        self._ahead = self._interval * failures
        self._clock = clock or SystemClock()
        self._events = events
        self._lock = threading.Lock()
        self._stamps = array("q", bytes(8 * _PLACES))
        self._told = array("q", bytes(8 * _PLACES))

    def __repr__(self) -> str:
        return f"Throttle(failures={self._failures}, seconds={self._seconds}, refuse={self.refuse!r})"

    def before(self, source: str) -> Decision | None:
        """Return the refusal of whatever comes from a source, or None when it may be checked."""
        if self.refuse == "wrong" or not source:
            return None
        place, now = _place("source", _network(source)), self._now()
        with self._lock:
            wait = self._wait(place, now)
            tell = wait > 0 and self._is_news(place, now)
        if tell:
            self._tell("source", source, "")
        return self._refusal(wait, "source", "Nothing was checked.") if wait else None

    def failed(self, refusal: Decision, *, source: str = "", key_id: str = "") -> Decision:
        """Count a failed attempt; return its refusal, or another one that tells to wait.

        Args:
            refusal: Why it failed.
            source: Client address; empty when unknown.
            key_id: Which key the attempt named; empty when it named none.
        """
        now = self._now()
        longest, by = 0, ""
        for what, name in (("source", source and _network(source)), ("key_id", key_id)):
            if not name:
                continue
            wait, tell = self._count(_place(what, name), now)
            if wait > longest:
                longest, by = wait, what
            if tell:
                self._tell(what, source, key_id)
        return self._refusal(longest, by, *refusal.reasons[1:]) if longest else refusal

    def _count(self, place: int, now: int) -> tuple[int, bool]:
        """Count a failure, or return how long to wait for the next, and whether that is news."""
        with self._lock:
            wait = self._wait(place, now)
            if not wait:
                self._stamps[place] = max(self._stamps[place], now) + self._interval
                return 0, False
            return wait, self._is_news(place, now)

    def _is_news(self, place: int, now: int) -> bool:
        if now < self._told[place]:
            return False
        self._told[place] = now + int(self._seconds * _NANO)
        return True

    def _wait(self, place: int, now: int) -> int:
        return max(0, max(self._stamps[place], now) + self._interval - self._ahead - now)

    def _now(self) -> int:
        return int(self._clock.monotonic() * _NANO)

    def _refusal(self, wait: int, by: str, *why: str) -> Decision:
        what = "this source" if by == "source" else "this key id"
        told = f"More than {self._failures} attempts from {what} failed within {self._seconds:g} seconds."
        return Decision.deny("authn.throttled", _PUBLIC, told, *why, retry_after=wait / _NANO)

    def _tell(self, by: str, source: str, key_id: str) -> None:
        detail = {"by": by, "failures": self._failures, "seconds": self._seconds}
        if key_id:
            detail["key_id"] = key_id
        self._events.record(
            SecurityEvent(
                "authn.throttled",
                time=self._clock.time(),
                result=Result.FAILURE,
                source=source,
                code="authn.throttled",
                detail=detail,
            )
        )


def _place(what: str, name: str) -> int:
    # Python keys its hash of texts anew for each process, so nobody can aim at another's place.
    return hash((what, name)) & (_PLACES - 1)


def _network(source: str) -> str:
    """Return what stands for a source: the /64 of an IPv6 address, and any other text as it is."""
    if ":" not in source:
        return source
    try:
        packed = inet_pton(AF_INET6, source.partition("%")[0])
    except (OSError, ValueError):
        return source
    # IPv4 as a socket for both shows it, RFC 4291 section 2.5.5.2.
    return inet_ntop(AF_INET, packed[12:]) if packed.startswith(_MAPPED) else packed[:8].hex()
