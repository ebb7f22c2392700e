"""Who may do what: a Casbin policy, compiled, that answers in constant time and follows its file."""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path
from typing import Any

from aisecure.access._defaults import DEFAULT_POLICY
from aisecure.access._snapshot import Snapshot
from aisecure.access._sources import Files, Fixed, Source, Texts
from aisecure.decisions import Decision
from aisecure.errors import Misconfigured
from aisecure.events import Result, SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.principal import Principal

__all__ = ["Authorizer"]

_BUILT_IN = Fixed(Texts(None, DEFAULT_POLICY, policy_name="the built-in policy"))


class Authorizer:
    """Decides by a Casbin model and policy; safe to share between threads.

    ``Authorizer()`` takes the built-in model (`DEFAULT_MODEL`: roles with a tree, tenants, deny wins) and the
    built-in policy (`DEFAULT_POLICY`). `from_files` and `from_text` take others.

    A principal is asked about under its id and under each of its roles, in its tenant: rules that meet any of them
    count. Roles come from ``Principal.roles`` and from the policy's ``g`` links. A request definition may use the
    names ``sub``, ``dom``, ``obj`` and ``act``; a model without ``dom`` gives a name the same rights in every tenant.

    In the built-in model a rule is ``p, role, tenant, resource, action, allow|deny`` and a link is
    ``g, user or role, role, tenant``. ``*`` is every tenant (in links too), every action, and the end of a resource.
    Rules speak of roles alone, and a principal whose *id* is spelled like a role is denied, since users often
    choose their own names.

    Answers are those of pycasbin 2.8, but for what is unsafe there:

    ======================================  ===========================  ===========================================
    Case                                    pycasbin                     here, and why
    ======================================  ===========================  ===========================================
    policy without rules                    allows a request of empty    denies: a truncated file opens no door
                                            strings, or everything
    control character, line break or lone   may pass a rule that denies  denies: ``$`` matches before a last line
    surrogate in a name                                                  break, ``.`` matches none (CWE-93)
    ``//``, ``/./``, ``/../``, ``%41`` in   may pass a rule that denies  denies: others read them as another path
    a name that patterns see                                             (CWE-41), unless a rule has this very
                                                                         spelling; where what no rule denies is
                                                                         allowed, in any name
    a name longer than 8,192 characters     answers, in any time         denies: bounded time (CWE-400)
    unknown names                           are kept for ever            are forgotten (CWE-770)
    a line of no known kind, a wrong        passes over it, or fails at  refuses the policy, naming the line: it may
    number of fields, an effect that is     each decision                be the rule that denies
    neither allow nor deny, an empty or a
    quoted field, a control character
    an expression that may take             hangs (CWE-1333)             refuses the policy, naming the line
    exponential time
    conditional roles (``g = _, _, (_)``)   hold without their function  refuses the model
    a value that is no string, where the    compares it                  matches nothing but ``*``, or ``TypeError``
    index decides
    several threads                         may raise or answer wrongly  safe
    ======================================  ===========================  ===========================================

    The index knows matchers of ``&&`` and ``||`` over ``==``, role conditions, ``keyMatch``, ``keyMatch2``,
    ``keyMatch3`` and ``regexMatch`` of a request's field and a rule's field, and constants. Other matchers, and the
    two priority effects, are evaluated by pycasbin itself, one decision at a time: see `compiled`.

    Attributes are read-only; a new version replaces the whole policy at once, so that every answer belongs to one.

    >>> may = Authorizer()
    >>> may.decide(Principal("u-17", roles={"member"}), "invoke", "model:support-bot").allowed
    True
    >>> may.decide(Principal("u-17", roles={"member"}), "read", "document:42").reasons
    ('No rule of the policy allows this action on this resource.',)
    """

    def __init__(
        self,
        source: Source | None = None,
        *,
        reload_seconds: float | None = None,
        events: EventSink = discard,
        clock: Clock | None = None,
    ) -> None:
        if reload_seconds is not None and not 0 <= reload_seconds < math.inf:
            raise ValueError("reload_seconds is 0 or more, or None")
        self._source = _BUILT_IN if source is None else source
        self._reload_seconds = reload_seconds
        self._events = events
        self._clock = clock or SystemClock()
        # Asked before every decision, so without the method between.
        self._now = time.monotonic if type(self._clock) is SystemClock else self._clock.monotonic
        self._lock = threading.Lock()
        self._refused = ""
        self._stamp: Any
        texts, self._stamp = self._source.read()
        self._snapshot = Snapshot.of(texts)
        self._look_at = self._next_look()
        self._announce_loaded()

    @classmethod
    def from_text(
        cls,
        *,
        model: str | None = None,
        policy: str,
        shared_tenant: str | None = None,
        events: EventSink = discard,
        clock: Clock | None = None,
    ) -> Authorizer:
        r"""Return an authorizer for texts.

        Args:
            model: A Casbin model; None is the built-in one.
            policy: Lines of comma-separated values: rules ``p, ...`` and links ``g, ...``.
            shared_tenant: Links of this tenant hold in every tenant, as with pycasbin's
                ``add_named_domain_matching_func``. The built-in model has ``*``.
            events: Where ``policy.loaded`` goes.
            clock: Time.

        Raises:
            Misconfigured: Names the line to mend.

        >>> may = Authorizer.from_text(policy="p, editor, *, document:*, read, allow\ng, ann, editor, acme")
        >>> may.decide(Principal("ann", tenant="acme"), "read", "document:42").allowed
        True
        >>> may.decide(Principal("ann", tenant="globex"), "read", "document:42").allowed
        False
        """
        if not isinstance(policy, str):
            raise TypeError("from_text: policy is a string")
        if not isinstance(model, str | None):
            raise TypeError("from_text: model is a string or None")
        texts = Texts(model, policy, shared_tenant=shared_tenant)
        return cls(Fixed(texts), events=events, clock=clock)

    @classmethod
    def from_files(
        cls,
        model: str | os.PathLike[str] | None,
        policy: str | os.PathLike[str],
        *,
        shared_tenant: str | None = None,
        reload_seconds: float | None = 2.0,
        events: EventSink = discard,
        clock: Clock | None = None,
    ) -> Authorizer:
        """Return an authorizer for files, which are read again when they change.

        Replace a file by renaming a finished one over it: a policy that is written in place may be read half
        written, with its last rules missing. A new version that cannot be used is refused, and the last good one
        stays.

        Args:
            model: A Casbin model in UTF-8; None is the built-in one.
            policy: A policy in UTF-8.
            shared_tenant: As for `from_text`.
            reload_seconds: At most this often a decision looks whether the files changed; None never does.
            events: Where ``policy.loaded`` and ``policy.refused`` go.
            clock: Time.

        Raises:
            Misconfigured: Names file, line and remedy.
        """
        files = Files(None if model is None else Path(model), Path(policy), shared_tenant=shared_tenant)
        return cls(files, reload_seconds=reload_seconds, events=events, clock=clock)

    def __repr__(self) -> str:
        return f"Authorizer(version={self.version!r}, rules={self.rules}, compiled={self.compiled})"

    # -- what it holds

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
        """Why the newest version of the files was refused; empty when it holds."""
        return self._refused

    # -- decisions

    def decide(self, principal: Principal, action: str, resource: str) -> Decision:
        """Return whether the principal may do the action on the resource.

        A refusal has the code ``access.rule`` (a rule denies), ``access.denied`` (no rule allows) or ``access.name``
        (a name is not spelled plainly). Reasons hold no name of the request and none of the policy.

        Raises:
            Misconfigured: The model asks about something else than ``sub``, ``dom``, ``obj`` and ``act``.
            Unavailable: pycasbin could not evaluate the matcher.
            TypeError: For a principal, an action or a resource of another type.
        """
        if not isinstance(principal, Principal):
            raise TypeError(f"decide takes a Principal, not {type(principal).__name__}")
        if not isinstance(action, str):
            raise TypeError("decide: action is a string")
        if not isinstance(resource, str):
            raise TypeError("decide: resource is a string")
        if self._look_at is not None:
            self._look()
        return self._snapshot.decide(principal, action, resource)

    def require(self, principal: Principal, action: str, resource: str) -> None:
        """Return if the principal may do the action on the resource.

        Raises:
            AccessDenied: It may not.
            Misconfigured: As for `decide`.
            Unavailable: As for `decide`.
        """
        self.decide(principal, action, resource).require()

    def enforce(self, *values: Any) -> bool:
        """Answer a raw Casbin request, in the order of the request definition, as pycasbin does.

        Raises:
            TypeError: The number of values is not what the model asks for, or a pattern meets what is no string.
            Unavailable: pycasbin could not evaluate the matcher.

        >>> Authorizer().enforce("admin", "acme", "document:42", "delete")
        True
        """
        if self._look_at is not None:
            self._look()
        return self._snapshot.enforce(values)

    def check_principals(self) -> None:
        """Return if the model can be asked about principals.

        Raises:
            Misconfigured: As for `decide`, at start-up instead of at the first call.
        """
        self._snapshot.parts()

    # -- versions

    def reload(self) -> None:
        """Read the files again and take the new version, whole; texts stay as they are.

        Raises:
            Misconfigured: It cannot be used; the last good version stays.
        """
        with self._lock:
            self._replace()

    def _next_look(self) -> float | None:
        if self._reload_seconds is None:
            return None
        return self._now() + self._reload_seconds

    def _look(self) -> None:
        """Take a changed file's version when it is time; one thread does, the others go on with the one there is."""
        if self._look_at is None or self._now() < self._look_at or not self._lock.acquire(blocking=False):
            return
        try:
            self._look_at = self._next_look()
            if self._source.stamp() != self._stamp:
                self._replace()
        except Misconfigured:
            return  # refused and recorded; the last good version decides
        finally:
            self._lock.release()

    def _replace(self) -> None:
        # Seen once: a file that is refused is not read again until it changes.
        self._stamp = self._source.stamp()
        try:
            texts, self._stamp = self._source.read()
            new = Snapshot.of(texts)
            if self._checked_principals():
                new.parts()
        except Misconfigured as err:
            self._refused = err.detail
            event = SecurityEvent(
                "policy.refused",
                time=self._clock.time(),
                result=Result.FAILURE,
                code=err.code,
                detail={"reason": err.detail},
            )
            self._events.record(event)
            raise
        self._refused = ""
        self._snapshot = new
        self._announce_loaded()

    def _checked_principals(self) -> bool:
        """Whether principals can be asked about now; a new version must not take that away."""
        try:
            self._snapshot.parts()
        except Misconfigured:
            return False
        return True

    def _announce_loaded(self) -> None:
        detail = {"version": self.version, "rules": self.rules}
        self._events.record(SecurityEvent("policy.loaded", time=self._clock.time(), detail=detail))
