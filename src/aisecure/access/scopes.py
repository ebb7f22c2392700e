"""What a credential may be used for: its scopes narrow what the roles of its principal allow (RFC 6749 section 3.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from aisecure.call import Call
from aisecure.decisions import Decision, Outcome
from aisecure.errors import AuthenticationError
from aisecure.guard import Guard
from aisecure.principal import Principal

__all__ = ["RequireScope", "Scopes", "require_scope"]

#: ``scope-token``, RFC 6749 section 3.3.
_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_DETAIL: Final = "The credential was not issued for this."
_NOBODY = Decision.deny("authn.missing", AuthenticationError.default_detail, "Nobody is logged in.")


class _Permits(NamedTuple):
    """What one scope permits of one action."""

    names: frozenset[str]
    beginnings: tuple[str, ...]

    def covers(self, resource: str) -> bool:
        return resource in self.names or resource.startswith(self.beginnings)


class Scopes:
    """Says what each scope permits; an `Authorizer` that has one asks it after the policy allowed.

    A principal may do what its roles allow and, of that, what a scope of its credential permits. Scopes that are not
    named here, such as ``openid``, permit nothing.

    Args:
        permits: By scope, lines of an action and a resource: ``read document:*``. ``*`` stands for every action, and for
            the end of a resource.
        unscoped: What a principal without any scope may do: ``allow`` leaves it all that its roles allow, ``deny`` leaves
            it nothing.

    Raises:
        TypeError, ValueError: A scope or a line is none; names it.

    >>> scopes = Scopes({"chat": ["invoke model:*"], "notes": ["read document:*", "write document:*"]})
    >>> ann = Principal("ann", roles={"admin"}, scopes={"chat"})
    >>> scopes.permit(ann, "invoke", "model:support-bot")
    True
    >>> scopes.permit(ann, "read", "document:42")
    False
    >>> scopes.that_permit("read", "document:42")
    ('notes',)
    """

    def __init__(
        self, permits: Mapping[str, Iterable[str]], *, unscoped: Literal["allow", "deny"] = "allow"
    ) -> None:
        if unscoped not in ("allow", "deny"):
            raise ValueError("unscoped is 'allow' or 'deny'")
        if not isinstance(permits, Mapping):
            raise TypeError("Scopes takes a mapping of scopes to lines such as 'read document:*'")
        self._unscoped = unscoped == "allow"
        self._permits = {_scope(scope): _read(scope, lines) for scope, lines in permits.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The scopes, in order: for ``scopes_supported`` of `aisecure.authn.ProtectedResource`."""
        return tuple(self._permits)

    def permit(self, principal: Principal, action: str, resource: str) -> bool:
        """Return whether a principal's credential may be used for the action on the resource."""
        if not principal.scopes:
            return self._unscoped
        return any(self._covers(scope, action, resource) for scope in principal.scopes)

    def that_permit(self, action: str, resource: str) -> tuple[str, ...]:
        """Return the scopes that permit the action on the resource, in order."""
        return tuple(scope for scope in self._permits if self._covers(scope, action, resource))

    def decide(self, principal: Principal, action: str, resource: str, policy: str = "") -> Decision | None:
        """Return None if the credential may be used so, or the refusal.

        The refusal tells the caller the first scope that would do (RFC 6750 section 3.1, ``insufficient_scope``).

        Args:
            principal: Whose.
            action: What for.
            resource: On what.
            policy: Version of the policy that allowed.
        """
        if self.permit(principal, action, resource):
            return None
        would = self.that_permit(action, resource)
        reason = "No scope of the credential permits this."
        if not would:
            reason = "No scope permits this, so only credentials without scopes may be used for it."
        return _refusal(would[:1], reason, policy)

    def _covers(self, scope: str, action: str, resource: str) -> bool:
        of = self._permits.get(scope)
        if of is None:
            return False
        return any(action in of and of[action].covers(resource) for action in (action, "*"))


class RequireScope(Guard):
    """Refuses calls whose credential lacks a scope; `require_scope` makes one.

    Args:
        scopes: All of them are needed.
        options: As for `aisecure.guard.Guard`.
    """

    name = "scope"
    reads_input = False

    def __init__(self, *scopes: str, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        if not scopes:
            raise ValueError("give one or more scopes")
        self._needed = frozenset(map(_scope, scopes))
        self._refusal = _refusal(scopes, "The credential lacks a scope that this needs.")

    def before(self, call: Call) -> Decision | None:
        """Judge the scopes of the call's principal."""
        return self.decide(call.principal)

    def decide(self, principal: Principal) -> Decision | None:
        """Return None if a principal's credential has the scopes, or the refusal."""
        if principal.is_anonymous:
            return _NOBODY
        return None if self._needed <= principal.scopes else self._refusal


def require_scope(*scopes: str, **options: object) -> RequireScope:
    """Return a guard, and decorator, that asks for scopes of the credential.

    A principal without any scope is refused, too: what it may do was never narrowed, but nobody said that it may do this.
    Where scopes are to narrow what roles allow, on every call, take `Scopes`.

    Args:
        scopes: All of them are needed.
        options: As for `aisecure.guard.Guard`: ``on="tool:refund"``, ``shadow=True`` ...

    Raises:
        AccessDenied: From the decorated function; it did not run.

    >>> from aisecure.call import acting_as
    >>> @require_scope("notes")
    ... def delete(number: int) -> str:
    ...     return "gone"
    >>> with acting_as(Principal("ann", scopes={"chat"})):
    ...     delete(42)
    Traceback (most recent call last):
    aisecure.errors.AccessDenied: The credential was not issued for this.
    """
    return RequireScope(*scopes, **options)


def _refusal(scopes: Iterable[str], reason: str, policy: str = "") -> Decision:
    challenge = {"scope": " ".join(scopes)}
    return Decision(Outcome.DENY, "access.scope", (_DETAIL, reason), policy=policy, challenge=challenge)


def _scope(scope: object) -> str:
    if not isinstance(scope, str) or not _TOKEN.fullmatch(scope):
        raise ValueError(
            f"{scope!r:.60} is no scope: one word of printable ASCII, without quotes and backslashes"
        )
    return scope


def _read(scope: str, lines: Iterable[str]) -> dict[str, _Permits]:
    if isinstance(lines, str):
        raise TypeError(f"scope {scope}: give a list of lines such as 'read document:*'")
    found: dict[str, tuple[set[str], list[str]]] = {}
    for line in lines:
        words = line.split(" ") if isinstance(line, str) else []
        if len(words) != 2 or not all(words) or not line.isprintable() or "*" in words[1][:-1]:
            raise ValueError(
                f"scope {scope}: {line!r:.60} is not an action and a resource, such as 'read document:*'"
            )
        names, beginnings = found.setdefault(words[0], (set(), []))
        if words[1].endswith("*"):
            beginnings.append(words[1][:-1])
        else:
            names.add(words[1])
    return {
        action: _Permits(frozenset(names), tuple(beginnings)) for action, (names, beginnings) in found.items()
    }
