"""Who may do what: a Casbin policy, compiled, that answers in constant time and follows its file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aisecure.access._defaults import DEFAULT_POLICY
from aisecure.access._following import TOPIC, Following
from aisecure.access._snapshot import Snapshot
from aisecure.access._sources import Files, Fixed, PolicySource, PolicyText
from aisecure.decisions import Decision
from aisecure.notices import Notices
from aisecure.ports import Clock, EventSink, discard
from aisecure.principal import Principal

if TYPE_CHECKING:
    from aisecure.access.explanation import Explanation
    from aisecure.access.holders import Holder
    from aisecure.access.lint import PolicyFinding
    from aisecure.access.scopes import Scopes

__all__ = ["Authorizer"]

_BUILT_IN = PolicyText(None, DEFAULT_POLICY, policy_name="the built-in policy")


class Authorizer(Following):
    """Decides by a Casbin model and policy; safe to share between threads.

    ``Authorizer()`` takes the built-in model (`DEFAULT_MODEL`: roles with a tree, tenants, deny wins) and the
    built-in policy (`DEFAULT_POLICY`). `from_files` and `from_text` take others.

    A principal is asked about under its id and under each of its roles, in its tenant: rules that meet any of them
    count. Roles come from ``Principal.roles`` and from the policy's ``g`` links. A request definition may use the
    names ``sub``, ``dom``, ``obj`` and ``act``; a model without ``dom`` gives a name the same rights in every tenant.

    In the built-in model a rule is ``p, role, tenant, resource, action, allow|deny`` and a link is
    ``g, user or role, role, tenant``. ``*`` is everybody (in rules), every tenant (in links too), every action, and
    the end of a resource. Rules speak of roles alone, and a principal whose *id* is spelled like a role is denied,
    since users often choose their own names.

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
    unknown names                           are kept for ever            are forgotten, but for a bounded number
                                                                         (CWE-770)
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

    The index knows matchers of ``&&``, ``||``, ``!`` and ``in`` over comparisons, role conditions, Casbin's functions of
    patterns (``keyMatch`` to ``keyMatch5``, ``regexMatch``, ``globMatch``, ``ipMatch``) of a request's field and a rule's
    field, attributes of the request, conditions that stand in rules (``eval``), and all five policy effects. What it does not
    know is evaluated by pycasbin itself, one decision at a time: see `compiled`.

    Attributes are read-only; a new version replaces the whole policy at once, so that every answer belongs to one.

    >>> may = Authorizer()
    >>> may.decide(Principal("u-17", roles={"member"}), "invoke", "model:support-bot").allowed
    True
    >>> may.decide(Principal("u-17", roles={"member"}), "read", "document:42").reasons
    ('No rule of the policy allows this action on this resource.',)
    """

    def __init__(
        self,
        source: PolicySource | None = None,
        *,
        reload_seconds: float | None = None,
        notices: Notices | None = None,
        topic: str = TOPIC,
        scopes: Scopes | None = None,
        events: EventSink = discard,
        clock: Clock | None = None,
    ) -> None:
        if scopes is not None:
            from aisecure.access.scopes import Scopes

            if not isinstance(scopes, Scopes):
                raise TypeError(f"scopes: give Scopes or None, not {type(scopes).__name__}")
        #: What the scopes of credentials permit, or None where they narrow nothing.
        self.scopes = scopes
        super().__init__(
            Fixed(_BUILT_IN) if source is None else source,
            reload_seconds=reload_seconds,
            notices=notices,
            topic=topic,
            events=events,
            clock=clock,
        )

    @classmethod
    def from_text(
        cls,
        *,
        model: str | None = None,
        policy: str,
        shared_tenant: str | None = None,
        scopes: Scopes | None = None,
        events: EventSink = discard,
        clock: Clock | None = None,
    ) -> Authorizer:
        r"""Return an authorizer for texts.

        Args:
            model: A Casbin model; None is the built-in one.
            policy: Lines of comma-separated values: rules ``p, ...`` and links ``g, ...``.
            shared_tenant: Links of this tenant hold in every tenant, as with pycasbin's
                ``add_named_domain_matching_func``. The built-in model has ``*``.
            scopes: What the scopes of credentials permit, of what the policy allows.
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
        texts = PolicyText(model, policy, shared_tenant=shared_tenant)
        return cls(Fixed(texts), scopes=scopes, events=events, clock=clock)

    @classmethod
    def from_files(
        cls,
        model: str | os.PathLike[str] | None,
        policy: str | os.PathLike[str],
        *,
        shared_tenant: str | None = None,
        reload_seconds: float | None = 2.0,
        notices: Notices | None = None,
        scopes: Scopes | None = None,
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
            notices: Tells of changes by other machines, where the file's own times cannot.
            scopes: As for `from_text`.
            events: Where ``policy.loaded``, ``policy.changed`` and ``policy.refused`` go.
            clock: Time.

        Raises:
            Misconfigured: Names file, line and remedy.
        """
        files = Files(None if model is None else Path(model), Path(policy), shared_tenant=shared_tenant)
        return cls(
            files, reload_seconds=reload_seconds, notices=notices, scopes=scopes, events=events, clock=clock
        )

    @classmethod
    def from_adapter(
        cls,
        model: str | os.PathLike[str] | None,
        adapter: Any,
        *,
        shared_tenant: str | None = None,
        reload_seconds: float | None = 2.0,
        notices: Notices | None = None,
        topic: str = TOPIC,
        scopes: Scopes | None = None,
        events: EventSink = discard,
        clock: Clock | None = None,
    ) -> Authorizer:
        """Return an authorizer for a Casbin adapter: any object with ``load_policy(model)``.

        An adapter does not tell when its policy changes. So it is read again when `notices` tell, when a watcher
        does (`watch`), or by `reload`; and changes made here reach it by its ``add_policy`` and ``remove_policy``.

        Args:
            model: A Casbin model: its text when it has several lines, or a file's path; None is the built-in one.
            adapter: Of pycasbin's kind. Asynchronous adapters are not taken.
            shared_tenant: As for `from_text`.
            reload_seconds: At most this often a decision asks the notices.
            notices: Tell of changes by other processes.
            topic: What they are told under, where one server tells of several policies.
            scopes: As for `from_text`.
            events: As for `from_files`.
            clock: Time.

        Raises:
            Misconfigured: The model or the policy cannot be used.
            Unavailable: The adapter could not load it.
        """
        from aisecure.access._adapters import AdapterSource

        source = AdapterSource(model, adapter, shared_tenant=shared_tenant)
        return cls(
            source,
            reload_seconds=reload_seconds,
            notices=notices,
            topic=topic,
            scopes=scopes,
            events=events,
            clock=clock,
        )

    def __repr__(self) -> str:
        return f"Authorizer(version={self.version!r}, rules={self.rules}, compiled={self.compiled})"

    # -- decisions

    def decide(self, principal: Principal, action: str, resource: str) -> Decision:
        """Return whether the principal may do the action on the resource.

        A refusal has the code ``access.rule`` (a rule denies), ``access.denied`` (no rule allows), ``access.name``
        (a name is not spelled plainly) or ``access.scope`` (only the credential's scopes stand against it). Reasons hold no name of the request and none of the policy.

        Raises:
            Misconfigured: The model asks about something else than ``sub``, ``dom``, ``obj`` and ``act``.
            Unavailable: pycasbin could not evaluate the matcher.
            TypeError: For a principal, an action or a resource of another type.
        """
        # The types themselves first: that is cheaper than to ask about classes, and nearly always enough.
        if type(principal) is not Principal or type(action) is not str or type(resource) is not str:
            _check_types(principal, action, resource)
        if self._look_at is not None and self._now() >= self._look_at:
            self._look()
        if self.scopes is None:
            return self._decide(principal, action, resource)
        return self.decide_by(self._snapshot, principal, action, resource)

    def decide_by(self, version: Snapshot, principal: Principal, action: str, resource: str) -> Decision:
        """Return what `decide` would while a version of the policy held: for several answers that belong together."""
        decision = version.decide(principal, action, resource)
        if self.scopes is None or not decision.allowed:
            return decision
        return self.scopes.decide(principal, action, resource, version.version) or decision

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
        if self._look_at is not None and self._now() >= self._look_at:
            self._look()
        return self._snapshot.enforce(values)

    def explain(self, principal: Principal, action: str, resource: str) -> Explanation:
        """Return a decision with the rule and the roles that led to it, or with what the nearest rules would have needed.

        For those who look after the policy: it names its rules, so it is for no caller and no log. It takes time
        linear in the rules, about a second for 100,000.

        Raises:
            Misconfigured, Unavailable, TypeError: As for `decide`.

        >>> may = Authorizer.from_text(policy="p, editor, *, document:*, read, allow")
        >>> print(may.explain(Principal("ann", roles={"reader"}), "read", "document:42"))
        denied [access.denied]
          No rule of the policy allows this action on this resource.
          nearest is line 1: editor, *, document:*, read, allow  needs the role editor
        """
        from aisecure.access.explanation import explain

        self.decide(principal, action, resource)  # refuses what is no question
        version = self.snapshot
        told = explain(version, principal, action, resource)
        decision = self.decide_by(version, principal, action, resource)
        if self.scopes is None or decision.allowed is told.decision.allowed:
            return told
        would = ", ".join(self.scopes.that_permit(action, resource)) or "none"
        matching = told.matching if told.deciding is None else (told.deciding, *told.matching)
        return replace(
            told, decision=decision, deciding=None, matching=matching, note=f"scopes that permit it: {would}"
        )

    def who_can(self, action: str, resource: str, *, tenant: str = "default") -> tuple[Holder, ...]:
        r"""Return every name of the policy that may do the action on the resource, users and roles alike.

        Whoever gets a role from a credential is not in a policy: for them the roles are listed.

        >>> may = Authorizer.from_text(policy="p, editor, *, document:*, read, allow\ng, ann, editor, acme")
        >>> [(holder.name, holder.is_role) for holder in may.who_can("read", "document:42", tenant="acme")]
        [('ann', False), ('editor', True)]
        """
        from aisecure.access.holders import who_can

        return who_can(self.snapshot, action, resource, tenant)

    def lint(self) -> tuple[PolicyFinding, ...]:
        r"""Return what looks wrong in the policy: rules that never count, roles in circles, names that look alike.

        For those who look after the policy: findings quote its rules. It takes time linear in the rules, a few seconds
        for 100,000.

        >>> may = Authorizer.from_text(policy="p, editor, *, doc:*, read, allow\np, editor, acme, doc:1, read, allow")
        >>> print(*may.lint())
        note [redundant] line 2: p, editor, acme, doc:1, read, allow: line 1 covers it; the rule can be removed
        """
        from aisecure.access.lint import lint

        return lint(self.snapshot)

    def check_principals(self) -> None:
        """Return if the model can be asked about principals.

        Raises:
            Misconfigured: As for `decide`, at start-up instead of at the first call.
        """
        self._snapshot.parts()


def _check_types(principal: object, action: object, resource: object) -> None:
    if not isinstance(principal, Principal):
        raise TypeError(f"decide takes a Principal, not {type(principal).__name__}")
    if not isinstance(action, str):
        raise TypeError("decide: action is a string")
    if not isinstance(resource, str):
        raise TypeError("decide: resource is a string")
