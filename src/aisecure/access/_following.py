"""Versions of a policy, one after the other: how an authorizer comes by a new one, and keeps the last good one."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from aisecure.access._changes import PolicyChange, changed
from aisecure.access._snapshot import Snapshot
from aisecure.access._sources import PolicyRows, PolicySource, PolicyStore, PolicyText
from aisecure.call import current_context
from aisecure.errors import AISecureError, Misconfigured, Unavailable
from aisecure.events import Result, SecurityEvent
from aisecure.notices import Notices
from aisecure.ports import Clock, EventSink, SystemClock

__all__ = ["TOPIC", "Following"]

#: Change notices about policies.
TOPIC: Final = "access.policy"
#: How often a change is tried again when another process changed the policy meanwhile.
_TRIES: Final = 8
#: When to try again what failed, where nobody looks regularly.
_RETRY_SECONDS: Final = 1.0


class Following:
    """Holds one version of a policy, and replaces it whole when its source has another.

    `snapshot` is that version: whoever needs several answers of one version takes it once and asks it.

    Args:
        source: Where the policy is.
        reload_seconds: At most this often a decision looks whether it changed; None never does.
        notices: Tells of changes by other processes, besides the source's own stamp.
        topic: What they are told under.
        events: Where events go.
        clock: Time.
    """

    def __init__(
        self,
        source: PolicySource,
        *,
        reload_seconds: float | None,
        notices: Notices | None,
        topic: str,
        events: EventSink,
        clock: Clock | None,
    ) -> None:
        if reload_seconds is not None and not 0 <= reload_seconds < math.inf:
            raise ValueError("reload_seconds is 0 or more, or None")
        self._source = source
        self._reload_seconds = reload_seconds
        self._notices = notices
        self._topic = topic
        self._events = events
        self._clock = clock or SystemClock()
        # Asked before every decision, so without the method between.
        self._now = time.monotonic if type(self._clock) is SystemClock else self._clock.monotonic
        self._lock = threading.RLock()
        self._refused = ""
        self._unseen_since: float | None = None
        self._watcher: Any = None
        #: Set by watchers, in threads of their own: the policy changed.
        self._hinted = False
        #: A change was stored that others could not be told of.
        self._untold = False
        self._noticed: int | None = None
        unheard = self._hear()
        self._hinted = False
        self._read, self._stamp = source.read()
        self._snapshot = Snapshot.of(self._read)
        #: That version's, at hand: every call asks it.
        self._decide = self._snapshot.decide
        self._look_at = self._next_look()
        self._announce("policy.loaded")
        if unheard is not None:
            self._cannot_see(unheard)

    # -- what it holds

    @property
    def snapshot(self) -> Snapshot:
        """The version that decides now; ask it for several answers that belong together."""
        if self._look_at is not None and self._now() >= self._look_at:
            self._look()
        return self._snapshot

    @property
    def version(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of model and policy."""
        return self._snapshot.version

    @property
    def rules(self) -> int:
        """Number of rules in the policy."""
        return self._snapshot.rules

    @property
    def compiled(self) -> bool:
        """Whether the index decides, in constant time; otherwise pycasbin does, in time linear in the rules."""
        return self._snapshot.compiled

    @property
    def reason(self) -> str:
        """Why the matcher was not compiled; empty when it was."""
        return self._snapshot.reason

    @property
    def refused(self) -> str:
        """Why the newest version was refused; empty when it holds."""
        return self._refused

    @property
    def is_unseen(self) -> bool:
        """Whether the source could not be asked, at the last look, whether the policy changed."""
        return self._unseen_since is not None

    @property
    def unseen_seconds(self) -> float:
        """For how long the source could not be asked whether it changed; 0 when it answers."""
        since = self._unseen_since
        return 0.0 if since is None else max(0.0, self._now() - since)

    @property
    def is_untold(self) -> bool:
        """Whether a change was stored here that others could not be told of yet."""
        return self._untold

    def lines(self) -> list[tuple[str, ...]]:
        """Return the policy as `change` takes it, kind first: to move it into another source, or to show it."""
        policy = self.snapshot.policy
        links = [(kind, *link) for kind, found in policy.links.items() for link in found]
        return [*(("p", *rule) for rule in policy.rules), *links]

    # -- new versions from outside

    def reload(self) -> None:
        """Read the policy again and take the new version, whole.

        Raises:
            Misconfigured: It cannot be used; the last good version stays.
            Unavailable: It cannot be read now; the last good version stays.
        """
        with self._lock:
            self._replace()

    def watch(self, watcher: Any) -> None:
        """Follow a Casbin watcher: what it tells is looked at before the next decision, and changes made here are told to it.

        Args:
            watcher: An object with ``set_update_callback(function)`` and ``update()``.

        Raises:
            TypeError: It has not.
        """
        if not callable(getattr(watcher, "set_update_callback", None)) or not callable(
            getattr(watcher, "update", None)
        ):
            raise TypeError("watch: a watcher has set_update_callback(function) and update()")
        watcher.set_update_callback(self._told)
        self._watcher = watcher

    def _told(self, *_message: object) -> None:
        # In the watcher's own thread, so nothing is read here; a message says no more than that something changed.
        self._hinted = True
        self._look_at = -math.inf

    def _next_look(self) -> float | None:
        return None if self._reload_seconds is None else self._now() + self._reload_seconds

    def _hear(self) -> Unavailable | None:
        """Ask the notices; return the error of those that do not answer, whose first answer counts as a change."""
        if self._notices is not None:
            try:
                before, self._noticed = self._noticed, self._notices.version(self._topic)
            except Unavailable as err:
                return err
            if before != self._noticed:
                self._hinted = True
        return None

    def _look(self) -> None:
        """Take a changed version; one thread does, the others go on with the one there is."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            # First: what is told from here on is looked at again.
            self._look_at = self._next_look()
            unheard = self._hear()
            if self._is_stale():
                self._replace()
            if unheard is not None:
                self._cannot_see(unheard)
                return
            self._unseen_since = None
            if self._untold:
                self._publish()
        except Misconfigured:
            self._unseen_since = None  # refused and recorded; the last good version decides
        except Unavailable as err:
            self._cannot_see(err)
        finally:
            self._lock.release()

    def _is_stale(self) -> bool:
        changed = bool(self._source.stamp() != self._stamp)
        # Before the policy is read, and not when that could not even be asked.
        hinted, self._hinted = self._hinted, False
        return changed or hinted

    def _cannot_see(self, err: Unavailable) -> None:
        """Go on with the version there is; said once, and by the health of the guard for as long as it lasts."""
        self._look_again()
        if self._unseen_since is None:
            self._unseen_since = self._now()
            self._record("policy.unseen", err)

    def _look_again(self) -> None:
        if self._look_at is None:
            self._look_at = self._now() + _RETRY_SECONDS

    def _replace(self) -> None:
        # Seen once: what is refused is not read again until it changes.
        self._stamp = self._source.stamp()
        try:
            read, self._stamp = self._source.read()
            if read == self._read and not self._refused:
                return
            new = self._usable(read)
        except Misconfigured as err:
            self._refused = err.detail
            self._record("policy.refused", err)
            raise
        except Unavailable:
            self._stamp = object()  # so that it is read again when it can be
            raise
        self._take(read, new)
        self._announce("policy.loaded")

    def _usable(self, read: PolicyText | PolicyRows) -> Snapshot:
        new = Snapshot.of(read)
        if self._snapshot.asks_principals:
            new.parts()  # a new version must not take that away
        return new

    def _take(self, read: PolicyText | PolicyRows, new: Snapshot) -> None:
        self._refused = ""
        self._read = read
        self._snapshot = new
        self._decide = new.decide

    # -- changes made here

    def change(self, *, add: Iterable[Sequence[str]] = (), remove: Iterable[Sequence[str]] = ()) -> bool:
        """Add and remove lines of the policy, all of them or none, and store it where it came from.

        The new version is checked before it is stored, and decides as soon as this returns; other processes take it at
        their next look. Changes of several threads and processes come one after the other; none is lost.

        Args:
            add: Lines that shall be there, kind first: ``("p", "editor", "*", "document:*", "read", "allow")``,
                ``("g", "ann", "editor", "acme")``.
            remove: Lines that shall not be there.

        Returns:
            Whether anything was changed.

        Raises:
            Misconfigured: The policy would not be usable so, or its source cannot be written; all is as it was.
            Unavailable: It could not be stored, or others changed it all the time; all is as it was.
            TypeError, ValueError: A line is none.
        """
        wanted = PolicyChange.of(add, remove)
        if not isinstance(self._source, PolicyStore):
            raise Misconfigured(
                "the policy can only be read here; change it where it is kept, or keep it in a file or a database",
                code="config.policy",
            )
        with self._lock:
            for _ in range(_TRIES):
                # Not by the notices: whoever takes a permission away must be able to when their server is down.
                if self._is_stale() or self._refused:
                    self._replace()
                after, really = changed(self._read, wanted)
                if not really.add and not really.remove:
                    return False
                new = self._usable(after)
                stamp = self._source.write(after, really, self._stamp)
                if stamp is not None:
                    self._stamp = stamp
                    self._take(after, new)
                    self._publish()
                    self._record_change(really)
                    return True
                self._stamp = object()  # somebody was first
        raise Unavailable(
            "The policy is changed by others all the time; try again.", code="unavailable.policy"
        )

    def add_policy(self, *rule: str) -> bool:
        """Add one rule, such as ``add_policy("editor", "*", "document:*", "read", "allow")``; see `change`."""
        return self.change(add=[("p", *rule)])

    def remove_policy(self, *rule: str) -> bool:
        """Remove one rule; see `change`."""
        return self.change(remove=[("p", *rule)])

    def add_grouping_policy(self, *link: str) -> bool:
        """Add one role link, such as ``add_grouping_policy("ann", "editor", "acme")``; see `change`."""
        return self.change(add=[("g", *link)])

    def remove_grouping_policy(self, *link: str) -> bool:
        """Remove one role link; see `change`."""
        return self.change(remove=[("g", *link)])

    def _publish(self) -> None:
        """Tell those who follow the same policy; tried again at later looks, since the change is stored already."""
        was_untold, self._untold = self._untold, False
        try:
            if self._notices is not None:
                # Not remembered as seen: another's change may have been counted in the same moment.
                self._notices.publish(self._topic)
            if self._watcher is not None:
                self._watcher.update()
        except Exception as err:  # noqa: BLE001  (a watcher is somebody else's; it may raise anything)
            self._untold = True
            self._look_again()
            kind = type(err).__name__
        if self._untold and not was_untold:
            told = Unavailable(f"others could not be told ({kind})", code="unavailable.notices")
            self._record("policy.untold", told)

    # -- events

    def _record_change(self, change: PolicyChange) -> None:
        context = current_context()
        event = SecurityEvent(
            "policy.changed",
            time=self._clock.time(),
            principal=context.principal.id,
            tenant=context.principal.tenant,
            request_id=context.request_id,
            detail={"version": self.version, "added": len(change.add), "removed": len(change.remove)},
        )
        self._events.record(event)

    def _announce(self, event_type: str) -> None:
        detail = {"version": self.version, "rules": self.rules}
        self._events.record(SecurityEvent(event_type, time=self._clock.time(), detail=detail))
        if not self.compiled:
            told = SecurityEvent(
                "policy.interpreted",
                time=self._clock.time(),
                detail={"version": self.version, "reason": self.reason},
            )
            self._events.record(told)

    def _record(self, event_type: str, err: AISecureError) -> None:
        event = SecurityEvent(
            event_type,
            time=self._clock.time(),
            result=Result.FAILURE,
            code=err.code,
            detail={"reason": err.detail},
        )
        self._events.record(event)
